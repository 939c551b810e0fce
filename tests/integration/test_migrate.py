"""The schema comes about forward only, once, and nobody edits what was applied."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from ldtm_lib.database.connection import Database
from ldtm_lib.database.migrate import SCHEMA_FOLDER, migrate, pending_migrations
from ldtm_lib.errors import MigrationError
from ldtm_lib.sessions import Calendar


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copy = tmp_path / "schema"
    shutil.copytree(SCHEMA_FOLDER, copy)
    return copy


def test_every_step_is_applied_once(empty_database: Database, calendar: Calendar) -> None:
    names = [path.name for path in sorted(SCHEMA_FOLDER.glob("*.sql"))]
    assert pending_migrations(empty_database) == names
    assert migrate(empty_database, calendar) == names
    assert migrate(empty_database, calendar) == []
    assert pending_migrations(empty_database) == []


def test_the_database_knows_the_calendar(database: Database, calendar: Calendar) -> None:
    with database.transaction() as conn:
        rows = conn.execute("select session, opens_at, closes_at from trading_session order by session").fetchall()
    assert rows == calendar.schedule()


def test_two_at_once_apply_it_once(empty_database: Database, calendar: Calendar) -> None:
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(lambda _: migrate(empty_database, calendar), range(4)))
    assert sorted(len(names) for names in applied)[:3] == [0, 0, 0]
    assert max(len(names) for names in applied) == len(list(SCHEMA_FOLDER.glob("*.sql")))


def test_an_edited_file_is_refused(empty_database: Database, calendar: Calendar, folder: Path) -> None:
    migrate(empty_database, calendar, folder)
    edited = folder / "0002_prices.sql"
    edited.write_text(edited.read_text() + "\n-- a word more\n")
    with pytest.raises(MigrationError, match=r"0002_prices\.sql was edited after it was applied.*restore it"):
        migrate(empty_database, calendar, folder)


def test_a_database_ahead_of_the_code_is_refused(empty_database: Database, calendar: Calendar, folder: Path) -> None:
    (folder / "9999_later.sql").write_text("create table later (x int);")
    migrate(empty_database, calendar, folder)
    with pytest.raises(MigrationError, match=r"9999_later\.sql applied, which this version .* update the code"):
        migrate(empty_database, calendar)


def test_a_new_file_before_an_applied_one_is_refused(
    empty_database: Database, calendar: Calendar, folder: Path
) -> None:
    migrate(empty_database, calendar, folder)
    (folder / "0001_zebra.sql").write_text("create table zebra (x int);")
    with pytest.raises(MigrationError, match=r"0001_zebra\.sql is new but comes before .* higher number"):
        migrate(empty_database, calendar, folder)


def test_a_broken_step_leaves_nothing_behind(empty_database: Database, calendar: Calendar, folder: Path) -> None:
    (folder / "9999_broken.sql").write_text("create table half (x int); select 1/0;")
    with pytest.raises(MigrationError, match=r"9999_broken\.sql cannot be applied: division by zero"):
        migrate(empty_database, calendar, folder)
    with psycopg.connect(empty_database.url) as conn:
        tables = conn.execute("select count(*) from information_schema.tables where table_schema = 'ldtm'").fetchone()
    assert tables == (0,)


def test_two_schemas_of_one_database_do_not_meet(database: Database, calendar: Calendar) -> None:
    other = database.with_schema("ldtm_demo")
    migrate(other, calendar)
    with other.transaction() as conn:
        conn.execute("insert into split values ('X', '2020-01-02', 2)")
    with database.transaction() as conn:
        assert conn.execute("select count(*) from split").fetchone() == (0,)
