"""The schema comes about forward only, once, and nobody edits what was applied."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.migrate import SCHEMA_FOLDER, extend_calendar, migrate, pending_migrations
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


def test_a_session_that_a_forecast_speaks_about_is_not_removed(
    conn: Connection, calendar: Calendar, ledger_rows
) -> None:
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
