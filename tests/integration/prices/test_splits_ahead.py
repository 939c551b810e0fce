"""Splits whose session has not closed: none is recorded, and no bar is put on the basis after one."""

from dataclasses import replace
from datetime import UTC, date, datetime

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ldtm_lib.database.connection import Connection
from ldtm_lib.prices.ingest import ingest
from ldtm_lib.prices.sources.protocol import Delivery
from ldtm_lib.prices.splits import Split, adjust
from ldtm_lib.prices.stored_bars import current_bars
from ldtm_lib.sessions import Calendar

RATIO = 2.0


def newest_bars(calendar: Calendar, num_bars: int) -> pl.DataFrame:
    """Bars of cents until the newest closed session."""
    newest = calendar.last_closed(datetime.now(UTC))
    days = calendar.between(calendar.offset(newest, 1 - num_bars), newest)
    close = [100.0 + 0.25 * n for n in range(num_bars)]
    columns = {"open": close, "high": [c + 1 for c in close], "low": [c - 1 for c in close], "close": close}
    return pl.DataFrame({"ticker": ["XYZ"] * num_bars, "session": days, **columns, "volume": [1e6] * num_bars})


def splits(conn: Connection) -> list[tuple[str, date, float]]:
    return conn.execute("select ticker, session, ratio from split").fetchall()


@pytest.fixture
def ahead(calendar: Calendar) -> Split:
    session = calendar.offset(calendar.last_closed(datetime.now(UTC)), 1)
    return Split(ticker="XYZ", session=session, ratio=RATIO)


@pytest.mark.parametrize("is_adjusted", [True, False])
@pytest.mark.parametrize("num_stored", [0, 29])
def test_a_declared_split_ahead_waits_and_the_bars_are_recorded_on_the_basis_before(
    conn: Connection, calendar: Calendar, ahead: Split, num_stored: int, is_adjusted: bool
) -> None:
    """Without stored bars to tell by, a source has adjusted its bars for every split that it declares."""
    bars = newest_bars(calendar, 30)
    if not (num_stored or is_adjusted):
        pytest.skip("nothing tells that such bars are not adjusted")
    ingest(conn, Delivery(bars=bars[:num_stored]), source="s", calendar=calendar)
    delivered = adjust(bars, [ahead]) if is_adjusted else bars
    report = ingest(conn, Delivery(bars=delivered, splits=(ahead,)), source="s", calendar=calendar)
    assert report.notes == (f"XYZ: the split of 2 for 1 is recorded once session {ahead.session} has closed",)
    assert (report.splits, splits(conn)) == ((), [])
    assert_frame_equal(current_bars(conn, ["XYZ"]), bars)
    assert conn.execute("select count(*) from bar").fetchone() == (30,)


def test_an_undeclared_split_that_lies_ahead_is_noted_and_nothing_of_the_delivery_recorded(
    conn: Connection, calendar: Calendar, ahead: Split
) -> None:
    bars = newest_bars(calendar, 30)
    ingest(conn, Delivery(bars=bars), source="s", calendar=calendar)
    report = ingest(conn, Delivery(bars=adjust(bars, [ahead])), source="s", calendar=calendar)
    assert report.notes == (
        f"XYZ: the split of 2 for 1 is recorded once session {ahead.session} has closed; its bars are recorded from "
        "then on as well",
    )
    assert splits(conn) == []
    assert_frame_equal(current_bars(conn, ["XYZ"]), bars)


def test_other_splits_and_other_tickers_of_the_delivery_are_recorded(
    conn: Connection, calendar: Calendar, ahead: Split
) -> None:
    bars = newest_bars(calendar, 30)
    other = bars.with_columns(ticker=pl.lit("ABC"))
    closed = Split(ticker="ABC", session=bars["session"][20], ratio=3.0)
    ingest(conn, Delivery(bars=pl.concat([other, bars])), source="s", calendar=calendar)
    delivered = pl.concat([adjust(other, [closed]), adjust(bars, [ahead])])
    report = ingest(conn, Delivery(bars=delivered, splits=(closed, ahead)), source="s", calendar=calendar)
    assert report.splits == (closed,)
    assert splits(conn) == [("ABC", closed.session, 3.0)]
    assert_frame_equal(current_bars(conn, ["ABC", "XYZ"]), pl.concat([adjust(other, [closed]), bars]))


def test_a_split_is_recorded_with_the_first_delivery_after_its_session(conn: Connection, calendar: Calendar) -> None:
    bars = newest_bars(calendar, 30)
    split = Split(ticker="XYZ", session=bars["session"][-1], ratio=RATIO)
    ingest(conn, Delivery(bars=bars[:-1]), source="s", calendar=calendar)
    after = Delivery(bars=adjust(bars, [replace(split, session=date.max)])[:-1].vstack(bars[-1:]), splits=(split,))
    assert ingest(conn, after, source="s", calendar=calendar).splits == (split,)
    assert splits(conn) == [("XYZ", split.session, RATIO)]
