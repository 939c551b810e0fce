"""The connection of the dashboard: read only, one transaction a view, without the secrets of the writer."""

from datetime import date
from pathlib import Path

import psycopg
import pytest

from ldtm_dashboard.frames.tables import newest_event
from ldtm_dashboard.reading import READER_VARIABLE, Reader, open_reader, reader_url, reading_environment
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.errors import ConfigurationError, DatabaseUnavailable
from ldtm_lib.sessions import Calendar
from tests.integration.ledger_rows import LedgerRows


def test_a_view_is_one_state_of_the_record(reader: Reader, conn: Connection, calendar: Calendar) -> None:
    with reader.view() as read:
        assert newest_event(read) == -1
        LedgerRows(conn, calendar).forecast("AAPL", date(2013, 1, 2))
        conn.commit()
        assert newest_event(read) == -1
    with reader.view() as read:
        assert newest_event(read) == 1, "the simulation and its forecast"


def test_a_view_writes_nothing_even_by_the_owner(reader: Reader, database: Database) -> None:
    added = b"insert into alert (key, kind, severity, subject, summary) values ('k', 'k', 'info', 's', 's')"
    with reader.view() as read, pytest.raises(psycopg.errors.ReadOnlySqlTransaction), read.transaction():
        read.execute(added)
    as_owner = open_reader(reader.project.settings.path, {READER_VARIABLE: database.url})
    with as_owner.view() as read, pytest.raises(psycopg.errors.ReadOnlySqlTransaction), read.transaction():
        read.execute("delete from alert")


def test_a_role_that_may_write_is_refused(reader: Reader, database: Database) -> None:
    config = reader.project.settings.path
    assert reader_url(config, {READER_VARIABLE: reader.project.database.url}) == reader.project.database.url
    with pytest.raises(ConfigurationError, match=r"postgres, is a superuser; name one that only reads"):
        reader_url(config, {READER_VARIABLE: database.url})


def test_a_server_of_ones_own_without_a_reader_says_how_to_make_one(reader: Reader, database: Database) -> None:
    with pytest.raises(
        ConfigurationError, match=r"LDTM_READER_URL is not set: .*`ldtm db grant --read-only ldtm_reader`"
    ):
        reader_url(reader.project.settings.path, {"LDTM_DATABASE_URL": database.url})
    with pytest.raises(ConfigurationError, match="LDTM_READER_URL names no role for the dashboard"):
        open_reader(reader.project.settings.path, {})


def test_what_is_away_or_not_granted_is_said_with_the_remedy(reader: Reader, empty_database: Database) -> None:
    config = reader.project.settings.path
    away = open_reader(config, {READER_VARIABLE: "postgresql://nobody@127.0.0.1:1/none"})
    with pytest.raises(DatabaseUnavailable, match=r"does not answer .*`ldtm up`"), away.view():
        pass
    empty = open_reader(config, {READER_VARIABLE: empty_database.url})
    lacking = pytest.raises(
        DatabaseUnavailable, match="schema ldtm lacks tables of this version; run `ldtm db migrate`"
    )
    with lacking, empty.view() as conn:
        newest_event(conn)


def test_a_server_that_goes_away_within_a_view_is_said(reader: Reader, conn: Connection) -> None:
    gone = pytest.raises(DatabaseUnavailable, match="the connection to PostgreSQL broke during a query")
    with gone, reader.view() as read:
        conn.execute("select pg_terminate_backend(%s)", (read.info.backend_pid,))
        newest_event(read)


def test_the_process_knows_no_writer_and_no_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LDTM_DATABASE_URL", "postgresql://writer:secret@host/ldtm")
    monkeypatch.setenv("LDTM_ALERT_URLS", "mailto://secret")
    found = reading_environment(tmp_path / "universe.toml", "postgresql://reader@host/ldtm")
    ours = {name: value for name, value in found.items() if name.startswith("LDTM_")}
    assert ours == {
        "LDTM_CONFIG": str(tmp_path / "universe.toml"),
        "LDTM_READER_URL": "postgresql://reader@host/ldtm",
    }
