"""Outliers of a delivery on real PostgreSQL: held back, confirmed, released, named where they are stored already."""

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.prices.bars import PRICE_COLUMNS
from ldtm_lib.prices.ingest import IngestReport, ingest
from ldtm_lib.prices.outlier_quarantine import recorded_outliers
from ldtm_lib.prices.quarantine import open_quarantine
from ldtm_lib.prices.release import BarNotReleasable, quarantined_bars, release
from ldtm_lib.prices.sources.protocol import Delivery
from ldtm_lib.prices.splits import Split
from ldtm_lib.prices.stored_bars import current_bars
from ldtm_lib.sessions import Calendar
from tests.integration.prices.made_bars import counts, made, num_rows, walk

FIRST = date(2021, 2, 19)
SPIKED = [0.80, 120.0, 101.0, 0.975]


def bars(calendar: Calendar, closes: Sequence[float], ticker: str = "XYZ", first: date = FIRST) -> pl.DataFrame:
    return made(calendar, closes, ticker, first)


def deliver(conn: Connection, calendar: Calendar, frame: pl.DataFrame, source: str = "files") -> IngestReport:
    return ingest(conn, Delivery(bars=frame), source=source, calendar=calendar)


def closes(conn: Connection, ticker: str = "XYZ") -> list[float]:
    return current_bars(conn, [ticker])["close"].to_list()


def make_older(conn: Connection, hours: int) -> None:
    conn.execute(
        "update quarantined_bar set first_seen_at = first_seen_at - %s * interval '1 hour'", (hours,), prepare=False
    )


def test_prices_times_100_that_come_back_within_days_go_into_quarantine(conn: Connection, calendar: Calendar) -> None:
    recorded = deliver(conn, calendar, bars(calendar, SPIKED))
    assert counts(recorded) == {"XYZ": (2, 0, 0, 2)}
    assert closes(conn) == [0.80, 0.975]
    refused = open_quarantine(conn)
    assert refused["session"].to_list() == [date(2021, 2, 22), date(2021, 2, 23)]
    assert refused["reason"][0] == (
        "close 120 of 2021-02-22 is 150 times the close 0.8 of 2021-02-19 and 123 times the close 0.975 of 2021-02-24: "
        "it leaves and returns within 3 sessions; if it is right, `ldtm prices release XYZ 2021-02-22` records it, "
        "else load a corrected bar"
    )


def test_the_same_file_within_minutes_confirms_nothing_and_adds_no_refusal(
    conn: Connection, calendar: Calendar
) -> None:
    for _ in range(3):
        assert counts(deliver(conn, calendar, bars(calendar, SPIKED)))["XYZ"][3] == 2
    assert num_rows(conn, b"quarantined_bar") == 2
    make_older(conn, 19)
    assert counts(deliver(conn, calendar, bars(calendar, SPIKED)))["XYZ"] == (0, 0, 2, 2)


def test_the_same_source_twenty_hours_later_confirms_a_bar(conn: Connection, calendar: Calendar) -> None:
    deliver(conn, calendar, bars(calendar, SPIKED))
    make_older(conn, 20)
    recorded = deliver(conn, calendar, bars(calendar, SPIKED))
    assert counts(recorded) == {"XYZ": (2, 0, 2, 0)}
    assert recorded.notes[0] == (
        "XYZ: the bar of 2021-02-22 with close 120, refused from files before, was delivered again and is recorded"
    )
    assert closes(conn) == SPIKED
    assert open_quarantine(conn).is_empty()
    again = deliver(conn, calendar, bars(calendar, [*SPIKED, 0.9]))
    assert counts(again) == {"XYZ": (1, 0, 4, 0)}
    assert again.notes == ()


def test_another_source_confirms_a_bar_by_its_prices_whatever_volume_it_counts(
    conn: Connection, calendar: Calendar
) -> None:
    frame = bars(calendar, SPIKED)
    deliver(conn, calendar, frame)
    other = frame.with_columns(volume=pl.lit(1234.0))
    wrong = other.with_columns(
        pl.when(pl.col("close") == 101).then(99.0).otherwise(pl.col(p)).alias(p) for p in PRICE_COLUMNS
    )
    recorded = deliver(conn, calendar, wrong, source="ib")
    assert closes(conn) == [0.80, 120, 0.975]
    assert counts(recorded)["XYZ"][3] == 1
    assert open_quarantine(conn)["source"].to_list() == ["files", "ib"]
    deliver(conn, calendar, other, source="ib")
    assert closes(conn) == SPIKED
    assert open_quarantine(conn).is_empty()


def test_a_corrected_bar_closes_the_refusal(conn: Connection, calendar: Calendar) -> None:
    deliver(conn, calendar, bars(calendar, SPIKED))
    deliver(conn, calendar, bars(calendar, [0.80, 1.20, 1.01, 0.975]))
    assert closes(conn) == [0.80, 1.20, 1.01, 0.975]
    assert open_quarantine(conn).is_empty()
    make_older(conn, 48)
    deliver(conn, calendar, bars(calendar, SPIKED))
    assert closes(conn) == [0.80, 1.20, 1.01, 0.975], "a refusal that is closed confirms nothing"


def test_a_newest_bar_is_recorded_until_it_returns_and_held_back_in_another_unit(
    conn: Connection, calendar: Calendar
) -> None:
    both = pl.concat([bars(calendar, [1.0, 4.0], "LEAP"), bars(calendar, [1.0, 110.0], "UNIT")])
    assert counts(deliver(conn, calendar, both)) == {"LEAP": (2, 0, 0, 0), "UNIT": (1, 0, 0, 1)}
    assert "another unit, such as cents or pence, or an undeclared split" in open_quarantine(conn)["reason"][0]
    both = pl.concat([bars(calendar, [1.0, 4.0, 1.1], "LEAP"), bars(calendar, [1.0, 110.0, 1.1], "UNIT")])
    recorded = deliver(conn, calendar, both)
    assert counts(recorded) == {"LEAP": (1, 0, 2, 0), "UNIT": (1, 0, 1, 1)}
    assert recorded.notes == (
        "LEAP: a stored bar is an outlier: close 4 of 2021-02-22 is 4 times the close 1 of 2021-02-19 and 3.64 times "
        "the close 1.1 of 2021-02-23: it leaves and returns within 3 sessions; load a corrected bar of 2021-02-22",
    )
    assert open_quarantine(conn)["ticker"].to_list() == ["UNIT"]
    found = recorded_outliers(conn, ["LEAP", "UNIT"], last=date(2021, 3, 1), num_bars=280, calendar=calendar)
    assert found.select("ticker", "session").rows() == [("LEAP", date(2021, 2, 22))]
    deliver(conn, calendar, bars(calendar, [1.0, 1.4, 1.1], "LEAP"))
    assert recorded_outliers(conn, ["LEAP"], last=date(2021, 3, 1), num_bars=280, calendar=calendar).is_empty()


def test_stored_neighbours_outside_of_the_delivery_count(conn: Connection, calendar: Calendar) -> None:
    history = bars(calendar, walk(12))
    deliver(conn, calendar, pl.concat([history[:5], history[7:]]))
    tenfold = history[5:7].with_columns(pl.col(PRICE_COLUMNS) * 10)
    assert counts(deliver(conn, calendar, tenfold)) == {"XYZ": (0, 0, 0, 2)}
    assert_frame_equal(current_bars(conn, ["XYZ"]), pl.concat([history[:5], history[7:]]))


def test_a_restated_bar_that_becomes_a_spike_leaves_the_stored_one(conn: Connection, calendar: Calendar) -> None:
    history = bars(calendar, walk(12))
    deliver(conn, calendar, history)
    is_wrong = pl.int_range(pl.len()) == 6
    wrong = history.with_columns(pl.when(is_wrong).then(pl.col(p) / 10).otherwise(p).alias(p) for p in PRICE_COLUMNS)
    assert counts(deliver(conn, calendar, wrong)) == {"XYZ": (0, 0, 11, 1)}
    assert_frame_equal(current_bars(conn, ["XYZ"]), history)


@given(seed=st.integers(0, 2**32 - 1), num_first=st.integers(1, 30))
# The database is shared by all examples: each rolls back what it wrote.
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_of_a_walk_with_spikes_in_two_deliveries_only_spikes_are_held_back_and_none_is_recorded_unnamed(
    database: Database, calendar: Calendar, seed: int, num_first: int
) -> None:
    rng = np.random.default_rng(seed)
    walked = 50 * np.cumprod(1 + rng.uniform(-0.1, 0.1, 32))
    is_spiked = np.zeros(32, dtype=bool)
    for start in range(int(rng.integers(2, 6)), 26, 8):
        is_spiked[start : start + rng.integers(1, 4)] = True
    walked[is_spiked] *= rng.uniform(6, 60) ** rng.choice([-1, 1], is_spiked.sum())
    frame = bars(calendar, walked.tolist())
    with database.connect() as conn, conn.transaction(force_rollback=True):
        deliver(conn, calendar, frame[:num_first])
        recorded = deliver(conn, calendar, frame[max(0, num_first - 5) :])
        held = set(open_quarantine(conn)["session"])
        named = recorded_outliers(conn, ["XYZ"], last=date(2021, 6, 1), num_bars=280, calendar=calendar)
    spiked = set(frame.filter(pl.Series(is_spiked))["session"])
    assert held <= spiked
    assert held | set(named["session"]) == spiked
    assert all(any(str(day) in note for note in recorded.notes) for day in named["session"])


def test_a_split_is_no_spike(conn: Connection, calendar: Calendar) -> None:
    raw = bars(calendar, [100.0, 101, 102, 103, 104, 10.2, 10.3, 10.4])
    split = Split(ticker="XYZ", session=raw["session"][5], ratio=10.0)
    deliver(conn, calendar, raw[:5])
    recorded = ingest(conn, Delivery(bars=raw[5:], splits=(split,)), source="files", calendar=calendar)
    assert counts(recorded) == {"XYZ": (3, 5, 0, 0)}
    assert recorded.notes == ()


def test_a_released_bar_is_recorded_with_its_source_and_not_judged_again(conn: Connection, calendar: Calendar) -> None:
    frame = bars(calendar, SPIKED)
    deliver(conn, calendar, frame, source="ib")
    released = release(conn, "XYZ", date(2021, 2, 22), calendar)
    assert (released.close, released.volume, released.source) == (120.0, 1000.0, "ib")
    assert_frame_equal(current_bars(conn, ["XYZ"]), frame.filter(pl.col("close") != 101))
    assert open_quarantine(conn)["session"].to_list() == [date(2021, 2, 23)]
    again = deliver(conn, calendar, frame, source="ib")
    assert counts(again) == {"XYZ": (0, 0, 3, 1)}
    assert again.notes == ()
    assert recorded_outliers(conn, ["XYZ"], last=date(2021, 3, 1), num_bars=280, calendar=calendar).is_empty()
    sources = conn.execute("select source from bar where session = '2021-02-22'").fetchall()
    assert sources == [("ib",)]


def test_a_released_bar_is_restated_by_the_splits_since_it_arrived(conn: Connection, calendar: Calendar) -> None:
    frame = bars(calendar, [10.0, 400.0, 10.0, 10.1])
    deliver(conn, calendar, frame)
    split = Split(ticker="XYZ", session=calendar.offset(frame["session"][-1], 1), ratio=2.0)
    ingest(conn, Delivery(bars=frame.clear(), splits=(split,)), source="files", calendar=calendar)
    released = release(conn, "XYZ", date(2021, 2, 22), calendar)
    assert (released.close, released.volume) == (200.0, 2000.0)


def test_what_cannot_be_released_says_why(conn: Connection, calendar: Calendar) -> None:
    with pytest.raises(
        BarNotReleasable, match="no bar of XYZ on 2021-02-22 is in quarantine; `ldtm prices quarantine`"
    ):
        release(conn, "XYZ", date(2021, 2, 22), calendar)
    invalid = bars(calendar, [10.0, 11.0]).with_columns(high=pl.col("low") / 2)
    deliver(conn, calendar, invalid)
    with pytest.raises(BarNotReleasable, match=r"the bar of XYZ on 2021-02-19 cannot be released.*high 4.9 is below"):
        release(conn, "XYZ", FIRST, calendar)
    two = pl.concat([bars(calendar, [10.0], "TWO"), bars(calendar, [10.5], "TWO")])
    deliver(conn, calendar, two)
    with pytest.raises(
        BarNotReleasable, match=r"several bars of TWO .* choose one with --close, of close 10\.0, volume"
    ):
        release(conn, "TWO", FIRST, calendar)
    with pytest.raises(BarNotReleasable, match=r"with close 9 is not in quarantine"):
        release(conn, "TWO", FIRST, calendar, close=9.0)
    assert release(conn, "TWO", FIRST, calendar, close=10.5).close == 10.5
    assert open_quarantine(conn)["ticker"].unique().to_list() == ["XYZ"]
    assert quarantined_bars(conn, calendar)["is_releasable"].to_list() == [False, False]


def test_a_bar_that_arrived_before_its_session_closed_is_not_released(conn: Connection, calendar: Calendar) -> None:
    conn.execute(
        "insert into quarantined_bar (ticker, session, reason, bar, source, first_seen_at) values ('XYZ', %s, "
        "'session 2021-02-19 has not closed yet', %s, 'ib', '2021-02-19 16:00Z')",
        (FIRST, '{"open": 1, "high": 1, "low": 1, "close": 1, "volume": 5}'),
    )
    with pytest.raises(BarNotReleasable, match="session 2021-02-19 has not closed yet"):
        release(conn, "XYZ", FIRST, calendar)


def test_stored_volumes_are_not_restated_when_the_source_begins_to_count_in_lots(
    conn: Connection, calendar: Calendar
) -> None:
    volume = pl.Series([1_234_567.0, 2_050_040.0, 988_800.0, 1_111_149.0, 3_000_051.0, 1_700_000.0, 1_650_333.0])
    history = bars(calendar, walk(7)).with_columns(volume=volume)
    deliver(conn, calendar, history[:5], source="ib")
    in_lots = history.with_columns(volume=(pl.col("volume") / 100).round())
    recorded = deliver(conn, calendar, in_lots[:6], source="ib")
    assert counts(recorded) == {"XYZ": (1, 0, 5, 0)}
    assert "XYZ: the volumes of 5 of 5 stored bars" in recorded.notes[0]
    recorded = deliver(conn, calendar, in_lots[2:], source="ib")
    assert counts(recorded) == {"XYZ": (1, 0, 4, 0)}
    assert current_bars(conn, ["XYZ"])["volume"].to_list() == [*volume[:5], 1_700_000, 1_650_300]
