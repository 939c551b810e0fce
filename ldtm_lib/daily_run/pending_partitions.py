"""Pending partitions: tickers of the newest sessions without a row, or whose attempts did not complete them."""

from dataclasses import dataclass
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from psycopg.rows import dict_row

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings

NEW_YORK = ZoneInfo("America/New_York")
DAILY_RUN_TIME = time(18, 15)
"""Start of a daily run in New York, on early closes too: the bars of a session are final by then."""

SEARCHED_SESSIONS = 30
"""Sessions back from the newest one that are searched for gaps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingPartition:
    """One session of one ticker that is not done yet."""

    session: date
    ticker: str
    starts_at: datetime
    """The start of the session's daily run."""
    deadline: datetime
    """The next open: a forecast that is on record before it is live."""
    lacks_row: bool
    """True if there is neither a forecast nor an abstention."""
    has_new_bar: bool
    """True if a bar of the session was recorded after the newest attempt, which did not complete it."""
    is_done: bool
    """True if the newest attempt completed it; the open part is an actual whose bar arrived later."""
    num_attempts: int
    last_attempt_at: datetime | None
    reason: str | None
    """Reason why the newest attempt was not enough; None if it did everything, while it runs, and if it was killed."""


def daily_run_start(session: date) -> datetime:
    """The start of the daily run of a session."""
    return datetime.combine(session, DAILY_RUN_TIME, NEW_YORK)


def pending_partitions(
    conn: Connection, settings: Settings, calendar: Calendar, moment: datetime
) -> list[PendingPartition]:
    """The pending partitions of the newest closed sessions, by session and ticker, with one statement.

    The search covers the last SEARCHED_SESSIONS sessions. For a ticker that has no row on an older session, as after a
    longer outage, it starts there, but never before the first partition. A ticker has no pending partitions before it
    enters service. A partition that has its row and only waits for its bar stays pending for
    `ledger.void_after_sessions`; later its actual is void.
    """
    newest = calendar.last_closed(moment)
    sessions = calendar.between(settings.partitions.first_session, settings.partitions.last_session or newest)
    sessions = [session for session in sessions if session <= newest]
    first = max(calendar.offset(newest, 1 - SEARCHED_SESSIONS), settings.partitions.first_session)
    if not sessions or sessions[-1] < first:
        return []
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            query("daily_run.pending_partitions"),
            {
                "tickers": list(settings.tickers),
                "removed_on": [settings.retired.get(ticker) for ticker in settings.tickers],
                "sessions": sessions,
                "first": next(session for session in sessions if session >= first),
                "newest": newest,
                "awaited_since": calendar.offset(newest, -settings.ledger.void_after_sessions),
            },
        ).fetchall()
    looked_at = {row["session"] for row in rows}
    starts = {session: daily_run_start(session) for session in looked_at}
    deadlines = {session: calendar.opens_at(calendar.offset(session, 1)) for session in looked_at}
    return [
        PendingPartition(starts_at=starts[row["session"]], deadline=deadlines[row["session"]], **row)  # pyright: ignore[reportUnknownArgumentType]
        for row in rows
    ]


def attempts_without_row(
    conn: Connection, settings: Settings, calendar: Calendar, moment: datetime
) -> dict[tuple[date, str], int]:
    """The number of attempts at each pending partition that has no row, by session and ticker."""
    found = pending_partitions(conn, settings, calendar, moment)
    return {(partition.session, partition.ticker): partition.num_attempts for partition in found if partition.lacks_row}
