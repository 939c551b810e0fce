"""The schema comes about forward only, once, and nobody edits what was applied."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.migrate import MIGRATIONS_FOLDER, extend_calendar, migrate, pending_migrations
from ldtm_lib.database.privileges import grant_writer_privileges, missing_privileges
from ldtm_lib.errors import MigrationError
from ldtm_lib.features.windows import windows_of
from ldtm_lib.registry.retention import prune
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import RegistryConfig, Settings, TrainingConfig
from tests.integration.ledger_rows import LedgerRows
from tests.integration.registry.registry_fixtures import GOOD, SMALL, Registry, walk

BEFORE_FIRST_RELEASE = Path(__file__).with_name("before_first_release.sql")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copy = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS_FOLDER, copy)
    return copy


def test_every_step_is_applied_once(empty_database: Database, calendar: Calendar) -> None:
    names = [path.name for path in sorted(MIGRATIONS_FOLDER.glob("*.sql"))]
    assert pending_migrations(empty_database) == names
    assert migrate(empty_database, calendar) == names
    assert migrate(empty_database, calendar) == []
    assert pending_migrations(empty_database) == []


def test_the_database_knows_the_calendar(database: Database, calendar: Calendar) -> None:
    with database.transaction() as conn:
        rows = conn.execute("select session, opens_at, closes_at from trading_session order by session").fetchall()
    assert rows == calendar.schedule()


class Announced(Calendar):
    """The calendar with some sessions called off or at other hours."""

    def __init__(
        self, *, without: tuple[date, ...] = (), closing: Callable[[date, datetime], datetime] = lambda _, at: at
    ) -> None:
        super().__init__()
        self._without, self._closing = without, closing

    def schedule(self) -> list[tuple[date, datetime, datetime]]:
        return [(d, o, self._closing(d, c)) for d, o, c in super().schedule() if d not in self._without]


def _sessions(conn: Connection) -> dict[date, tuple[datetime, datetime]]:
    rows = conn.execute("select session, opens_at, closes_at from trading_session").fetchall()
    return {session: (opens_at, closes_at) for session, opens_at, closes_at in rows}


def test_a_session_ahead_that_was_called_off_goes_and_one_that_has_opened_stays(
    conn: Connection, calendar: Calendar
) -> None:
    newest = calendar.last_closed(datetime.now(UTC))
    ahead, last = calendar.offset(newest, 3), calendar.days[-1].item()
    before = _sessions(conn)
    extend_calendar(conn, Announced(without=(newest, ahead, last)))
    assert before.keys() - _sessions(conn).keys() == {ahead}, (
        "what lies beyond a calendar's end is not called off by it"
    )
    extend_calendar(conn, calendar)
    assert _sessions(conn) == before


def test_a_session_that_a_forecast_targets_is_not_removed(conn: Connection, calendar: Calendar, ledger_rows) -> None:
    newest = calendar.last_closed(datetime.now(UTC))
    ledger_rows.forecast("AAPL", newest)
    targets = calendar.targets(newest).as_tuple()
    unspoken = next(day for n in range(2, 9) if (day := calendar.offset(newest, n)) not in targets)
    before = _sessions(conn)
    extend_calendar(conn, Announced(without=(*targets, unspoken)))
    assert before.keys() - _sessions(conn).keys() == {unspoken}


def test_an_early_close_is_taken_over_for_sessions_ahead_only(conn: Connection, calendar: Calendar) -> None:
    newest = calendar.last_closed(datetime.now(UTC))
    ahead = calendar.offset(newest, 3)
    before = _sessions(conn)
    early = Announced(closing=lambda day, at: at - timedelta(hours=1) if day in (newest, ahead) else at)
    extend_calendar(conn, early)
    opens_at, closes_at = before[ahead]
    assert _sessions(conn) == {**before, ahead: (opens_at, closes_at - timedelta(hours=1))}


def test_two_at_once_apply_it_once(empty_database: Database, calendar: Calendar) -> None:
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(lambda _: migrate(empty_database, calendar), range(4)))
    assert sorted(len(names) for names in applied)[:3] == [0, 0, 0]
    assert max(len(names) for names in applied) == len(list(MIGRATIONS_FOLDER.glob("*.sql")))


def test_an_edited_file_is_refused(empty_database: Database, calendar: Calendar, folder: Path) -> None:
    migrate(empty_database, calendar, folder)
    edited = folder / "0002_models_and_registry.sql"
    edited.write_text(edited.read_text() + "\n-- a word more\n")
    with pytest.raises(
        MigrationError, match=r"0002_models_and_registry\.sql was edited after it was applied.*restore it"
    ):
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


def test_a_schema_from_before_the_first_release_is_refused(empty_database: Database, calendar: Calendar) -> None:
    with empty_database.transaction() as conn:
        conn.execute("create schema ldtm")
        conn.execute(BEFORE_FIRST_RELEASE.read_bytes())
    refusal = (
        r"^schema ldtm is from before the first release of LDTM and cannot be upgraded: it has 0001_sessions\.sql "
        r"applied, where this version begins with 0001_sessions_and_prices\.sql\. Start with an empty one: "
        r"set schema and dagster_schema under \[database\] .* LDTM_DATABASE_URL .* `ldtm down`"
    )
    with pytest.raises(MigrationError, match=refusal):
        migrate(empty_database, calendar)
    with pytest.raises(MigrationError, match=refusal):
        pending_migrations(empty_database)
    other = empty_database.with_schema("ldtm_anew")
    assert migrate(other, calendar) == [path.name for path in sorted(MIGRATIONS_FOLDER.glob("*.sql"))]


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


@pytest.fixture
def roles(empty_database: Database) -> Iterator[tuple[str, str]]:
    """Two roles: one for LDTM to run as, one that only reads."""
    names = (f"ldtm_runs_{os.getpid()}", f"ldtm_reads_{os.getpid()}")
    with psycopg.connect(empty_database.url, autocommit=True) as admin:
        for name in names:
            admin.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(name)))
            admin.execute(sql.SQL("create role {} login password 'secret'").format(sql.Identifier(name)))
        yield names
        for name in names:
            admin.execute(sql.SQL("drop owned by {}").format(sql.Identifier(name)))
            admin.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


def test_a_role_that_was_given_rights_before_has_those_of_the_new_tables_after_an_upgrade(
    empty_database: Database,
    calendar: Calendar,
    tmp_path: Path,
    folder: Path,
    settings: Settings,
    roles: tuple[str, str],
) -> None:
    migrate(empty_database, calendar)
    runs, reads = roles
    with empty_database.transaction() as conn:
        grant_writer_privileges(conn, runs, dagster_schema="ldtm_dagster")
        for given in ("grant usage on schema ldtm to {}", "grant select on snapshot, checkpoint to {}"):
            conn.execute(sql.SQL(given).format(sql.Identifier(reads)))
    texts = [file.read_text() for file in sorted(folder.iterdir())]
    before = next(text for text in reversed(texts) if "function writer_privileges" in text)
    rights = re.search(r"create or replace function writer_privileges.*?\n\$\$;\n", before, re.DOTALL)
    assert rights is not None
    (folder / "9999_notes.sql").write_text(
        "create table note (words text);\n"
        + rights[0].replace("'bar', ", "'note', 'bar', ", 1)
        + "select renew_writer_privileges();\n"
    )
    assert migrate(empty_database, calendar, folder) == ["9999_notes.sql"]
    as_role = Database(url=make_conninfo(empty_database.url, user=runs, password="secret"), schema="ldtm")
    windows = windows_of(walk(calendar, "AAA", num_bars=400, seed=0), calendar, settings.window)["AAA"]
    registry = Registry(
        database=as_role,
        folder=tmp_path / "checkpoints",
        settings=Settings(path=tmp_path, tickers=("AAA",), architecture=SMALL, training=TrainingConfig(max_epochs=2)),
        windows=windows,
    )
    days = (date(2012, 12, 3), date(2012, 12, 4), date(2012, 12, 5))
    registry.candidate("AAA", days[0], weights=0, tested=GOOD)
    assert registry.gate("AAA")["AAA"].outcome == "promoted"
    for number, day in enumerate(days[1:], start=1):
        registry.candidate("AAA", day, weights=number)
    gone = prune(
        as_role, registry.folder, config=RegistryConfig.model_construct(kept_retired_files=0, kept_candidate_files=0)
    )
    assert [file.trained_on for file in gone if file.was == "candidate"] == [days[1]]
    with as_role.transaction() as conn:
        assert missing_privileges(conn) == []
        conn.execute("insert into note values ('a word')")
        LedgerRows(conn, calendar).forecast("AAA", date(2013, 1, 2))
        conn.execute(
            """insert into shadow_forecast
            select s.ticker, s.run_date, s.simulation_id, c.checkpoint_id, 'candidate', now(), s.run_date_close, 1, 1,
                   1, 'bullish', s.window_sha256, s.bars_recorded_until
            from snapshot s join checkpoint c using (ticker) where c.trained_on = '2012-12-05'"""
        )
    as_reader = Database(url=make_conninfo(empty_database.url, user=reads, password="secret"), schema="ldtm")
    with pytest.raises(psycopg.errors.InsufficientPrivilege), as_reader.connect() as own:
        own.execute("select * from note")
