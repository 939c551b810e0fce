"""The database of one benchmark: on the server of LDTM_TEST_DATABASE_URL, or embedded in a temporary folder."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ldtm_lib.database import embedded
from ldtm_lib.database.connection import Database
from ldtm_lib.database.migrate import migrate
from ldtm_lib.sessions import Calendar


@contextmanager
def temporary_database(schema: str, calendar: Calendar) -> Iterator[tuple[Database, Path]]:
    """Yield a database with all tables, and a folder; both are removed at the end, on a given server the schema."""
    with tempfile.TemporaryDirectory() as home:
        os.chmod(home, 0o755)
        try:
            yield start_database(Path(home), schema, calendar), Path(home)
        finally:
            remove_database(Path(home), schema)


def start_database(home: Path, schema: str, calendar: Calendar) -> Database:
    """Start a database with all tables; the user of an embedded server must be able to read the folder."""
    given = os.environ.get("LDTM_TEST_DATABASE_URL")
    database = Database(url=given or embedded.start(home), schema=schema)
    migrate(database, calendar)
    return database


def remove_database(home: Path, schema: str) -> None:
    """Stop the embedded server of a folder if one runs there, or remove the schema from a given server."""
    given = os.environ.get("LDTM_TEST_DATABASE_URL")
    if not given:
        embedded.stop(home)
        return
    with Database(url=given, schema=schema).connect() as conn:
        conn.execute(f"drop schema if exists {schema} cascade")  # type: ignore[arg-type]
