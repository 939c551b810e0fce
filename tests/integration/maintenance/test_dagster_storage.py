"""One installation a Dagster storage: a second one is refused before anything of it runs."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from ldtm_assets.dagster_tables import TABLES, create_dagster_tables
from ldtm_cli.services import prepare
from ldtm_lib.database.connection import Database
from ldtm_lib.database.privileges import grant_writer_privileges
from ldtm_lib.errors import ConfigurationError

ROLE = f"ldtm_second_{os.getpid()}"


def installation(folder: Path, *lines: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "universe.toml").write_text("\n".join(['tickers = ["AAPL"]', "[database]", *lines]))
    return folder / "universe.toml"


@pytest.fixture
def first(tmp_path: Path, empty_database: Database, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration of an installation that was prepared in a database."""
    monkeypatch.setenv("LDTM_DATABASE_URL", empty_database.url)
    config = installation(tmp_path / "first")
    prepare(config)
    return config


@pytest.fixture
def writer(empty_database: Database) -> Iterator[str]:
    """The name of a role that can log in."""
    with psycopg.connect(empty_database.url, autocommit=True) as admin:
        admin.execute(sql.SQL("create role {} login password 'secret'").format(sql.Identifier(ROLE)))
        yield ROLE
        admin.execute(sql.SQL("drop owned by {}; drop role {}").format(sql.Identifier(ROLE), sql.Identifier(ROLE)))


def owner(database: Database, schema: str = "ldtm_dagster") -> str:
    with database.with_schema(schema).transaction() as conn:
        row = conn.execute("select schema from ldtm_owner").fetchone()
    assert row is not None
    return row[0]


def test_a_second_installation_with_a_schema_of_its_own_is_refused_dagsters(
    first: Path, tmp_path: Path, empty_database: Database
) -> None:
    prepare(first)
    second = installation(tmp_path / "second", 'ldtm_schema = "second"')
    with pytest.raises(ConfigurationError) as refused:
        prepare(second)
    assert str(refused.value) == (
        "schema ldtm_dagster holds the Dagster storage of the installation in schema ldtm, not of this one in second; "
        "two on one storage would start each other's runs. Name another schema under [database], such as "
        'dagster_schema = "second_dagster"'
    )
    prepare(installation(tmp_path / "second", 'ldtm_schema = "second"', 'dagster_schema = "second_dagster"'))
    assert (owner(empty_database), owner(empty_database, "second_dagster")) == ("ldtm", "second")


def test_an_installation_from_before_there_were_owners_becomes_one(first: Path, empty_database: Database) -> None:
    with empty_database.with_schema("ldtm_dagster").transaction() as conn:
        conn.execute("drop table ldtm_owner; create table runs (x int)")
    prepare(first)
    assert owner(empty_database) == "ldtm"


def test_an_owner_whose_schema_was_renamed_owns_it_under_the_new_name(
    first: Path, tmp_path: Path, empty_database: Database
) -> None:
    with empty_database.transaction() as conn:
        conn.execute("alter schema ldtm rename to prices_of_ours")
    prepare(installation(tmp_path / "first", 'ldtm_schema = "prices_of_ours"'))
    assert owner(empty_database) == "prices_of_ours"
    with pytest.raises(ConfigurationError, match="installation in schema prices_of_ours, not of this one in ldtm"):
        prepare(installation(tmp_path / "third"))


def test_a_role_that_may_only_add_is_reported_the_same_and_needs_no_right_to_put_itself_on_record(
    first: Path, tmp_path: Path, empty_database: Database, writer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(installation(tmp_path / "second", 'ldtm_schema = "second"', 'dagster_schema = "second_dagster"'))
    _allow(empty_database, "second", writer)
    _allow(empty_database, "ldtm", writer)
    monkeypatch.setenv("LDTM_DATABASE_URL", url_of(empty_database, writer))
    prepare(first)
    with pytest.raises(ConfigurationError, match=re.escape("installation in schema ldtm, not of this one in second")):
        prepare(installation(tmp_path / "second", 'ldtm_schema = "second"'))
    with empty_database.with_schema("ldtm_dagster").transaction() as conn:
        conn.execute("drop table ldtm_owner")
        conn.execute(sql.SQL("revoke create on schema ldtm_dagster from {}").format(sql.Identifier(writer)))
    prepare(first)


def url_of(database: Database, role: str) -> str:
    host = conninfo_to_dict(database.url)
    at = f"?host={host['host']}" if str(host["host"]).startswith("/") else ""
    server = "" if at else f"{host['host']}:{host.get('port', 5432)}"
    return f"postgresql://{role}:secret@{server}/{host['dbname']}{at}"


def _allow(database: Database, schema: str, role: str) -> None:
    with database.with_schema(schema).transaction() as conn:
        grant_writer_privileges(conn, role, dagster_schema=f"{schema}_dagster")


def test_an_interrupted_creation_of_dagsters_tables_is_started_over_and_runs_are_kept(first: Path) -> None:
    """As Ctrl-C in the first command leaves them: some tables exist, and Dagster would create no others."""
    project, _ = prepare(first)
    create_dagster_tables(project)
    with project.dagster_database.transaction() as conn:
        conn.execute("drop table concurrency_slots, concurrency_limits, job_ticks")
    create_dagster_tables(project)
    with project.dagster_database.transaction() as conn:
        found = {name for (name,) in conn.execute("select tablename from pg_tables where schemaname = 'ldtm_dagster'")}
        assert found >= {*TABLES, "alembic_version"}
        assert owner(project.database) == "ldtm"
        conn.execute("insert into runs (run_id, status) values ('one', 'SUCCESS')")
        conn.execute("drop table concurrency_slots")
    create_dagster_tables(project)
    with project.dagster_database.transaction() as conn:
        assert conn.execute("select run_id from runs").fetchall() == [("one",)]
