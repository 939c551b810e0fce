"""The connection of the dashboard: a role that only reads, and one read-only transaction for each view."""

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import IsolationLevel
from psycopg.conninfo import conninfo_to_dict

from ldtm_lib.database import embedded
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.privileges import create_reader, grant_reader_privileges, writing_privileges
from ldtm_lib.database.queries import query
from ldtm_lib.errors import ConfigurationError, DatabaseUnavailable
from ldtm_lib.project import DATABASE_VARIABLE, Project, checked_url, home_of, open_project
from ldtm_lib.settings import load_settings

READER_VARIABLE = "LDTM_READER_URL"
EMBEDDED_READER = "ldtm_reader"
"""The role that the embedded server gets for the dashboard."""
STATEMENT_TIMEOUT_MS = 20_000
"""No view takes seconds; a longer statement would hold back the vacuum of the tables that daily runs write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """An installation whose database is reached by the reader role."""

    project: Project

    @contextmanager
    def view(self) -> Generator[Connection]:
        """One read-only transaction that sees one state of the record.

        Raises DatabaseUnavailable if the server does not answer, if the connection breaks, or if the newest tables are
        missing.
        """
        with self.project.database.connect() as conn:
            conn.isolation_level = IsolationLevel.REPEATABLE_READ
            conn.read_only = True
            try:
                with conn.transaction():
                    conn.execute(query("dashboard.statement_timeout"), {"milliseconds": str(STATEMENT_TIMEOUT_MS)})
                    yield conn
            except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction) as error:
                raise DatabaseUnavailable(
                    f"schema {self.project.database.schema} lacks tables of this version; run `ldtm db migrate`"
                ) from error
            except psycopg.errors.InsufficientPrivilege as error:
                raise DatabaseUnavailable(
                    f"{conn.info.user} may not read schema {self.project.database.schema}; as its owner run "
                    f"`ldtm db grant --read-only {conn.info.user}`"
                ) from error
            except psycopg.errors.QueryCanceled as error:
                raise DatabaseUnavailable(
                    f"a query took longer than {STATEMENT_TIMEOUT_MS / 1000:g} s and was cancelled; try again"
                ) from error
            except psycopg.OperationalError as error:
                if not conn.closed and not conn.broken:
                    raise
                raise DatabaseUnavailable(
                    "the connection to PostgreSQL broke during a query; start PostgreSQL with `ldtm up`"
                ) from error


def open_reader(config: Path, environ: Mapping[str, str]) -> Reader:
    """The installation of a configuration, read by the role that LDTM_READER_URL names. Opens no connection.

    Raises ConfigurationError without that variable.
    """
    settings = load_settings(config)
    if not environ.get(READER_VARIABLE):
        raise ConfigurationError(
            f"{READER_VARIABLE} names no role for the dashboard; `ldtm dashboard` sets it for the embedded server"
        )
    database = Database(url=checked_url(environ[READER_VARIABLE]), schema=settings.database.ldtm_schema)
    return Reader(project=Project(settings=settings, home=home_of(settings), database=database))


def reader_url(config: Path, environ: Mapping[str, str]) -> str:
    """The URL with which the dashboard connects: LDTM_READER_URL, or that of a role that the embedded server gets.

    Raises ConfigurationError if the role may write, or if no reader is named for a server other than the embedded one.
    """
    settings = load_settings(config)
    named = environ.get(DATABASE_VARIABLE)
    if environ.get(READER_VARIABLE):
        url = checked_url(environ[READER_VARIABLE])
    elif named and not embedded.serves(home_of(settings), named):
        raise ConfigurationError(
            f"{READER_VARIABLE} is not set: the dashboard connects as a role that only reads. As an administrator: "
            "create role ldtm_reader login password '...'; as the owner of the tables: "
            "`ldtm db grant --read-only ldtm_reader`; then set "
            f"{READER_VARIABLE} to the same URL as {DATABASE_VARIABLE} with that role"
        )
    else:
        url = _embedded_reader(open_project(config, environ))
    with Database(url=url, schema=settings.database.ldtm_schema).transaction() as conn:
        if excess := writing_privileges(conn):
            raise ConfigurationError(
                f"the role of {READER_VARIABLE}, {conn.info.user}, {excess[0]}; name one that only reads "
                "(`ldtm db grant --read-only ROLE`)"
            )
    return url


def _embedded_reader(project: Project) -> str:
    """Create the reader of the embedded server, grant it what it reads, and return its URL."""
    assert embedded.serves(project.home, project.database.url)
    with project.database.transaction() as conn:
        create_reader(conn, EMBEDDED_READER)
        grant_reader_privileges(conn, EMBEDDED_READER, dagster_schema=project.settings.database.dagster_schema)
    user = str(conninfo_to_dict(project.database.url)["user"])
    return project.database.url.replace(f"//{user}:@", f"//{EMBEDDED_READER}:@", 1).replace(
        f"//{user}@", f"//{EMBEDDED_READER}@", 1
    )


def reading_environment(config: Path, url: str) -> dict[str, str]:
    """The environment of the dashboard's process: without the URL of the writer and the secrets of notifications."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LDTM_")}
    return {**kept, "LDTM_CONFIG": str(config.absolute()), READER_VARIABLE: url}
