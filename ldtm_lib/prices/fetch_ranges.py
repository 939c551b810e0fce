"""What to ask a source for so that some sessions of some tickers get their bars: a few ranges for all tickers.

A ticker's range begins with bars that are stored: by them a restatement, such as a split, is noticed. Where the newest
stored bar is weeks old, it begins there and not a few sessions before today, and where newer bars are stored than the
ones asked for, it reaches to the newest: a split is dated by the bars on both sides of it.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import date

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.statements import statement
from ldtm_lib.sessions import FIRST_DAY, Calendar

OVERLAP_BARS = 5
"""Stored bars before what is wanted that are fetched again."""
HOLES_SESSIONS = 40
"""How far before the first session asked for a missing bar is fetched along."""

Range = tuple[date, date]
"""First and last session, both included."""


def wanted_ranges(
    conn: Connection, cells: Iterable[tuple[date, str]], *, newest_closed: date, calendar: Calendar
) -> dict[Range, list[str]]:
    """The ranges that hold what some cells (session, ticker) want, with the tickers of each; one statement.

    There are three at most, as every range is a connection to some sources: the one that most tickers have in common,
    one for all stragglers, and the whole history for tickers with too few stored bars to overlap.
    """
    asked: dict[str, Range] = {}
    for session, ticker in cells:
        first, last = asked.get(ticker, (session, session))
        asked[ticker] = min(first, session), max(last, session)
    if not asked:
        return {}
    firsts = [first for first, _ in asked.values()]
    rows = conn.execute(
        statement("prices/wanted"),
        {
            "tickers": list(asked),
            "firsts": firsts,
            "lasts": [last for _, last in asked.values()],
            "recent": _sessions_before(min(firsts), calendar) + calendar.between(min(firsts), max(firsts)),
            "overlap": OVERLAP_BARS,
        },
    ).fetchall()
    wanted = {ticker: (first or FIRST_DAY, min(last, newest_closed)) for ticker, first, last in rows}
    whole = [ticker for ticker in asked if wanted[ticker][0] == FIRST_DAY]
    others = [ticker for ticker in asked if ticker not in whole]
    common = Counter(wanted[ticker] for ticker in others).most_common(1)
    usual = [ticker for ticker in others if wanted[ticker] == common[0][0]]
    stragglers = [ticker for ticker in others if ticker not in usual]
    ranges: dict[Range, list[str]] = {}
    for group in (usual, stragglers, whole):
        if group:
            ranges.setdefault(_around(wanted[ticker] for ticker in group), []).extend(group)
    return ranges


def _sessions_before(session: date, calendar: Calendar) -> list[date]:
    """The sessions of the calendar shortly before one."""
    return calendar.between(FIRST_DAY, session)[-HOLES_SESSIONS - 1 : -1]


def _around(ranges: Iterable[Range]) -> Range:
    firsts, lasts = zip(*ranges, strict=True)
    return min(firsts), max(lasts)
