"""Service: the session from which on a ticker has a row for every session, and the tickers not yet in service."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings

MIN_HISTORY_SESSIONS = 30
"""A new ticker whose bars do not reach back this many sessions still needs its history loaded."""


def first_sessions(conn: Connection, tickers: Iterable[str]) -> dict[str, date]:
    """The first session in service of each ticker; tickers without a verdict on a training are absent."""
    return dict(conn.execute(query("ledger.service_entries"), {"tickers": list(tickers)}).fetchall())


def is_in_service(first_sessions: Mapping[str, date], ticker: str, session: date) -> bool:
    """Return whether a ticker is in service on a session."""
    return ticker in first_sessions and first_sessions[ticker] <= session


def not_in_service(conn: Connection, tickers: Iterable[str], session: date) -> list[str]:
    """The given tickers that are not in service on a session, in their order."""
    listed = list(tickers)
    entered = first_sessions(conn, listed)
    return [ticker for ticker in listed if not is_in_service(entered, ticker, session)]


def without_row(
    tickers: Iterable[str],
    session: date,
    first_sessions: Mapping[str, date],
    *,
    calendar: Calendar,
    moment: datetime,
) -> list[str]:
    """The tickers that get no row of a session from a run at `moment`: those not in service on the session.

    Once a row of the session can only be late, tickers that entered service after the session get one as well.
    """
    may_be_live = moment < calendar.opens_at(calendar.offset(session, 1))
    return [
        ticker
        for ticker in tickers
        if not is_in_service(first_sessions, ticker, session) and (may_be_live or ticker not in first_sessions)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTicker:
    """A ticker of the universe without a verdict on a training, which is therefore not in service."""

    name: str
    has_history: bool
    """True if its bars reach back MIN_HISTORY_SESSIONS, so that it can be trained."""


def new_tickers(conn: Connection, settings: Settings, calendar: Calendar, moment: datetime) -> list[NewTicker]:
    """The new tickers of the universe, in its order, read with one statement."""
    newest = calendar.last_closed(moment)
    asked = {
        "tickers": list(settings.tickers_on(newest)),
        "before": calendar.offset(newest, -MIN_HISTORY_SESSIONS),
    }
    rows = conn.execute(query("ledger.new_tickers"), asked)
    return [NewTicker(name=name, has_history=has_history) for name, has_history in rows]
