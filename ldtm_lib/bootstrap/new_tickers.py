"""New tickers: those of the universe that no training of was ever judged, so that they are not in service."""

from dataclasses import dataclass
from datetime import datetime

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTicker:
    """One ticker that waits for its first verdict."""

    name: str
    has_history: bool
    """Whether there are bars from before the newest session, so that it can be trained."""


def new_tickers(conn: Connection, settings: Settings, calendar: Calendar, moment: datetime) -> list[NewTicker]:
    """The new tickers of the universe, in its order, with one statement."""
    newest = calendar.last_closed(moment)
    universe = settings.tickers_on(newest)
    rows = conn.execute(
        query("bootstrap.new_tickers"), {"tickers": list(universe), "before": calendar.offset(newest, -MIN_HISTORY)}
    )
    return [NewTicker(name=name, has_history=has_history) for name, has_history in rows]


MIN_HISTORY = 30
"""Sessions before the newest one: a ticker with no older bar has its history still to be loaded."""
