"""What the store of bars promises, on real PostgreSQL with real bars."""

import threading
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.prices.bars import BAR_SCHEMA, LEAST_PRICE, MOST_PRICE, MOST_VOLUME, PRICE_COLUMNS
from ldtm_lib.prices.ingest import ingest
from ldtm_lib.prices.quarantine import open_quarantine
from ldtm_lib.prices.sources.protocol import Delivery
from ldtm_lib.prices.sources.sample import SampleSource
from ldtm_lib.prices.splits import Split, adjust
from ldtm_lib.prices.stored_bars import bars_as_of, current_bars, recent_bars
from ldtm_lib.sessions import Calendar
from tests.integration.prices.made_bars import counts, made, num_rows, walk

SAMPLE = SampleSource()
TICKERS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
AAPL_2000 = Split(ticker="AAPL", session=date(2000, 6, 21), ratio=2.0)
AAPL_2005 = Split(ticker="AAPL", session=date(2005, 2, 28), ratio=2.0)
MSFT_2003 = Split(ticker="MSFT", session=date(2003, 2, 18), ratio=2.0)


def sample(ticker: str, first: date, last: date) -> Delivery:
    return SAMPLE.fetch([ticker], first, last)


def undeclared(delivery: Delivery) -> Delivery:
    """The same bars from a source that does not tell of splits, as a broker's."""
    return Delivery(bars=delivery.bars)


def test_the_whole_sample_comes_back_as_it_was_delivered_and_a_second_time_writes_nothing(
    conn: Connection, calendar: Calendar
) -> None:
    delivery = SAMPLE.fetch(TICKERS, date(1990, 1, 2), date(2013, 3, 1))
    recorded = ingest(conn, delivery, source="sample", calendar=calendar)
    assert counts(recorded) == {
        "AAPL": (3270, 0, 0, 0), "FB": (196, 0, 0, 0), "GOOG": (2148, 0, 0, 0),
        "IBM": (3270, 0, 0, 0), "MSFT": (3270, 0, 0, 0),
    }  # fmt: skip
    assert recorded.splits == (AAPL_2000, AAPL_2005, MSFT_2003)
    assert_frame_equal(current_bars(conn, TICKERS), delivery.bars.sort("ticker", "session"), check_exact=True)
    again = ingest(conn, delivery, source="sample", calendar=calendar)
    assert counts(again)["AAPL"] == (0, 0, 3270, 0)
    assert again.splits == ()
    assert again.notes == ()
    assert num_rows(conn) == 12_154


@given(
    close=st.lists(st.floats(min_value=LEAST_PRICE, max_value=MOST_PRICE), min_size=1, max_size=40),
    volume=st.floats(min_value=0, max_value=MOST_VOLUME),
)
# The database is shared by all examples: each rolls back what it wrote.
@hypothesis_settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_float_is_rounded_on_its_way_through_the_store(
    database: Database, calendar: Calendar, close: list[float], volume: float
) -> None:
    bars = made(calendar, close).with_columns(
        *(pl.col("close").alias(name) for name in PRICE_COLUMNS),
        volume=pl.lit(volume),
        ticker=pl.format("X{}", pl.int_range(pl.len()) + 100),  # one ticker a bar: closes like these are outliers
    )
    with database.connect() as conn, conn.transaction(force_rollback=True):
        ingest(conn, Delivery(bars=bars), source="made", calendar=calendar)
        assert_frame_equal(current_bars(conn, bars["ticker"].to_list()), bars, check_exact=True)


def test_a_corrected_bar_is_a_new_vintage_and_no_split(conn: Connection, calendar: Calendar) -> None:
    bars = made(calendar, walk(50))
    ingest(conn, Delivery(bars=bars), source="made", calendar=calendar)
    corrected = bars.with_columns(pl.when(pl.int_range(pl.len()) == 20).then(7).otherwise("volume").alias("volume"))
    recorded = ingest(conn, Delivery(bars=corrected), source="made", calendar=calendar)
    assert counts(recorded) == {"XYZ": (0, 1, 49, 0)}
    assert recorded.splits == ()
    assert num_rows(conn) == 51
    assert_frame_equal(current_bars(conn, ["XYZ"]), corrected.cast(dict(BAR_SCHEMA)))


def test_a_value_that_comes_back_after_a_correction_is_current_again(conn: Connection, calendar: Calendar) -> None:
    bars = made(calendar, walk(5))
    other = bars.with_columns(close=pl.col("close") * 1.001)
    for values in (bars, other, bars):
        ingest(conn, Delivery(bars=values), source="made", calendar=calendar)
        assert_frame_equal(current_bars(conn, ["XYZ"]), values)
    assert num_rows(conn) == 15


def test_what_was_current_at_a_moment_can_be_read_back(conn: Connection, calendar: Calendar) -> None:
    moments = list[datetime]()
    deliveries = [undeclared(sample("AAPL", date(2000, 5, 1), day)) for day in (date(2000, 6, 20), date(2000, 6, 23))]
    for delivery in deliveries:
        ingest(conn, delivery, source="sample", calendar=calendar)
        row = conn.execute(b"select clock_timestamp()").fetchone()
        assert row is not None
        moments.append(row[0])
    for moment, delivery in zip(moments, deliveries, strict=True):
        assert_frame_equal(bars_as_of(conn, ["AAPL"], moment=moment), delivery.bars)
    assert bars_as_of(conn, ["AAPL"], moment=moments[0] - timedelta(days=1)).is_empty()
    assert bars_as_of(conn, ["AAPL"], moment=moments[1], last=date(2000, 5, 2)).height == 2


def test_all_vintages_of_a_call_bear_one_moment_even_after_the_clock_was_set_back(
    conn: Connection, calendar: Calendar
) -> None:
    bars = made(calendar, walk(6))
    ingest(conn, Delivery(bars=bars), source="made", calendar=calendar)
    conn.execute(b"alter table bar disable trigger user")
    conn.execute(b"update bar set recorded_at = recorded_at + interval '1 day'")
    other = bars.with_columns(close=pl.col("close") * 1.001)
    ingest(conn, Delivery(bars=other), source="made", calendar=calendar)
    assert_frame_equal(current_bars(conn, ["XYZ"]), other)
    assert conn.execute(b"select count(distinct recorded_at) from bar").fetchone() == (2,)


def test_an_undeclared_split_is_noticed_by_five_overlapping_bars_and_restates_all_of_history(
    conn: Connection, calendar: Calendar
) -> None:
    ingest(conn, undeclared(sample("AAPL", date(2000, 3, 1), date(2000, 6, 20))), source="ib", calendar=calendar)
    recorded = ingest(
        conn, undeclared(sample("AAPL", date(2000, 6, 14), date(2000, 6, 21))), source="ib", calendar=calendar
    )
    assert recorded.splits == (AAPL_2000,)
    assert counts(recorded) == {"AAPL": (1, 78, 0, 0)}
    expected = sample("AAPL", date(2000, 3, 1), date(2000, 6, 21)).bars
    assert_frame_equal(current_bars(conn, ["AAPL"]), expected, check_exact=True)
    sources = conn.execute(b"select source, count(*) from bar group by source order by source").fetchall()
    assert sources == [("ib", 78 + 6), ("split", 73)]
    row = conn.execute(b"select recorded_at = (select max(recorded_at) from bar) from split").fetchone()
    assert row == (True,)


def test_three_restated_bars_are_a_split_and_two_are_not(conn: Connection, calendar: Calendar) -> None:
    closes = walk(30)
    for num_overlapping, ticker in ((3, "THREE"), (2, "TWO")):
        old = made(calendar, closes[:29], ticker)
        ingest(conn, Delivery(bars=old), source="made", calendar=calendar)
        since = 29 - num_overlapping
        new = made(calendar, [c / 3 for c in closes], ticker)[since:]
        recorded = ingest(conn, Delivery(bars=new), source="made", calendar=calendar)
        if num_overlapping == 3:
            assert recorded.splits == (Split(ticker=ticker, session=new["session"][-1], ratio=3.0),)
            assert current_bars(conn, [ticker])["close"].to_list() == pytest.approx([c / 3 for c in closes])
        else:
            assert recorded.splits == ()
            assert "TWO: 2 of 2 stored bars arrive at 0.333333 times their prices" in recorded.held_back["TWO"]
            assert "fewer than 3 bars cannot show a split; no bar was" in recorded.held_back["TWO"]
            assert current_bars(conn, [ticker])["close"].to_list() == closes[:29]


def test_three_corrected_bars_that_their_neighbours_contradict_are_no_split(
    conn: Connection, calendar: Calendar
) -> None:
    right = made(calendar, walk(30))
    doubled = pl.int_range(pl.len()).is_between(20, 22)
    wrong = right.with_columns(*(pl.when(doubled).then(pl.col(n) * 2).otherwise(n).alias(n) for n in PRICE_COLUMNS))
    ingest(conn, Delivery(bars=wrong), source="made", calendar=calendar)
    recorded = ingest(conn, Delivery(bars=right[15:30]), source="made", calendar=calendar)
    assert recorded.splits == ()
    assert counts(recorded) == {"XYZ": (0, 3, 12, 0)}
    assert recorded.notes[0].startswith("XYZ: 3 of 15 stored bars arrive at 0.5 times their prices")
    assert_frame_equal(current_bars(conn, ["XYZ"]), right)


def test_bars_doubled_here_and_there_are_no_split(conn: Connection, calendar: Calendar) -> None:
    right = made(calendar, walk(30))
    at = pl.int_range(pl.len())
    doubled = (at < 5) | at.is_between(10, 12)
    wrong = right.with_columns(*(pl.when(doubled).then(pl.col(n) * 2).otherwise(n).alias(n) for n in PRICE_COLUMNS))
    ingest(conn, Delivery(bars=wrong), source="made", calendar=calendar)
    assert ingest(conn, Delivery(bars=right), source="made", calendar=calendar).splits == ()
    assert_frame_equal(current_bars(conn, ["XYZ"]), right)


def test_bars_on_an_older_basis_that_are_rounded_to_cents_write_nothing(conn: Connection, calendar: Calendar) -> None:
    old = made(calendar, walk(30)).with_columns(pl.col(PRICE_COLUMNS).round(2), volume=pl.lit(1000.0))
    split = Split(ticker="XYZ", session=calendar.offset(old["session"][-1], 1), ratio=3.0)
    new = adjust(old, [split]).with_columns(pl.col(PRICE_COLUMNS).round(2))
    ingest(conn, Delivery(bars=new, splits=(split,)), source="made", calendar=calendar)
    recorded = ingest(conn, Delivery(bars=old), source="made", calendar=calendar)
    assert counts(recorded) == {"XYZ": (0, 0, 30, 0)}


def test_a_split_with_one_more_correction_is_noted_where_it_cannot_be_noticed(
    conn: Connection, calendar: Calendar
) -> None:
    closes = walk(30)
    ingest(conn, Delivery(bars=made(calendar, closes)), source="made", calendar=calendar)
    restated = [c / 2 for c in closes]
    restated[27] *= 1.05
    recorded = ingest(conn, Delivery(bars=made(calendar, restated)[25:]), source="made", calendar=calendar)
    assert recorded.splits == ()
    assert "XYZ: 5 of 5 stored bars arrive at 0.5 to 0.525 times their prices" in recorded.notes[0]


def test_a_known_split_that_is_declared_by_another_ratio_is_noted_and_stays(
    conn: Connection, calendar: Calendar
) -> None:
    ingest(conn, sample("AAPL", date(2000, 3, 1), date(2000, 6, 23)), source="sample", calendar=calendar)
    other = Split(ticker="AAPL", session=AAPL_2000.session, ratio=3.0)
    bars = sample("AAPL", date(2000, 6, 21), date(2000, 6, 23)).bars
    recorded = ingest(conn, Delivery(bars=bars, splits=(other,)), source="files", calendar=calendar)
    assert recorded.splits == ()
    assert recorded.notes[0].startswith("AAPL: the split of 2 for 1 on 2000-06-21 is declared to be 3 for 1")
    assert "the stored prices do not show it; the record stays until earlier bars are" in recorded.notes[0]
    assert num_rows(conn, b"split") == 1
    assert counts(recorded) == {"AAPL": (0, 0, 3, 0)}


def test_a_reverse_split_rounded_to_cents_is_noticed(conn: Connection, calendar: Calendar) -> None:
    closes = walk(40, start=3.0)
    ingest(conn, Delivery(bars=made(calendar, closes[:39])), source="made", calendar=calendar)
    new = made(calendar, [round(c * 10, 1) for c in closes])[34:]
    recorded = ingest(conn, Delivery(bars=new), source="made", calendar=calendar)
    assert recorded.splits == (Split(ticker="XYZ", session=new["session"][-1], ratio=0.1),)
    assert current_bars(conn, ["XYZ"])["close"].to_list() == pytest.approx([c * 10 for c in closes])


def test_the_crash_of_aapl_on_2000_09_29_is_no_split(conn: Connection, calendar: Calendar) -> None:
    ingest(conn, undeclared(sample("AAPL", date(2000, 6, 21), date(2000, 9, 28))), source="ib", calendar=calendar)
    recorded = ingest(
        conn, undeclared(sample("AAPL", date(2000, 9, 22), date(2000, 9, 29))), source="ib", calendar=calendar
    )
    assert recorded.splits == ()
    assert recorded.notes == ()
    assert counts(recorded) == {"AAPL": (1, 0, 5, 0)}


@pytest.mark.parametrize("dividend", [0.005, 0.03])
@pytest.mark.parametrize("known_split", [False, True])
def test_prices_that_dividends_are_taken_out_of_are_noted_after_the_dividend(
    conn: Connection, calendar: Calendar, dividend: float, known_split: bool
) -> None:
    bars = made(calendar, walk(60))
    splits = (Split(ticker="XYZ", session=bars["session"][30], ratio=2.0),) if known_split else ()
    ingest(conn, Delivery(bars=bars[:50], splits=splits), source="made", calendar=calendar)
    multiple = pl.when(pl.int_range(pl.len()) < 45).then(1 - dividend).otherwise(1.0)
    taken_out = bars.with_columns(pl.col(PRICE_COLUMNS) * multiple)
    recorded = ingest(conn, Delivery(bars=taken_out, splits=splits), source="made", calendar=calendar)
    assert counts(recorded) == {"XYZ": (10, 45, 5, 0)}
    (note,) = recorded.notes
    assert note.startswith(
        f"XYZ: 45 of 50 stored bars arrive at {1 - dividend:g} times their prices, which is not a split ratio"
    )
    assert "they replace all stored bars at the other prices" in note
    assert ingest(conn, Delivery(bars=taken_out, splits=splits), source="made", calendar=calendar).notes == ()


def test_nothing_is_recorded_of_a_part_that_dividends_are_taken_out_of(conn: Connection, calendar: Calendar) -> None:
    bars = made(calendar, walk(60))
    ingest(conn, Delivery(bars=bars[:50]), source="made", calendar=calendar)
    multiple = pl.when(pl.int_range(pl.len()) < 52).then(0.995).otherwise(1.0)
    taken_out = bars.with_columns(pl.col(PRICE_COLUMNS) * multiple)
    recorded = ingest(conn, Delivery(bars=taken_out[45:]), source="made", calendar=calendar)
    assert counts(recorded) == {"XYZ": (0, 0, 0, 15)}
    assert "XYZ: 5 of 5 stored bars arrive at 0.995 times their prices, which is no" in recorded.held_back["XYZ"]
    assert_frame_equal(current_bars(conn, ["XYZ"]), bars[:50])
    ingest(conn, Delivery(bars=taken_out), source="made", calendar=calendar)
    assert_frame_equal(current_bars(conn, ["XYZ"]), taken_out)


@pytest.mark.parametrize("fall", [0.499, 0.5])
def test_a_lone_bar_after_a_fall_by_half_waits_for_a_history_that_tells_what_it_was(
    conn: Connection, calendar: Calendar, fall: float
) -> None:
    closes = walk(20)
    crashed = closes[-1] * (1 - fall)
    old, lone = made(calendar, closes), made(calendar, [*closes, crashed])[20:]
    for ticker in ("CRASH", "SPLIT"):
        name = pl.lit(ticker).alias("ticker")
        ingest(conn, Delivery(bars=old.with_columns(name)), source="made", calendar=calendar)
        recorded = ingest(conn, Delivery(bars=lone.with_columns(name)), source="made", calendar=calendar)
        assert recorded.splits == ()
        reason = recorded.held_back[ticker]
        assert reason.startswith(f"{ticker}: no session is both stored and delivered, and prices go from ")
        assert f"materialize price_history of {ticker}" in reason
        assert current_bars(conn, [ticker]).height == 20
    crash = made(calendar, [*closes, crashed, crashed], "CRASH")
    split = made(calendar, [*(c / 2 for c in closes), crashed, crashed], "SPLIT")
    recorded = ingest(conn, Delivery(bars=pl.concat([crash, split])), source="made", calendar=calendar)
    assert recorded.splits == (Split(ticker="SPLIT", session=lone["session"][0], ratio=2.0),)
    assert recorded.notes[0].startswith("SPLIT: 20 stored bars arrive at 0.5 times their prices: a split of 2 for 1")
    assert counts(recorded) == {"CRASH": (2, 0, 20, 0), "SPLIT": (2, 20, 0, 0)}


def test_a_split_after_a_lone_bar_on_the_new_basis_restates_what_comes_before_that_bar(
    conn: Connection, calendar: Calendar
) -> None:
    """A ratio so small that the lone bar may be trading."""
    closes = walk(40)
    ingest(conn, Delivery(bars=made(calendar, closes[:30])), source="made", calendar=calendar)
    restated = made(calendar, [c / 1.4 for c in closes])
    ingest(conn, Delivery(bars=restated[30:31]), source="made", calendar=calendar)
    recorded = ingest(conn, Delivery(bars=restated[26:35]), source="made", calendar=calendar)
    assert recorded.splits == (Split(ticker="XYZ", session=restated["session"][30], ratio=1.4),)
    restated_volume = pl.when(pl.int_range(pl.len()) < 26).then(1400.0).otherwise(1000.0).alias("volume")
    assert_frame_equal(current_bars(conn, ["XYZ"]), restated[:35].with_columns(restated_volume))


def test_a_declared_split_restates_history_when_one_bar_arrives_alone(conn: Connection, calendar: Calendar) -> None:
    ingest(conn, sample("AAPL", date(2000, 3, 1), date(2000, 6, 20)), source="sample", calendar=calendar)
    recorded = ingest(conn, sample("AAPL", date(2000, 6, 21), date(2000, 6, 21)), source="sample", calendar=calendar)
    assert recorded.splits == (AAPL_2000,)
    assert counts(recorded) == {"AAPL": (1, 78, 0, 0)}
    assert_frame_equal(current_bars(conn, ["AAPL"]), sample("AAPL", date(2000, 3, 1), date(2000, 6, 21)).bars)


def test_a_split_declared_without_any_bar_restates_history(conn: Connection, calendar: Calendar) -> None:
    ingest(conn, sample("AAPL", date(2000, 3, 1), date(2000, 6, 20)), source="sample", calendar=calendar)
    recorded = ingest(
        conn, Delivery(bars=pl.DataFrame(schema=BAR_SCHEMA), splits=(AAPL_2000,)), source="sample", calendar=calendar
    )
    assert counts(recorded) == {"AAPL": (0, 78, 0, 0)}
    assert_frame_equal(
        current_bars(conn, ["AAPL"]), adjust(sample("AAPL", date(2000, 3, 1), date(2000, 6, 20)).bars, [AAPL_2000])
    )


def test_bars_on_an_older_basis_than_a_split_known_before_any_bar_are_restated(
    conn: Connection, calendar: Calendar
) -> None:
    nothing = pl.DataFrame(schema=BAR_SCHEMA)
    ingest(conn, Delivery(bars=nothing, splits=(AAPL_2000,)), source="sample", calendar=calendar)
    ingest(conn, sample("AAPL", date(2000, 3, 1), date(2000, 6, 20)), source="sample", calendar=calendar)
    assert_frame_equal(
        current_bars(conn, ["AAPL"]), sample("AAPL", date(2000, 3, 1), date(2000, 6, 21)).bars.slice(0, 78)
    )


def test_session_by_session_gives_the_same_bars_as_all_of_history_at_once(conn: Connection, calendar: Calendar) -> None:
    first, last = date(2000, 6, 1), date(2000, 7, 14)
    for session in calendar.between(first, last):
        ingest(conn, sample("AAPL", session, session), source="sample", calendar=calendar)
    assert_frame_equal(current_bars(conn, ["AAPL"]), sample("AAPL", first, last).bars)


def test_sessions_in_a_random_order_give_the_same_bars(conn: Connection, calendar: Calendar) -> None:
    first, last = date(2005, 2, 14), date(2005, 3, 11)
    sessions = calendar.between(first, last)
    for at in np.random.default_rng(3).permutation(len(sessions)):
        ingest(conn, sample("AAPL", sessions[at], sessions[at]), source="sample", calendar=calendar)
    assert_frame_equal(current_bars(conn, ["AAPL"]), sample("AAPL", first, last).bars)


def test_a_split_that_bars_before_the_newest_stored_ones_show_is_dated_by_the_jump_of_those(
    conn: Connection, calendar: Calendar
) -> None:
    """A ticker failed, split meanwhile by little, worked again, and then what it lacked is fetched alone."""
    new = made(calendar, walk(42))
    old = adjust(new, [Split(ticker="XYZ", session=date.max, ratio=1 / 1.25)])
    ingest(conn, Delivery(bars=old[:20]), source="made", calendar=calendar)
    ingest(conn, Delivery(bars=new[30:40]), source="made", calendar=calendar)
    recorded = ingest(conn, Delivery(bars=new[15:25]), source="made", calendar=calendar)
    assert recorded.splits == (Split(ticker="XYZ", session=new["session"][30], ratio=1.25),)
    ingest(conn, Delivery(bars=new[36:42]), source="made", calendar=calendar)
    assert_frame_equal(current_bars(conn, ["XYZ"]), pl.concat([new[:25], new[30:]]))


@pytest.mark.parametrize("num_jumps", [0, 2])
def test_a_split_that_later_stored_bars_do_not_date_leaves_the_store_as_it_was_until_these_arrive(
    conn: Connection, calendar: Calendar, num_jumps: int
) -> None:
    closes = [close / 2 ** (num_jumps * (at >= 30)) for at, close in enumerate(walk(40))]
    if num_jumps:
        closes[33:] = [close / 2 for close in closes[33:]]
    old = made(calendar, closes)
    new = adjust(old, [Split(ticker="XYZ", session=date.max, ratio=2.0)])
    ingest(conn, Delivery(bars=old[:39]), source="made", calendar=calendar)
    recorded = ingest(conn, Delivery(bars=new[15:25]), source="made", calendar=calendar)
    assert recorded.splits == ()
    assert recorded.held_back["XYZ"].startswith(
        "XYZ: the prices of the bars from 2001-01-24 to 2001-02-06 are those after"
    )
    assert counts(recorded) == {"XYZ": (0, 0, 0, 10)}
    assert num_rows(conn) == 39
    recorded = ingest(conn, Delivery(bars=new[15:]), source="made", calendar=calendar)
    assert recorded.splits == (Split(ticker="XYZ", session=new["session"][39], ratio=2.0),)
    assert_frame_equal(current_bars(conn, ["XYZ"]), new)


@pytest.mark.parametrize("declares", [True, False])
def test_a_delivery_on_an_older_basis_writes_nothing(conn: Connection, calendar: Calendar, declares: bool) -> None:
    whole = sample("AAPL", date(2000, 3, 1), date(2013, 3, 1))
    ingest(conn, whole, source="sample", calendar=calendar)
    older = sample("AAPL", date(2000, 3, 1), date(2000, 6, 20))
    older = older if declares else undeclared(older)
    recorded = ingest(conn, older, source="sample", calendar=calendar)
    assert counts(recorded) == {"AAPL": (0, 0, 78, 0)}
    assert_frame_equal(current_bars(conn, ["AAPL"]), whole.bars)
    assert num_rows(conn) == 3270


def test_missing_bars_on_an_older_basis_are_restated_when_they_are_added(conn: Connection, calendar: Calendar) -> None:
    ingest(conn, sample("AAPL", date(2000, 6, 21), date(2013, 3, 1)), source="sample", calendar=calendar)
    recorded = ingest(conn, sample("AAPL", date(2000, 3, 1), date(2000, 6, 20)), source="sample", calendar=calendar)
    assert counts(recorded) == {"AAPL": (78, 0, 0, 0)}
    expected = sample("AAPL", date(2000, 3, 1), date(2013, 3, 1)).bars
    # Divided by 4 at once or by 2 twice: exact for powers of two.
    assert_frame_equal(current_bars(conn, ["AAPL"]), expected, check_exact=True)


def test_raw_bars_from_a_source_that_forgot_a_known_split_change_nothing(conn: Connection, calendar: Calendar) -> None:
    whole = sample("AAPL", date(2000, 3, 1), date(2000, 9, 1))
    ingest(conn, whole, source="sample", calendar=calendar)
    before = pl.col("session") < AAPL_2000.session
    raw = whole.bars.with_columns(
        *(pl.when(before).then(pl.col(n) * 2).otherwise(n).alias(n) for n in PRICE_COLUMNS),
        volume=pl.when(before).then(pl.col("volume") / 2).otherwise("volume"),
    )
    recorded = ingest(conn, Delivery(bars=raw), source="files", calendar=calendar)
    assert counts(recorded) == {"AAPL": (0, 0, whole.bars.height, 0)}


@pytest.mark.parametrize("declares", [True, False])
@pytest.mark.parametrize("num_since", [1, 3, 20])
@pytest.mark.parametrize("ratio", [2.0, 10.0, 0.1])
def test_a_split_that_takes_a_known_one_back_restates_history(
    conn: Connection, calendar: Calendar, ratio: float, num_since: int, declares: bool
) -> None:
    """Before the known split, bars arrive as from a source that has forgotten it; those since then tell."""
    bars = made(calendar, walk(31))
    known = Split(ticker="XYZ", session=bars["session"][30 - num_since], ratio=ratio)
    back = Split(ticker="XYZ", session=bars["session"][30], ratio=1 / ratio)
    stored = adjust(bars, [Split(ticker="XYZ", session=date.max, ratio=ratio)])[:30]
    ingest(conn, Delivery(bars=stored, splits=(known,)), source="made", calendar=calendar)
    delivery = Delivery(bars=bars[5:], splits=(back,) if declares else ())
    recorded = ingest(conn, delivery, source="made", calendar=calendar)
    assert recorded.splits == (back,)
    assert len(recorded.notes) == (not declares)
    assert_frame_equal(current_bars(conn, ["XYZ"]), bars)


def test_a_split_noticed_after_one_without_bars_is_dated_after_it_and_both_are_on_record(
    conn: Connection, calendar: Calendar
) -> None:
    bars = made(calendar, walk(32))
    known = Split(ticker="XYZ", session=bars["session"][30], ratio=10.0)
    ingest(conn, Delivery(bars=bars[:30]), source="made", calendar=calendar)
    ingest(conn, Delivery(bars=bars.clear(), splits=(known,)), source="made", calendar=calendar)
    restated = adjust(bars, [Split(ticker="XYZ", session=date.max, ratio=20.0)])
    recorded = ingest(conn, Delivery(bars=restated[25:]), source="made", calendar=calendar)
    assert recorded.splits == (Split(ticker="XYZ", session=bars["session"][31], ratio=2.0),)
    assert num_rows(conn, b"split") == 2
    assert_frame_equal(current_bars(conn, ["XYZ"]), restated)


def test_raw_bars_from_a_source_that_dates_a_known_split_later_take_no_split_back(
    conn: Connection, calendar: Calendar
) -> None:
    raw = made(calendar, [close if at < 22 else close / 2 for at, close in enumerate(walk(40))])
    stored = adjust(raw, [Split(ticker="XYZ", session=raw["session"][22], ratio=2.0)])
    noticed = Split(ticker="XYZ", session=raw["session"][20], ratio=2.0)
    ingest(conn, Delivery(bars=stored, splits=(noticed,)), source="made", calendar=calendar)
    recorded = ingest(conn, Delivery(bars=raw), source="made", calendar=calendar)
    assert recorded.splits == ()
    assert counts(recorded) == {"XYZ": (0, 2, 38, 0)}
    assert "XYZ: 2 of 40 stored bars arrive at 2 to 2 times their prices" in recorded.notes[0]


def test_a_correction_on_an_older_basis_is_written_on_the_stored_one(conn: Connection, calendar: Calendar) -> None:
    ingest(conn, sample("AAPL", date(2000, 3, 1), date(2013, 3, 1)), source="sample", calendar=calendar)
    older = sample("AAPL", date(2000, 5, 1), date(2000, 6, 20))
    corrected = pl.col("session") == date(2000, 5, 3)
    bars = older.bars.with_columns(close=pl.when(corrected).then(pl.col("low")).otherwise("close"))
    recorded = ingest(conn, Delivery(bars=bars, basis=older.basis), source="sample", calendar=calendar)
    assert counts(recorded) == {"AAPL": (0, 1, 35, 0)}
    bar = current_bars(conn, ["AAPL"], first=date(2000, 5, 3), last=date(2000, 5, 3))
    assert bar["close"][0] == bar["low"][0]


def test_a_split_that_the_stored_bars_have_had_all_along_restates_nothing_and_is_dated_back(
    conn: Connection, calendar: Calendar
) -> None:
    whole = sample("AAPL", date(2000, 3, 1), date(2013, 3, 1))
    corrected = whole.bars.with_columns(volume=pl.col("volume") + 1)
    for bars in (corrected, whole.bars):
        ingest(conn, Delivery(bars=bars), source="files", calendar=calendar)
        conn.commit()
    recorded = ingest(conn, sample("AAPL", date(2013, 2, 28), date(2013, 3, 1)), source="sample", calendar=calendar)
    assert recorded.splits == (AAPL_2000, AAPL_2005)
    assert counts(recorded) == {"AAPL": (0, 0, 2, 0)}
    assert conn.execute(b"select bool_and(recorded_at = (select min(recorded_at) from bar)) from split").fetchone() == (
        True,
    )
    assert_frame_equal(current_bars(conn, ["AAPL"]), whole.bars)


def test_a_split_that_was_noticed_and_then_declared_is_one_split(conn: Connection, calendar: Calendar) -> None:
    ingest(conn, undeclared(sample("AAPL", date(2000, 3, 1), date(2000, 6, 16))), source="ib", calendar=calendar)
    restated = sample("AAPL", date(2000, 3, 1), date(2000, 6, 26))
    recorded = ingest(conn, undeclared(restated), source="ib", calendar=calendar)
    assert recorded.splits == (Split(ticker="AAPL", session=date(2000, 6, 19), ratio=2.0),)
    recorded = ingest(conn, restated, source="sample", calendar=calendar)
    assert recorded.splits == ()
    assert num_rows(conn, b"split") == 1
    assert_frame_equal(current_bars(conn, ["AAPL"]), restated.bars)


def test_a_split_noticed_after_weeks_of_silence_and_then_declared_is_one_split(
    conn: Connection, calendar: Calendar
) -> None:
    bars = made(calendar, walk(60))
    restated = adjust(bars, [Split(ticker="XYZ", session=date.max, ratio=2.0)])
    ingest(conn, Delivery(bars=bars[:20]), source="made", calendar=calendar)
    noticed = ingest(conn, Delivery(bars=restated[:58]), source="made", calendar=calendar)
    assert noticed.splits == (Split(ticker="XYZ", session=bars["session"][20], ratio=2.0),)
    declared = Split(ticker="XYZ", session=bars["session"][57], ratio=2.0)
    recorded = ingest(conn, Delivery(bars=restated[58:], splits=(declared,)), source="made", calendar=calendar)
    assert recorded.splits == ()
    assert num_rows(conn, b"split") == 1
    assert_frame_equal(current_bars(conn, ["XYZ"]), restated)


def test_a_split_declared_late_mends_bars_that_arrived_one_by_one(conn: Connection, calendar: Calendar) -> None:
    closes = walk(40)
    restated = made(calendar, [c / 1.4 for c in closes])
    ingest(conn, Delivery(bars=made(calendar, closes[:30])), source="files", calendar=calendar)
    for at in range(30, 35):
        ingest(conn, Delivery(bars=restated[at : at + 1]), source="files", calendar=calendar)
    split = Split(ticker="XYZ", session=restated["session"][30], ratio=1.4)
    delivery = Delivery(bars=restated[28:36], splits=(split,))
    recorded = ingest(conn, delivery, source="files", calendar=calendar)
    assert recorded.splits == (split,)
    assert recorded.notes == ()
    assert_frame_equal(
        current_bars(conn, ["XYZ"]), restated[:36].with_columns(volume=pl.Series([1400.0] * 28 + [1000.0] * 8))
    )


def test_refused_bars_go_into_quarantine_once_and_a_valid_one_resolves_them(
    conn: Connection, calendar: Calendar
) -> None:
    good = made(calendar, walk(10))
    at = pl.int_range(pl.len())
    bad = good.with_columns(
        high=pl.when(at == 3).then(pl.col("low") / 2).otherwise("high"),
        volume=pl.when(at == 5).then(float("nan")).otherwise("volume"),
        close=pl.when(at == 7).then(None).otherwise("close"),
    )
    ingest(conn, Delivery(bars=bad), source="made", calendar=calendar)
    recorded = ingest(conn, Delivery(bars=bad), source="made", calendar=calendar)
    assert counts(recorded) == {"XYZ": (0, 0, 7, 3)}
    refused = open_quarantine(conn)
    assert refused["session"].to_list() == good["session"].gather([3, 5, 7]).to_list()
    assert refused["reason"][1] == "volume is NaN"
    assert refused["reason"][2] == "close is missing"
    assert '"volume": "NaN"' in refused["bar"][1]
    assert (refused["last_seen_at"] > refused["first_seen_at"]).all()
    ingest(conn, Delivery(bars=good[:6]), source="made", calendar=calendar)
    assert open_quarantine(conn)["session"].to_list() == [good["session"][7]]
    assert num_rows(conn, b"quarantined_bar") == 3


def test_a_refused_bar_does_not_take_other_tickers_with_it(conn: Connection, calendar: Calendar) -> None:
    good = made(calendar, walk(4), "GOOD")
    bad = made(calendar, [-1.0], "BAD")
    recorded = ingest(conn, Delivery(bars=pl.concat([bad, good])), source="made", calendar=calendar)
    assert counts(recorded) == {"BAD": (0, 0, 0, 1), "GOOD": (4, 0, 0, 0)}


def test_a_bar_of_a_session_that_has_not_closed_is_refused(conn: Connection, calendar: Calendar) -> None:
    tomorrow = calendar.offset(calendar.last_closed(datetime.now(UTC)), 2)
    bars = made(calendar, [10.0], first=tomorrow)
    recorded = ingest(conn, Delivery(bars=bars), source="made", calendar=calendar)
    assert counts(recorded) == {"XYZ": (0, 0, 0, 1)}
    assert open_quarantine(conn)["reason"].to_list() == [f"session {tomorrow} has not closed yet"]


def test_an_empty_delivery_records_nothing(conn: Connection, calendar: Calendar) -> None:
    recorded = ingest(conn, Delivery(bars=pl.DataFrame(schema=BAR_SCHEMA)), source="made", calendar=calendar)
    assert recorded.per_ticker.is_empty()
    assert current_bars(conn, ["XYZ"]).schema == BAR_SCHEMA


def test_two_deliveries_at_once_write_each_bar_once(database: Database, calendar: Calendar) -> None:
    delivery = sample("IBM", date(2000, 3, 1), date(2002, 3, 1))
    barrier = threading.Barrier(4)
    news = list[int]()

    def deliver() -> None:
        with database.transaction() as own:
            barrier.wait()
            news.append(counts(ingest(own, delivery, source="sample", calendar=calendar))["IBM"][0])

    threads = [threading.Thread(target=deliver) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(news) == [0, 0, 0, delivery.bars.height]
    with database.connect() as conn:
        assert num_rows(conn) == delivery.bars.height


def test_recent_bars_are_the_newest_current_ones_up_to_a_session(conn: Connection, calendar: Calendar) -> None:
    delivery = SAMPLE.fetch(TICKERS, date(2000, 3, 1), date(2013, 3, 1))
    ingest(conn, delivery, source="sample", calendar=calendar)
    corrected = delivery.bars.filter(pl.col("session") == date(2012, 6, 1)).with_columns(volume=pl.lit(1.0))
    ingest(conn, Delivery(bars=corrected), source="sample", calendar=calendar)
    last = date(2012, 7, 2)
    recent = recent_bars(conn, [*TICKERS, "AAPL"], last=last, num_bars=100)
    expected = current_bars(conn, TICKERS, last=last).group_by("ticker", maintain_order=True).tail(100)
    assert_frame_equal(recent, expected)
    assert recent.filter(pl.col("volume") == 1).height == 5
    assert recent.group_by("ticker").len().sort("ticker")["len"].to_list() == [100, 31, 100, 100, 100]


def test_a_ticker_with_a_comma_or_a_quote_in_its_name_comes_back(conn: Connection, calendar: Calendar) -> None:
    bars = made(calendar, walk(3), 'A,"B')
    ingest(conn, Delivery(bars=bars), source="a,b", calendar=calendar)
    assert_frame_equal(current_bars(conn, ['A,"B']), bars)
