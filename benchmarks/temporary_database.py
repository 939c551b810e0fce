"""A database for one benchmark: that of LDTM_TEST_DATABASE_URL, or an embedded one in a temporary folder."""

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
    """A database with all tables, and a folder; both are gone afterwards, on a given server the schema."""
    with tempfile.TemporaryDirectory() as home:
        given = os.environ.get("LDTM_TEST_DATABASE_URL")
        os.chmod(home, 0o755)
        database = Database(url=given or embedded.start(Path(home)), schema=schema)
        try:
            migrate(database, calendar)
            yield database, Path(home)
        finally:
            if given:
                with database.connect() as conn:
                    conn.execute(f"drop schema {schema} cascade")  # type: ignore[arg-type]
            else:
                embedded.stop(Path(home))
