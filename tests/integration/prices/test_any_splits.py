"""Whatever splits a source has and however it delivers them, current bars stand on one price basis."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, assume, given, note
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.prices.bars import PRICE_COLUMNS
from ldtm_lib.prices.ingest import ingest
from ldtm_lib.prices.release import release
from ldtm_lib.prices.sources.protocol import Delivery
from ldtm_lib.prices.split_ratios import Floats
from ldtm_lib.prices.split_statements import state_split
from ldtm_lib.prices.splits import Split
from ldtm_lib.prices.stored_bars import current_bars
from ldtm_lib.sessions import Calendar
from tests.integration.prices.made_bars import made

NUM_SESSIONS = 60
FIRST_LOADED = 25
"""Sessions that the first delivery has."""
LEAST_PRICE, MOST_PRICE = 0.5, 1e6
RATIOS = st.one_of(
    st.sampled_from([2.0, 3.0, 1.5, 4.0, 10.0, 0.5, 0.1, 0.05, 7.0, 20.0]),
    st.floats(1.05, 1000.0),
    st.floats(1.05, 1000.0).map(lambda ratio: 1 / ratio),
)


@dataclass(frozen=True, slots=True)
class Market:
    """True closes per share of the last session, and the splits as factors by place."""

    closes: Floats
    splits: dict[int, float]
    """By the place of the first session on the new basis."""
    decimals: int | None

    @property
    def is_plain(self) -> bool:
        """Whether the jump of each split is larger than trading explains."""
        return all(not 1 / 1.6 < ratio < 1.6 for ratio in self.splits.values())

    def adjusted(self, places: Sequence[int], *, known: int) -> Floats:
        """Closes as a vendor has them that has applied the splits up to a place, the last one that it knows."""
        later = [self._factor(place, NUM_SESSIONS) / self._factor(place, known + 1) for place in places]
        return self.closes[list(places)] * np.array(later)

    def raw(self, places: Sequence[int]) -> Floats:
        """Closes as they were traded."""
        return self.closes[list(places)] * np.array([self._factor(place, NUM_SESSIONS) for place in places])

    def _factor(self, place: int, until: int) -> float:
        """The product of the splits after a place and before another one."""
        return float(np.prod([ratio for at, ratio in self.splits.items() if place < at < until]))


@st.composite
def markets(draw: st.DrawFn) -> Market:
    """A random walk within 4% a session, with up to three splits after the first delivery."""
    seed = draw(st.integers(0, 10**6))
    moves = np.random.default_rng(seed).uniform(-0.04, 0.04, NUM_SESSIONS)
    splits = draw(st.dictionaries(st.integers(FIRST_LOADED + 1, NUM_SESSIONS - 2), RATIOS, min_size=1, max_size=3))
    market = Market(closes=50 * np.cumprod(1 + moves), splits=splits, decimals=draw(st.sampled_from([None, 4])))
    raw = market.raw(range(NUM_SESSIONS))
    assume(raw.min() > LEAST_PRICE and raw.max() < MOST_PRICE)
    return market


def bars_of(calendar: Calendar, places: Sequence[int], closes: Floats, decimals: int | None) -> pl.DataFrame:
    """Bars of some sessions, by their places, whose four prices differ and may be rounded."""
    sessions = made(calendar, [1.0] * NUM_SESSIONS)["session"]
    spread = {"open": 1.004, "high": 1.013, "low": 0.991, "close": 1.0}
    prices = {name: closes * factor for name, factor in spread.items()}
    return made(calendar, closes.tolist()).with_columns(
        sessions.gather(list(places)).alias("session"),
        *(pl.Series(name, p if decimals is None else np.round(p, decimals)) for name, p in prices.items()),
    )


def flat(bars: pl.DataFrame) -> pl.DataFrame:
    """Bars of one price each."""
    return bars.with_columns(pl.col("close").alias(name) for name in PRICE_COLUMNS)


def stored_closes(conn: Connection) -> dict[date, float]:
    frame = current_bars(conn, ["XYZ"])
    return dict(frame.select("session", "close").iter_rows())


def is_one_basis(stored: dict[date, float], true: dict[date, float], tolerance: float) -> bool:
    """Whether stored closes are true ones times one factor."""
    factors = np.array([close / true[session] for session, close in stored.items()])
    return bool(np.ptp(np.log(factors)) <= tolerance)


def quietly(max_examples: int) -> hypothesis_settings:
    """The database is shared by all examples: each rolls back what it wrote."""
    return hypothesis_settings(
        max_examples=max_examples,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
        phases=(Phase.explicit, Phase.generate),  # shrinking takes longer than reading a history
    )


@given(market=markets(), data=st.data())
@quietly(25)
def test_adjusted_prices_stand_on_one_basis_or_are_not_recorded(
    database: Database, calendar: Calendar, market: Market, data: st.DataObject
) -> None:
    """A vendor that restates what it delivers, at once or late, and declares splits always, never or wrongly."""
    sessions = made(calendar, [1.0] * NUM_SESSIONS)["session"].to_list()
    true = dict(zip(sessions, market.closes, strict=True))
    declares = data.draw(st.sampled_from(["always", "never", "wrong ratio", "wrong day"]))
    lag = data.draw(st.sampled_from([0, 4])) if declares == "always" and market.is_plain else 0
    with database.connect() as conn, conn.transaction(force_rollback=True):
        newest = FIRST_LOADED - 1
        first = bars_of(
            calendar, range(FIRST_LOADED), market.adjusted(range(FIRST_LOADED), known=newest), market.decimals
        )
        ingest(conn, Delivery(bars=first), source="made", calendar=calendar)
        while newest < NUM_SESSIONS - 1:
            newest = min(NUM_SESSIONS - 1, newest + data.draw(st.integers(1, 12)))
            held = len(stored_closes(conn))
            start = max(0, held - data.draw(st.sampled_from([1, 2, 3, 5, 12, NUM_SESSIONS])))
            places = range(start, newest + 1)
            before = stored_closes(conn)
            splits = () if declares == "never" else declared(market, sessions, newest, declares)
            known = newest - data.draw(st.integers(0, lag))
            bars = bars_of(calendar, places, market.adjusted(places, known=known), market.decimals)
            report = ingest(conn, Delivery(bars=bars, splits=splits), source="made", calendar=calendar)
            after = stored_closes(conn)
            note(f"{start} to {newest}: {report.splits} {report.notes}")
            assert after == before or is_one_basis(after, true, 0.02)
        everything = range(NUM_SESSIONS)
        whole = bars_of(calendar, everything, market.adjusted(everything, known=NUM_SESSIONS), market.decimals)
        ingest(conn, Delivery(bars=whole), source="made", calendar=calendar)
        assert is_one_basis(stored_closes(conn), true, 0.02)
        assert len(stored_closes(conn)) == NUM_SESSIONS, "the whole history is always a remedy"


def declared(market: Market, sessions: Sequence[date], newest: int, how: str) -> tuple[Split, ...]:
    """The splits up to a session as a source declares them."""
    return tuple(
        Split(
            ticker="XYZ",
            session=sessions[place - 1 if how == "wrong day" else place],
            ratio=ratio * (1.5 if how == "wrong ratio" else 1),
        )
        for place, ratio in sorted(market.splits.items())
        if place <= newest
    )


@given(market=markets(), data=st.data())
@quietly(20)
def test_raw_prices_stand_on_the_basis_of_the_splits_on_record(
    database: Database, calendar: Calendar, market: Market, data: st.DataObject
) -> None:
    """A source of raw prices whose declarations are late by some sessions, or wrong until they are corrected."""
    sessions = made(calendar, [1.0] * NUM_SESSIONS)["session"].to_list()
    raw = market.raw(range(NUM_SESSIONS))
    how = data.draw(st.sampled_from(["right", "wrong ratio"]))
    corrected_from = data.draw(st.integers(FIRST_LOADED, NUM_SESSIONS - 1)) if how == "wrong ratio" else 0
    with database.connect() as conn, conn.transaction(force_rollback=True):
        newest = -1
        while newest < NUM_SESSIONS - 1:
            newest = min(NUM_SESSIONS - 1, newest + data.draw(st.integers(1, 15)))
            held = len(stored_closes(conn))
            start = max(0, held - data.draw(st.sampled_from([3, 5, 12, NUM_SESSIONS])))
            splits = declared(market, sessions, newest, how if newest < corrected_from else "right")
            places = range(start, newest + 1)
            factors = [np.prod([s.ratio for s in splits if sessions[place] < s.session]) for place in places]
            bars = bars_of(calendar, places, raw[list(places)] / np.array(factors), market.decimals)
            before = stored_closes(conn)
            report = ingest(conn, Delivery(bars=bars, splits=splits), source="made", calendar=calendar)
            after = stored_closes(conn)
            note(f"{start} to {newest}: {splits} {report.splits} {report.notes}")
            on_record = conn.execute(
                "select session, product(ratio order by split_id) from split group by session"
            ).fetchall()
            rebuilt = {day: close * np.prod([r for s, r in on_record if day < s]) for day, close in after.items()}
            true = dict(zip(sessions, raw, strict=True))
            assert after == before or rebuilt == pytest.approx({day: true[day] for day in rebuilt}, rel=0.02)


@pytest.mark.parametrize("basis", ["raw", "adjusted"])
def test_a_corrected_date_replaces_the_wrong_one(conn: Connection, calendar: Calendar, basis: str) -> None:
    bars = made(calendar, [600.0] * 60)
    wrong, right = (Split(ticker="XYZ", session=bars["session"][at], ratio=2.0) for at in (30, 45))

    def delivered(split: Split) -> Delivery:
        if basis == "adjusted":
            return Delivery(bars=bars, splits=(split,))
        # Traded at 1,200 before the true session.
        traded = np.where(np.arange(60) < 45, 1200.0, 600.0)
        applied = traded / np.where(bars["session"].to_numpy() < np.datetime64(split.session), 2.0, 1.0)
        return Delivery(bars=made(calendar, applied.tolist()), splits=(split,))

    ingest(conn, delivered(wrong), source="files", calendar=calendar)
    recorded = ingest(conn, delivered(right), source="files", calendar=calendar)
    assert recorded.notes[0].startswith(
        f"XYZ: the split of 2 for 1 on {wrong.session} is declared to be of {right.session}; this is recorded"
    )
    rows = conn.execute("select session, ratio, origin from split order by split_id").fetchall()
    assert rows == [
        (wrong.session, 2.0, "declared"), (wrong.session, 0.5, "declared"), (right.session, 2.0, "declared")
    ]  # fmt: skip
    assert set(stored_closes(conn).values()) == {600.0}
    again = ingest(conn, delivered(right), source="files", calendar=calendar)
    assert (again.splits, again.notes) == ((), ())


def test_what_the_operator_states_stays_against_the_source(conn: Connection, calendar: Calendar) -> None:
    bars = made(calendar, [100.0] * 40)
    split = Split(ticker="XYZ", session=bars["session"][20], ratio=2.0)
    ingest(conn, Delivery(bars=bars, splits=(split,)), source="files", calendar=calendar)
    stated = state_split(conn, "XYZ", split.session, 1, calendar)
    assert (stated.num_rows, stated.num_restated, stated.former_ratio) == (1, 0, 2)
    assert set(stored_closes(conn).values()) == {100.0}, "the prices never had it"
    again = ingest(conn, Delivery(bars=bars, splits=(split,)), source="files", calendar=calendar)
    assert again.splits == ()
    assert "no split was stated by hand, which counts" in again.notes[0]
    assert conn.execute("select count(*) from split").fetchone() == (2,)


def test_a_split_of_the_operator_restates_stored_bars_where_they_lack_it(conn: Connection, calendar: Calendar) -> None:
    bars = flat(made(calendar, [0.1] * 10))
    ingest(conn, Delivery(bars=bars), source="files", calendar=calendar)
    later = flat(made(calendar, [10.0] * 12))[5:].with_columns(volume=pl.lit(10.0))
    waiting = ingest(conn, Delivery(bars=later), source="files", calendar=calendar)
    assert (
        "5 of 5 stored bars arrive at 100 times their prices, whose decimals allow several" in waiting.held_back["XYZ"]
    )
    assert set(stored_closes(conn).values()) == {0.1}
    split = Split(ticker="XYZ", session=later["session"][5], ratio=0.01)
    state_split(conn, "XYZ", split.session, split.ratio, calendar)
    recorded = ingest(conn, Delivery(bars=later), source="files", calendar=calendar)
    assert recorded.notes == ()
    assert list(stored_closes(conn).values()) == pytest.approx([10.0] * 12)


def test_no_split_is_read_across_months_without_a_bar(conn: Connection, calendar: Calendar) -> None:
    ingest(conn, Delivery(bars=made(calendar, [12.31] * 10)), source="files", calendar=calendar)
    later = made(calendar, [184.0] * 10, first=date(2001, 6, 11))
    recorded = ingest(conn, Delivery(bars=later), source="files", calendar=calendar)
    assert recorded.splits == ()
    assert recorded.notes[0].startswith("XYZ: no bar for 146 days, and prices go from 12.31 on 2001-01-16 to 184 on")
    assert len(stored_closes(conn)) == 20


def test_a_date_whose_day_and_month_were_exchanged_is_corrected_months_away(
    conn: Connection, calendar: Calendar
) -> None:
    """Only where the source would still declare the wrong one: a window of bars says nothing of splits before it."""
    bars = made(calendar, [600.0] * 60)
    wrong, right = (Split(ticker="XYZ", session=bars["session"][at], ratio=2.0) for at in (5, 55))
    complete = {"XYZ": date.min}
    for split in (wrong, right):
        ingest(conn, Delivery(bars=bars, splits=(split,), splits_from=complete), source="files", calendar=calendar)
    rows = "select session, product(ratio) from split group by session having abs(product(ratio) - 1) > 1e-9"
    assert conn.execute(rows).fetchall() == [(right.session, 2.0)]
    second = Split(ticker="XYZ", session=bars["session"][58], ratio=2.0)
    ingest(conn, Delivery(bars=bars[56:], splits=(second,)), source="window", calendar=calendar)
    assert len(conn.execute(rows).fetchall()) == 2


def test_a_small_split_that_no_common_bar_shows_is_not_recorded(conn: Connection, calendar: Calendar) -> None:
    bars = made(calendar, [103.0] * 6 + [100.0] * 6)
    ingest(conn, Delivery(bars=bars[:10]), source="files", calendar=calendar)
    split = Split(ticker="XYZ", session=bars["session"][6], ratio=1.05)
    recorded = ingest(conn, Delivery(bars=bars[7:], splits=(split,)), source="files", calendar=calendar)
    assert recorded.splits == ()
    assert "is not recorded: no delivered bar before it shows" in recorded.notes[0]
    assert list(stored_closes(conn).values()) == [103.0] * 6 + [100.0] * 6


def test_a_split_on_record_before_any_bar_is_applied_to_raw_bars_that_do_not_know_it(
    conn: Connection, calendar: Calendar
) -> None:
    bars = made(calendar, [100.0] * 6 + [50.0] * 6)
    state_split(conn, "XYZ", bars["session"][6], 2, calendar)
    ingest(conn, Delivery(bars=bars, basis={"XYZ": date.min}), source="files", calendar=calendar)
    assert set(stored_closes(conn).values()) == {50.0}


def test_a_released_bar_has_the_splits_of_its_own_delivery(conn: Connection, calendar: Calendar) -> None:
    bars = made(calendar, [50.0, 200.0, 50.0, 50.0, 50.0])
    split = Split(ticker="XYZ", session=bars["session"][3], ratio=2.0)
    ingest(conn, Delivery(bars=bars, splits=(split,)), source="files", calendar=calendar)
    assert len(stored_closes(conn)) == 4
    conn.commit()
    released = release(conn, "XYZ", bars["session"][1], calendar)
    assert released.close == 200.0


def test_volumes_are_not_put_into_another_unit_by_a_split_of_a_hundred(conn: Connection, calendar: Calendar) -> None:
    bars = made(calendar, [5000.0] * 10)
    ingest(conn, Delivery(bars=bars), source="files", calendar=calendar)
    later = made(calendar, [50.0] * 12)[5:]
    split = Split(ticker="XYZ", session=later["session"][5], ratio=100.0)
    recorded = ingest(conn, Delivery(bars=later, splits=(split,)), source="files", calendar=calendar)
    assert recorded.notes == ()
    assert current_bars(conn, ["XYZ"])["volume"][-1] == 1000.0
