"""A role that reads the record for the dashboard: it sees every table of LDTM and changes nothing."""

import os
from collections.abc import Iterator
from datetime import date

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.privileges import (
    create_reader,
    grant_reader_privileges,
    grant_writer_privileges,
    writing_privileges,
)
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.sessions import Calendar
from tests.integration.ledger_rows import LedgerRows

ROLE = f"ldtm_granted_{os.getpid()}"
ATTACKS = (
    "insert into bar values ('AAPL', '2013-01-02', now(), 1, 1, 1, 1, 1, 'x')",
    "insert into alert (key, kind, severity, subject, summary) values ('k', 'k', 'info', 's', 's')",
    "update snapshot set next_day_actual = 1",
    "delete from trading_session",
    "truncate snapshot cascade",
    "alter table snapshot disable trigger all",
    "create table ldtm.mine ()",
    "select grant_reader_privileges('postgres')",
    "select grant_storage_reading('ldtm_dagster', 'postgres')",
    "select grant_writer_privileges('postgres')",
    "set session_replication_role = replica",
)


@pytest.fixture
def reader(database: Database, conn: Connection) -> Iterator[Connection]:
    """A connection as a role that may only read."""
    create_reader(conn, ROLE)
    create_reader(conn, ROLE)
    grant_reader_privileges(conn, ROLE, dagster_schema="ldtm_dagster")
    conn.commit()
    with Database(url=make_conninfo(database.url, user=ROLE), schema="ldtm").connect() as own:
        yield own
    conn.rollback()
    conn.execute(sql.SQL("drop owned by {}").format(sql.Identifier(ROLE)))
    conn.execute(sql.SQL("drop role {}").format(sql.Identifier(ROLE)))
    conn.commit()


def test_the_role_reads_every_table_also_later_ones_and_changes_none(
    reader: Connection, conn: Connection, calendar: Calendar
) -> None:
    LedgerRows(conn, calendar).forecast("AAPL", date(2013, 1, 2))
    conn.execute("create table later (x int)")
    conn.commit()
    tables = conn.execute(
        "select relname from pg_class where relnamespace = 'ldtm'::regnamespace and relkind in ('r', 'v')"
    ).fetchall()
    for (table,) in tables:
        reader.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(table)))
    reader.rollback()
    for attack in ATTACKS:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute(attack.encode())
        reader.rollback()
    assert conn.execute("select count(*) from snapshot").fetchone() == (1,)


def test_of_the_storage_of_dagster_the_role_reads_states_and_no_logs(reader: Connection, conn: Connection) -> None:
    conn.execute("create schema ldtm_dagster")
    conn.execute("create table ldtm_dagster.runs (x int)")
    conn.execute("create table ldtm_dagster.event_logs (x int)")
    grant_reader_privileges(conn, ROLE, dagster_schema="ldtm_dagster")
    conn.commit()
    assert reader.execute("select count(*) from ldtm_dagster.runs").fetchone() == (0,)
    for attack in ("select * from ldtm_dagster.event_logs", "delete from ldtm_dagster.runs"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), reader.transaction():
            reader.execute(attack.encode())


def test_what_else_a_role_may_do_is_said_and_taken(reader: Connection, conn: Connection) -> None:
    assert (writing_privileges(reader), writing_privileges(conn)) == ([], ["is a superuser"])
    conn.execute(sql.SQL("grant insert on alert to {}").format(sql.Identifier(ROLE)))
    conn.execute(sql.SQL("grant create on schema ldtm to {}").format(sql.Identifier(ROLE)))
    conn.commit()
    assert writing_privileges(reader) == ["may write into alert", "may create objects in the schema"]
    grant_reader_privileges(conn, ROLE, dagster_schema="ldtm_dagster")
    conn.commit()
    assert writing_privileges(reader) == []


def test_a_superuser_a_writer_and_a_role_that_is_not_there_become_no_reader(conn: Connection) -> None:
    with pytest.raises(ConfigurationError, match="has no role nobody_here; create it first"):
        grant_reader_privileges(conn, "nobody_here", dagster_schema="ldtm_dagster")
    conn.rollback()
    with pytest.raises(ConfigurationError, match="role postgres is a superuser and cannot become a role that only"):
        grant_reader_privileges(conn, "postgres", dagster_schema="ldtm_dagster")
    conn.rollback()
    create_reader(conn, ROLE)
    grant_writer_privileges(conn, ROLE, dagster_schema="ldtm_dagster")
    with pytest.raises(ConfigurationError, match=f"role {ROLE} may write into snapshot and cannot become"):
        grant_reader_privileges(conn, ROLE, dagster_schema="ldtm_dagster")
    conn.rollback()
