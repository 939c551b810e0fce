"""What the newest sessions lack: tickers without a row, or whose evening was tried and is not whole."""

from dataclasses import dataclass
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from psycopg.rows import dict_row

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings

NEW_YORK = ZoneInfo("America/New_York")
EVENING = time(18, 15)
"""When an evening begins in New York, on early closes too: the bars of a session are final by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCell:
    """One session of one ticker of which something is to be made."""

    session: date
    ticker: str
    evening_at: datetime
    """From when its evening may be made."""
    deadline: datetime
    """The next open: a forecast that is on record before it is live."""
    lacks_row: bool
    """Whether there is neither a forecast nor an abstention."""
    has_begun: bool
    """Whether the ticker has a forecast of this or an earlier session that is none of a backfill."""
    bar_came: bool
    """Whether a bar of the session was recorded after the newest attempt, which was not enough."""
    is_done: bool
    """Whether the newest attempt did all of it; what is left is an actual whose bar came later."""
    num_attempts: int
    last_attempt_at: datetime | None
    reason: str | None
    """Why the newest attempt was not enough; None when it did all, while it runs, and when it was killed."""


def evening_of(session: date) -> datetime:
    """When the evening of a session begins."""
    return datetime.combine(session, EVENING, NEW_YORK)


def open_cells(conn: Connection, settings: Settings, calendar: Calendar, moment: datetime) -> list[OpenCell]:
    """All open cells of the newest sessions that have closed at a moment, by session and ticker, with one statement.

    It looks `automation.catch_up_sessions` back, and further for a ticker of which an older session has no row, from
    that session on, as after an outage that lasted longer; never further than there are partitions. A ticker is made
    up for from the first session on that was forecast, or tried, while it was the newest one, in time or late: an
    older partition that a person makes begins nothing. Before its beginning its newest session is open in any case,
    so that a new installation whose first run died is served until the next close. A cell that has its row and only
    waits for its bar is open until `ledger.void_after_sessions` have passed: later its actual is void.
    """
    newest = calendar.last_closed(moment)
    sessions = calendar.between(settings.partitions.first_session, settings.partitions.last_session or newest)
    sessions = [session for session in sessions if session <= newest]
    first = max(calendar.offset(newest, 1 - settings.automation.catch_up_sessions), settings.partitions.first_session)
    if not sessions or sessions[-1] < first:
        return []
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            query("daily_run.pending_partitions"),
            {
                "tickers": list(settings.tickers),
                "leaves_on": [settings.retired.get(ticker) for ticker in settings.tickers],
                "sessions": sessions,
                "first": next(session for session in sessions if session >= first),
                "newest": newest,
                "waited_for_since": calendar.offset(newest, -settings.ledger.void_after_sessions),
            },
        ).fetchall()
    looked_at = {row["session"] for row in rows}
    evenings = {session: evening_of(session) for session in looked_at}
    deadlines = {session: calendar.opens_at(calendar.offset(session, 1)) for session in looked_at}
    return [
        OpenCell(evening_at=evenings[row["session"]], deadline=deadlines[row["session"]], **row)  # pyright: ignore[reportUnknownArgumentType]
        for row in rows
    ]
