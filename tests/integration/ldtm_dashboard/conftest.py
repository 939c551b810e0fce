"""A record that the dashboard reads by the role that it has in operation."""

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from ldtm_dashboard.reading import READER_VARIABLE, Reader, open_reader
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.privileges import create_reader, grant_reader_privileges
from ldtm_lib.sessions import Calendar
from tests.databases import create_database, drop_database, url_of
from tests.large_record import write_large_record

ROLE = f"ldtm_reader_{os.getpid()}"


@pytest.fixture(scope="session")
def reader_role(server_url: str) -> Iterator[str]:
    """A role of the server, which every database of a test grants its rights."""
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(ROLE)))
        admin.execute(sql.SQL("create role {} login").format(sql.Identifier(ROLE)))
    yield ROLE
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(sql.SQL("drop role {}").format(sql.Identifier(ROLE)))


def reader_of(database: Database, role: str, folder: Path, tickers: tuple[str, ...], sections: str = "") -> Reader:
    """The dashboard's view of a database, with a configuration in a folder."""
    with database.transaction() as conn:
        create_reader(conn, role)
        grant_reader_privileges(conn, role, dagster_schema="ldtm_dagster")
    config = folder / "universe.toml"
    names = ", ".join(f'"{ticker}"' for ticker in tickers)
    config.write_text(f"tickers = [{names}]\n{sections}")
    user = conninfo_to_dict(database.url)["user"]
    return open_reader(config, {READER_VARIABLE: database.url.replace(f"//{user}@", f"//{role}@", 1)})


@pytest.fixture
def reader(database: Database, reader_role: str, tmp_path: Path) -> Reader:
    """The dashboard's view of the test's own database."""
    return reader_of(database, reader_role, tmp_path, ("AAPL", "MSFT"))


@pytest.fixture(scope="session")
def newest_session(calendar: Calendar) -> date:
    return calendar.last_closed(datetime.now(UTC))


@pytest.fixture(scope="session")
def written(
    server_url: str, template: str, calendar: Calendar, newest_session: date, reader_role: str
) -> Iterator[Database]:
    """A database with 20 tickers over 300 sessions, which no test changes."""
    del reader_role  # dropped after the database that grants it rights
    name = f"ldtm_dashboard_{os.getpid()}"
    create_database(server_url, name, template)
    database = Database(url=url_of(server_url, name), schema="ldtm")
    with database.connect() as conn:
        write_large_record(conn, calendar, newest_session, num_tickers=20, num_sessions=300)
    yield database
    drop_database(server_url, name)


@pytest.fixture
def large(written: Database, reader_role: str, tmp_path: Path) -> Reader:
    """The dashboard's view of that database; T004 left."""
    tickers = tuple(f"T{number:03d}" for number in range(20))
    return reader_of(written, reader_role, tmp_path, tickers, "[retired]\nT004 = 2026-01-02\n")


@pytest.fixture
def large_conn(large: Reader) -> Iterator[Connection]:
    with large.view() as conn:
        yield conn
