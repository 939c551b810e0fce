"""Close an evening with a seal, and read the seals there are."""

from psycopg.rows import class_row

from ldtm_lib.audit.seal import Seal
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query


def close(conn: Connection) -> int | None:
    """Seal every event since the last seal, worked out by the database; None where there is none.

    Returns the seal's number. What others are writing at this moment is waited for.
    """
    row = conn.execute(query("audit.close")).fetchone()
    return None if row is None else row[0]


def read(conn: Connection, *, first: int = 0) -> list[Seal]:
    """The seals from a number on, each with the leaves of its events: 32 bytes an event."""
    with conn.cursor(row_factory=class_row(Seal)) as cursor:
        return cursor.execute(query("audit.seals"), {"first": first}, binary=True).fetchall()
