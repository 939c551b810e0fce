"""Time as the database knows it: one clock for every process on every machine."""

from datetime import date, datetime

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.errors import CalendarError
from ldtm_lib.sessions import Calendar


def last_closed_session(conn: Connection) -> date:
    """The newest session that has closed by the database's clock."""
    row = conn.execute(query("database.last_closed_session")).fetchone()
    if row is None or row[0] is None:
        raise CalendarError("the database knows no session that has closed; apply the schema with `ldtm up`")
    return row[0]


def stored_calendar(conn: Connection) -> Calendar:
    """The calendar as the database knows it, without the package that `ldtm db migrate` takes it from."""
    sessions = conn.execute(query("database.sessions")).fetchall()
    if not sessions:
        raise CalendarError("the database knows no session; apply the schema with `ldtm up`")
    return Calendar.of_sessions(sessions)


def now(conn: Connection) -> datetime:
    """The database's clock, in UTC."""
    row = conn.execute(query("database.now")).fetchone()
    assert row is not None
    return row[0]
