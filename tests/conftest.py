"""Fixtures of all tests: the calendar, real PostgreSQL databases, settings."""

import itertools
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster_postgres import DagsterPostgresStorage
from hypothesis import settings as hypothesis_settings
from psycopg.conninfo import make_conninfo
from sqlalchemy import event
from sqlalchemy.engine import Engine

from ldtm_lib.database import embedded
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.migrate import migrate
from ldtm_lib.sessions import Calendar, exchange_calendar
from ldtm_lib.settings import Settings
from tests.databases import create_database, do_not_wait_for_the_disk, drop_database, in_memory, server_home, url_of

hypothesis_settings.register_profile("ldtm", deadline=None, print_blob=True)
hypothesis_settings.load_profile("ldtm")

NUMBERS = itertools.count()
BEGUN: set[Path] = set()
"""Files of nightly tests whose first test has begun and does the work of the others."""


@event.listens_for(Engine, "connect")
def _do_not_wait_for_the_disk(connection: object, _record: object) -> None:
    """Dagster's SQLite files of a test survive the end of its processes, and no power cut."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("pragma synchronous = off")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the simulated weeks, which take as long as half of all that runs every night."""
    items.sort(key=lambda item: item.path.name != "test_simulation.py")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out the nightly tests that `.ci/run` could not end in time: 9 minutes, or those that the marker states.

    If the marker states them, they are those of the first test of a file, which does the work of the others.
    """
    end, marker = os.environ.get("LDTM_NIGHTLY_TESTS_END_AT"), item.get_closest_marker("nightly")
    if end is None or marker is None or item.path in BEGUN:
        return
    minutes = marker.kwargs.get("minutes")
    if time.time() + 60 * (minutes or 9) > float(end):
        pytest.skip(".ci/run has no time left for it; run make nightly")
    if minutes:
        BEGUN.add(item.path)


@pytest.fixture(scope="session")
def calendar() -> Calendar:
    return exchange_calendar()


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that an embedded PostgreSQL may live in."""
    with server_home() as folder:
        yield folder


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A PostgreSQL server of this test process; LDTM_TEST_DATABASE_URL names another one, such as an older version."""
    if given := os.environ.get("LDTM_TEST_DATABASE_URL"):
        yield given
        return
    with server_home(in_memory()) as home:
        url = embedded.start(home)
        do_not_wait_for_the_disk(url)
        yield url


@pytest.fixture(scope="session")
def template(server_url: str, calendar: Calendar) -> Iterator[str]:
    """The name of a migrated database that every test's own is copied from."""
    name = f"ldtm_template_{os.getpid()}"
    create_database(server_url, name, None)
    migrate(Database(url=make_conninfo(server_url, dbname=name), schema="ldtm"), calendar)
    yield name
    drop_database(server_url, name)


@pytest.fixture(scope="session")
def template_with_dagster(server_url: str, template: str) -> Iterator[str]:
    """The name of such a database that has the tables of Dagster's storage as well."""
    name = f"ldtm_dagster_template_{os.getpid()}"
    create_database(server_url, name, template)
    storage = Database(url=url_of(server_url, name), schema="ldtm_dagster")
    with storage.connect() as conn:
        conn.execute("create schema ldtm_dagster")
        conn.commit()
    DagsterPostgresStorage(storage.sqlalchemy_url())
    yield name
    drop_database(server_url, name)


@pytest.fixture
def empty_database(server_url: str) -> Iterator[Database]:
    """A database without any schema."""
    name = f"ldtm_test_{os.getpid()}_{next(NUMBERS)}"
    create_database(server_url, name, None)
    yield Database(url=url_of(server_url, name), schema="ldtm")
    drop_database(server_url, name)


@pytest.fixture(scope="session")
def copied_template(template: str) -> str:
    """The template of the tests' databases. Tests of Dagster take the other one."""
    return template


@pytest.fixture
def database(server_url: str, copied_template: str) -> Iterator[Database]:
    """A migrated database of the test's own, empty but for the calendar."""
    name = f"ldtm_test_{os.getpid()}_{next(NUMBERS)}"
    create_database(server_url, name, copied_template)
    yield Database(url=url_of(server_url, name), schema="ldtm")
    drop_database(server_url, name)


@pytest.fixture
def conn(database: Database) -> Iterator[Connection]:
    """One open connection to the test's database; what it does is committed when the test says so."""
    with database.connect() as connection:
        yield connection


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The five tickers of the sample with the default numbers."""
    return Settings(path=tmp_path / "universe.toml", tickers=("AAPL", "FB", "GOOG", "IBM", "MSFT"))
