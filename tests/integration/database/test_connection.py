"""Connections: one reading of the URL for both drivers, pinned settings, and messages when PostgreSQL is not there."""

from datetime import date
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg2.extensions import libpq_version
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from ldtm_cli.services import prepare
from ldtm_lib.database.connection import Database, address
from ldtm_lib.database.migrate import migrate
from ldtm_lib.errors import ConfigurationError, DatabaseUnavailable
from ldtm_lib.sessions import exchange_calendar
from tests.integration.database.pooler import pooler

NOBODY_LISTENS = "postgresql://me:top-secret@127.0.0.1:1/prices"


def test_a_server_that_does_not_answer_is_named_without_the_password() -> None:
    with pytest.raises(DatabaseUnavailable) as refused:
        Database(url=NOBODY_LISTENS, schema="ldtm").connect()
    assert "PostgreSQL at 127.0.0.1:1/prices does not answer" in str(refused.value)
    assert "ldtm up" in str(refused.value)
    assert "top-secret" not in str(refused.value)


def test_a_url_that_is_none_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="LDTM_DATABASE_URL is not a PostgreSQL URL"):
        Database(url="mysql://somewhere", schema="ldtm").connect()


def test_an_address_shows_no_user_and_no_password() -> None:
    assert address(NOBODY_LISTENS) == "127.0.0.1:1/prices"


def test_a_connection_lost_in_a_transaction_is_reported_and_nothing_is_kept(database: Database) -> None:
    def lose_the_connection() -> None:
        with database.transaction() as conn:
            conn.execute("insert into split values ('X', '2020-01-02', 2)")
            with psycopg.connect(database.url, autocommit=True) as other:
                other.execute("select pg_terminate_backend(%s)", [conn.info.backend_pid])
            conn.execute("select 1")

    with pytest.raises(DatabaseUnavailable, match="does not answer"):
        lose_the_connection()
    with database.transaction() as conn:
        assert conn.execute("select count(*) from split").fetchone() == (0,)


def test_other_errors_of_the_database_pass_as_they_are(database: Database) -> None:
    with pytest.raises(psycopg.errors.CheckViolation), database.transaction() as conn:
        conn.execute("insert into split values ('X', '2020-01-02', 1)")


def test_the_url_for_dagster_names_driver_and_schema() -> None:
    given = Database(url="postgresql://me:pw@db:5432/prices?sslmode=require", schema="dagster_part").sqlalchemy_url()
    assert given.startswith("postgresql+psycopg2://me:pw@db:5432/prices?")
    assert "&sslmode=require&" in given
    assert "-c%20search_path%3Ddagster_part%20" in given


def _through_both_drivers(database: Database, statement: str) -> set[object]:
    """What psycopg and Dagster's driver say to one statement."""
    engine = create_engine(database.sqlalchemy_url(), poolclass=NullPool)
    with database.connect() as conn, engine.connect() as dagster:
        row = conn.execute(statement.encode()).fetchone()
        assert row is not None
        return {row[0], dagster.execute(text(statement)).scalar_one()}


def _forms(url: str) -> list[str]:
    """The URL of a server on a socket in forms that libpq knows."""
    parts = conninfo_to_dict(url)
    folder, name = quote(str(parts["host"]), safe=""), parts["dbname"]
    return [
        f"postgresql:///{name}?host={folder}&user=postgres",
        f"postgres://postgres@{folder}/{name}",
        f"postgresql://?host={folder}&user=postgres&dbname={name}&connect_timeout=3",
        f"postgresql:///{name}?host={folder},/nowhere&port=5432,5433&user=postgres&password=p%2F%40%25",
    ]


@pytest.mark.parametrize("form", range(4))
def test_a_url_of_any_form_reaches_the_same_schema_by_both_drivers(database: Database, form: int) -> None:
    given = Database(url=_forms(database.url)[form], schema="ldtm")
    assert _through_both_drivers(given, "select current_schema()") == {"ldtm"}


def test_options_of_the_url_hold_beside_the_pinned_ones_for_both_drivers(database: Database) -> None:
    given = Database(url=f"{database.url}&options=-c%20statement_timeout%3D61000", schema="ldtm")
    assert _through_both_drivers(given, "show statement_timeout") == {"61s"}
    assert _through_both_drivers(given, "select current_schema()") == {"ldtm"}


def test_a_parameter_that_postgresql_does_not_know_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigurationError, match="has a parameter that PostgreSQL does not know") as refused:
        Database(url="postgresql://me:top-secret@db/prices?statement_timeout=60", schema="ldtm").connect()
    assert "top-secret" not in str(refused.value)


@pytest.fixture
def by_the_administrator(database: Database) -> Database:
    """A database whose administrator prefers other settings."""
    with psycopg.connect(database.url, autocommit=True) as admin:
        name = sql.Identifier(str(conninfo_to_dict(database.url)["dbname"]))
        for setting, value in {
            "bytea_output": "escape",
            "datestyle": "German, DMY",
            "default_transaction_isolation": "serializable",
            "default_transaction_read_only": "on",
            "extra_float_digits": "0",
            "intervalstyle": "iso_8601",
            "timezone": "Asia/Tokyo",
            "transform_null_equals": "on",
        }.items():
            admin.execute(sql.SQL("alter database {} set {} = {}").format(name, sql.Identifier(setting), value))
    return database


def test_settings_of_the_administrator_change_no_result(by_the_administrator: Database) -> None:
    with psycopg.connect(by_the_administrator.url) as plain:
        assert plain.execute("show datestyle").fetchone() == ("German, DMY",)
    for setting, value in by_the_administrator.pinned.items():
        assert _through_both_drivers(by_the_administrator, f"select current_setting('{setting}')") == {value}
    with by_the_administrator.transaction() as conn:
        conn.execute("insert into split values ('X', '2020-01-02', 0.1)")
        assert conn.execute("select session, ratio::text from split").fetchone() == (date(2020, 1, 2), "0.1")
        assert conn.execute("select (1.0 / 3)::float8::text, '02-03-04'::date").fetchone() == (
            "0.3333333333333333",
            date(2002, 3, 4),
        )
        assert conn.execute("show transaction_isolation").fetchone() == ("read committed",)


def test_a_pooler_that_drops_the_settings_is_refused_before_anything_is_written(empty_database: Database) -> None:
    parts = conninfo_to_dict(empty_database.url)
    with pooler(f"{parts['host']}/.s.PGSQL.{parts.get('port', 5432)}") as port:
        url = f"postgresql://postgres@127.0.0.1:{port}/{parts['dbname']}?sslmode=disable&gssencmode=disable"
        with pytest.raises(ConfigurationError, match="did not apply the settings of the connection") as refused:
            migrate(Database(url=url, schema="ldtm"), exchange_calendar())
    assert 'search_path is "$user", public, not ldtm' in str(refused.value)
    assert "A connection pooler in between drops the startup parameter `options`" in str(refused.value)
    with empty_database.connect() as conn:
        made = "select count(*) from pg_tables where schemaname in ('public', 'ldtm')"
        assert conn.execute(made).fetchone() == (0,)


@pytest.mark.skipif(libpq_version() >= 180000, reason="the libpq of psycopg2 knows the parameter")
def test_a_parameter_that_dagsters_driver_does_not_know_is_refused(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "universe.toml").write_text('tickers = ["AAPL"]\n')
    monkeypatch.setenv("LDTM_DATABASE_URL", f"{database.url}&min_protocol_version=3.0")
    with pytest.raises(ConfigurationError, match=r"psycopg2 cannot use: .*min_protocol_version.*; remove that"):
        prepare(tmp_path / "universe.toml")
