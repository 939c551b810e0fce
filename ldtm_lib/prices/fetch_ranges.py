"""Fetch ranges: the date ranges to fetch from a source so that given partitions get their bars.

A ticker's range begins with bars that are already stored, so that a restatement such as a split is detected. If the
newest stored bar is weeks old, the range begins there and not a few sessions before today; if newer bars are stored
than the requested ones, it extends to the newest: a split is dated by the bars before and after it.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import date

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.sessions import FIRST_DAY, Calendar

OVERLAP_BARS = 5
"""Stored bars before the requested ones that are fetched again."""
HOLES_SESSIONS = 40
"""A missing bar is fetched too if it is at most this many sessions before the first requested session."""

Range = tuple[date, date]
"""First and last session, both included."""


def fetch_ranges(
    conn: Connection, partitions: Iterable[tuple[date, str]], *, newest_closed: date, calendar: Calendar
) -> dict[Range, list[str]]:
    """The ranges that cover some partitions (session, ticker), with the tickers of each; one statement.

    There are at most three, because some sources open a connection per range: the range that most tickers share, one
    for all other tickers, and the whole history for tickers with too few stored bars to overlap.
    """
    requested: dict[str, Range] = {}
    for session, ticker in partitions:
        first, last = requested.get(ticker, (session, session))
        requested[ticker] = min(first, session), max(last, session)
    if not requested:
        return {}
    firsts = [first for first, _ in requested.values()]
    rows = conn.execute(
        query("prices.fetch_ranges"),
        {
            "tickers": list(requested),
            "firsts": firsts,
            "lasts": [last for _, last in requested.values()],
            "recent": _sessions_before(min(firsts), calendar) + calendar.between(min(firsts), max(firsts)),
            "overlap": OVERLAP_BARS,
        },
    ).fetchall()
    range_of = {ticker: (first or FIRST_DAY, min(last, newest_closed)) for ticker, first, last in rows}
    whole_history = [ticker for ticker in requested if range_of[ticker][0] == FIRST_DAY]
    with_history = [ticker for ticker in requested if ticker not in whole_history]
    common = Counter(range_of[ticker] for ticker in with_history).most_common(1)
    common_range = [ticker for ticker in with_history if range_of[ticker] == common[0][0]]
    others = [ticker for ticker in with_history if ticker not in common_range]
    ranges: dict[Range, list[str]] = {}
    for group in (common_range, others, whole_history):
        if group:
            ranges.setdefault(_around(range_of[ticker] for ticker in group), []).extend(group)
    return ranges


def _sessions_before(session: date, calendar: Calendar) -> list[date]:
    """The last sessions of the calendar before one."""
    return calendar.between(FIRST_DAY, session)[-HOLES_SESSIONS - 1 : -1]


def _around(ranges: Iterable[Range]) -> Range:
    firsts, lasts = zip(*ranges, strict=True)
    return min(firsts), max(lasts)
