"""What is asked of a source for some sessions: what is missing, after bars that are stored."""

from collections.abc import Iterable
from datetime import date

import pytest

from ldtm_lib.database.connection import Connection
from ldtm_lib.prices.fetch_ranges import Range, fetch_ranges
from ldtm_lib.sessions import FIRST_DAY, Calendar
from tests.integration.ledger_rows import LedgerRows

TODAY = date(2026, 11, 20)


class FetchRanges:
    """Sessions are told by how many come between them and today."""

    def __init__(self, conn: Connection, calendar: Calendar) -> None:
        self.conn, self.calendar = conn, calendar
        self.rows = LedgerRows(conn, calendar)

    def day(self, num_ago: int) -> date:
        return self.calendar.offset(TODAY, -num_ago)

    def stored(self, ticker: str, num_ago: Iterable[int]) -> None:
        for ago in num_ago:
            self.rows.bar(ticker, self.day(ago), 100)

    def of(self, *partitions: tuple[int, str], newest_closed: date = TODAY) -> dict[Range, list[str]]:
        asked = [(self.day(ago), ticker) for ago, ticker in partitions]
        return fetch_ranges(self.conn, asked, newest_closed=newest_closed, calendar=self.calendar)

    def between(self, first: int, last: int = 0) -> Range:
        return self.day(first), self.day(last)


@pytest.fixture
def ranges(conn: Connection, calendar: Calendar) -> FetchRanges:
    return FetchRanges(conn, calendar)


def test_tickers_that_lack_the_newest_bar_alone_are_one_range_with_five_stored_bars(ranges: FetchRanges) -> None:
    for ticker in ("AAPL", "MSFT"):
        ranges.stored(ticker, range(1, 60))
    assert ranges.of((0, "AAPL"), (0, "MSFT")) == {ranges.between(5): ["AAPL", "MSFT"]}
    assert ranges.of((2, "AAPL"), (0, "AAPL")) == {ranges.between(7): ["AAPL"]}
    assert ranges.of() == {}


def test_a_ticker_that_failed_for_weeks_is_asked_for_from_five_bars_before_its_newest_one(ranges: FetchRanges) -> None:
    ranges.stored("AAPL", range(1, 60))
    ranges.stored("IBM", range(100, 120))
    ranges.stored("MSFT", range(1, 60))
    assert ranges.of((0, "AAPL"), (0, "IBM"), (0, "MSFT")) == {
        ranges.between(5): ["AAPL", "MSFT"],
        ranges.between(104): ["IBM"],
    }


def test_bars_that_are_missing_shortly_before_are_asked_for_too(ranges: FetchRanges) -> None:
    ranges.stored("AAPL", [1, 2, *range(4, 10), *range(30, 60)])
    assert ranges.of((0, "AAPL")) == {ranges.between(34): ["AAPL"]}
    ranges.stored("IBM", [*range(1, 50), *range(55, 70)])
    assert ranges.of((0, "IBM")) == {ranges.between(5): ["IBM"]}, "a hole of long ago is left alone"


def test_a_bar_of_the_past_is_asked_for_with_all_that_is_stored_since_and_nothing_newer(ranges: FetchRanges) -> None:
    ranges.stored("AAPL", [*range(3, 20), *range(21, 40)])
    assert ranges.of((20, "AAPL")) == {ranges.between(25, 3): ["AAPL"]}
    assert ranges.of((20, "AAPL"), newest_closed=ranges.day(4)) == {ranges.between(25, 4): ["AAPL"]}


def test_a_ticker_with_too_few_stored_bars_is_asked_for_from_the_beginning(ranges: FetchRanges) -> None:
    ranges.stored("AAPL", range(1, 60))
    ranges.stored("FB", range(1, 5))
    ranges.stored("IBM", range(1, 6))
    assert ranges.of((0, "AAPL"), (0, "FB"), (0, "GOOG"), (0, "IBM")) == {
        ranges.between(5): ["AAPL", "IBM"],
        (FIRST_DAY, TODAY): ["FB", "GOOG"],
    }


def test_stragglers_share_one_range(ranges: FetchRanges) -> None:
    for ticker, newest in (("AAPL", 1), ("FB", 10), ("GOOG", 20), ("MSFT", 1)):
        ranges.stored(ticker, range(newest, 60))
    assert ranges.of(*((0, ticker) for ticker in ("AAPL", "FB", "GOOG", "MSFT"))) == {
        ranges.between(5): ["AAPL", "MSFT"],
        ranges.between(24): ["FB", "GOOG"],
    }


def test_stragglers_whose_ranges_together_are_the_usual_one_join_it(ranges: FetchRanges) -> None:
    for ticker, newest in (("AAPL", 6), ("FB", 6), ("GOOG", 1), ("MSFT", 6)):
        ranges.stored(ticker, range(newest, 60))
    usual = [(ago, ticker) for ticker in ("AAPL", "MSFT") for ago in range(6)]
    assert ranges.of(*usual, (5, "FB"), (0, "GOOG")) == {ranges.between(10): ["AAPL", "MSFT", "FB", "GOOG"]}
