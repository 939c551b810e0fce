"""Attempts of the writer role, and of a role without any right, at more than adding to the record."""

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from dagster_postgres import DagsterPostgresStorage
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ldtm_assets.dagster_tables import create_dagster_tables
from ldtm_lib.audit.sealing import create_seal
from ldtm_lib.audit.verify import verify
from ldtm_lib.database import connection
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.migrate import MIGRATIONS_FOLDER, extend_calendar, migrate
from ldtm_lib.database.privileges import (
    close_database,
    excess_privileges,
    grant_writer_privileges,
    missing_privileges,
    statement_to_close,
    storage_privileges,
)
from ldtm_lib.database.queries import query
from ldtm_lib.errors import ConfigurationError, DatabaseUnavailable, MigrationError
from ldtm_lib.features.windows import windows_of
from ldtm_lib.prices.ingest import ingest
from ldtm_lib.prices.sources.protocol import Delivery
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings, TrainingConfig
from tests.integration.dagster_storage import copied_template
from tests.integration.ledger_rows import LedgerRows
from tests.integration.registry.registry_fixtures import GOOD, SMALL, Registry, walk

__all__ = ["copied_template"]

NUMBERS = f"{os.getpid()}"
WRITER, STRANGER, READER = f"ldtm_writes_{NUMBERS}", f"ldtm_strange_{NUMBERS}", f"ldtm_looks_{NUMBERS}"
STORAGE = "ldtm_dagster"
LIMITS = "0013_writer_limits.sql"
CANDIDATE = """insert into checkpoint (ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256, file_name,
    file_sha256, seed, num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss,
    duration_seconds, device) values (%s, %s, 'a', 'r', 'd', %s, 's', 0, 1, 1, 1, 1, 1, 1, 'cpu')"""
ELSEWHERE = (
    *("../../etc/x.pt", "/etc/x.pt", "candidates/../x.pt", "candidates/candidates/x.pt", "other/x.pt", "./x.pt"),
    *("..", ".x.pt", ".pt", "candidates/.x.pt", "x", "x.pt\n", "x\n.pt", "a b.pt", "x.pt/", "//x.pt", ""),
)


@dataclass(frozen=True, slots=True)
class Roles:
    """Connections as the roles."""

    database: Database

    def url(self, role: str) -> str:
        return make_conninfo(self.database.url, user=role, password="secret")

    def writer(self) -> Database:
        return Database(url=self.url(WRITER), schema="ldtm")


@pytest.fixture
def roles(server_url: str) -> Iterator[None]:
    """A role for LDTM to run as, one that reads, and one without any right."""
    names = [sql.Identifier(name) for name in (WRITER, STRANGER, READER)]
    with psycopg.connect(server_url, autocommit=True) as admin:
        for name in names:
            admin.execute(sql.SQL("create role {} login password 'secret'").format(name))
    yield
    with psycopg.connect(server_url, autocommit=True) as admin:
        for name in names:
            admin.execute(sql.SQL("drop owned by {}; drop role {}").format(name, name))


@pytest.fixture
def granted(roles: None, database: Database, conn: Connection) -> Iterator[Roles]:
    """The database of the test with a writer; its objects go before its role."""
    grant_writer_privileges(conn, WRITER, dagster_schema=STORAGE)
    conn.commit()
    yield Roles(database)
    conn.rollback()
    for name in (WRITER, STRANGER, READER):
        conn.execute(sql.SQL("drop owned by {} cascade").format(sql.Identifier(name)))
    conn.commit()


@pytest.fixture
def writer(granted: Roles) -> Iterator[Connection]:
    with granted.writer().connect() as own:
        yield own


def refusal(conn: Connection, statement: str, *parameters: object) -> str:
    """The message of a statement that must be refused; what came before it stays."""
    with pytest.raises(psycopg.Error) as refused, conn.transaction():
        conn.execute(statement.encode(), parameters)
    return str(refused.value).partition("\n")[0]


# Files


@pytest.mark.parametrize("file_name", ELSEWHERE)
def test_no_file_outside_of_the_folder_comes_on_record(writer: Connection, file_name: str) -> None:
    assert "checkpoint_file_is_in_its_folder" in refusal(writer, CANDIDATE, "AAPL", "2013-01-02", file_name)


def test_the_file_of_a_candidate_is_not_renamed(writer: Connection) -> None:
    writer.execute(CANDIDATE.encode(), ("AAPL", "2013-01-02", "candidates/AAPL_1.pt"))
    for name in ("../../etc/x", "AAPL_ldtm_v1.2013-01-02.pt", "candidates/AAPL_2.pt"):
        message = refusal(writer, f"update checkpoint set file_name = '{name}'")
        assert message.endswith("is named by its training and by its promotion, and by nothing else")
    promoted = "update checkpoint set status = 'active', major = 1, version = 'v1'"
    assert "checkpoint_file_is_in_its_folder" in refusal(writer, promoted), "a version has a file of its own"


def test_a_training_overwrites_no_file_that_the_writer_names(
    granted: Roles, writer: Connection, calendar: Calendar, tmp_path: Path
) -> None:
    """The row of the writer is of the network that is trained next, and names the file of the active one."""
    days = (date(2012, 12, 3), date(2012, 12, 4))
    settings = Settings(path=tmp_path, tickers=("AAA",), architecture=SMALL, training=TrainingConfig(max_epochs=2))
    windows = windows_of(walk(calendar, "AAA", num_bars=400, seed=0), calendar, settings.window)["AAA"]
    registry = Registry(database=granted.writer(), folder=tmp_path / "files", settings=settings, windows=windows)
    registry.candidate("AAA", days[0], tested=GOOD)
    assert registry.gate("AAA")["AAA"].outcome == "promoted"
    (active,) = (path for path in registry.folder.glob("*.pt"))
    before = active.read_bytes()
    trained = registry.candidate("AAA", days[1], weights=1)
    measured = "seed, num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss"
    measured += ", duration_seconds, device"
    writer.execute(
        f"insert into checkpoint (ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256, {measured},"
        f" file_sha256, file_name) select ticker, trained_on, architecture_sha256, recipe_sha256, 'x', {measured},"
        f" file_sha256, '{active.name}' from checkpoint where checkpoint_id = {trained.checkpoint_id}".encode()
    )
    writer.commit()
    registry.candidate("AAA", days[1], weights=1, data="x")
    assert active.read_bytes() == before


# Dagster's storage


def test_the_writer_puts_no_code_into_dagsters_storage(writer: Connection, conn: Connection) -> None:
    function = "create function {}.mine() returns trigger language plpgsql as 'begin return new; end'"
    for schema in (STORAGE, "ldtm"):
        assert f"permission denied for schema {schema}" in refusal(writer, function.format(schema))
        assert "permission denied" in refusal(writer, f"create table {schema}.mine (x int)")
    for table in ("runs", "event_logs", "kvs"):
        name = f"{STORAGE}.{table}"
        trigger = f"create trigger mine before insert on {name} for each row execute function ldtm.is_append_only()"
        assert f"permission denied for table {table}" in refusal(writer, trigger)
        assert "permission denied" in refusal(writer, f"truncate {name} cascade")
        assert "must be owner" in refusal(writer, f"alter table {name} add column mine int")
    assert storage_privileges(writer, STORAGE) == []
    conn.execute(sql.SQL("grant create on schema ldtm_dagster to {}").format(sql.Identifier(WRITER)))
    conn.execute(sql.SQL("grant trigger on ldtm_dagster.runs to {}").format(sql.Identifier(WRITER)))
    conn.commit()
    assert storage_privileges(writer, STORAGE) == [
        "may create objects in the schema of Dagster's storage",
        "may put triggers on tables of Dagster's storage",
    ]
    grant_writer_privileges(conn, WRITER, dagster_schema=STORAGE)
    conn.commit()
    assert storage_privileges(writer, STORAGE) == []


def test_dagster_works_with_the_rights_of_the_writer(granted: Roles) -> None:
    storage = DagsterPostgresStorage(granted.writer().with_schema(STORAGE).sqlalchemy_url())
    storage.run_storage.set_cursor_values({"a": "b"})
    assert storage.run_storage.get_cursor_values({"a"}) == {"a": "b"}
    storage.event_log_storage.add_dynamic_partitions("tickers", ["AAPL"])
    assert storage.event_log_storage.get_dynamic_partitions("tickers") == ["AAPL"]
    storage.event_log_storage.wipe()
    assert storage.schedule_storage.all_instigator_state() == []


def test_tables_that_the_owner_creates_later_are_open_to_the_writer(
    granted: Roles, conn: Connection, settings: Settings, tmp_path: Path
) -> None:
    conn.execute("drop table ldtm_dagster.kvs")
    conn.commit()
    create_dagster_tables(Project(settings=settings, home=tmp_path, database=granted.database))
    test_dagster_works_with_the_rights_of_the_writer(granted)


def test_a_storage_of_the_writers_own_passes_to_the_owner(granted: Roles, writer: Connection, conn: Connection) -> None:
    """As after an update: before, the writer created Dagster's tables."""
    me = sql.Identifier(WRITER)
    conn.execute(sql.SQL("grant all on schema ldtm_dagster to {}").format(me))
    for (table,) in conn.execute("select tablename from pg_tables where schemaname = 'ldtm_dagster'").fetchall():
        conn.execute(sql.SQL("alter table ldtm_dagster.{} owner to {}").format(sql.Identifier(table), me))
    conn.commit()
    writer.execute(
        "create function ldtm_dagster.mine() returns trigger language plpgsql as 'begin return new; end';"
        "create trigger mine before insert on ldtm_dagster.kvs for each row execute function ldtm_dagster.mine();"
        "create function ldtm_dagster.hashtextextended(text, integer) returns bigint return 1"
    )
    writer.commit()
    found = (
        r"has function ldtm_dagster\.hashtextextended\(text,integer\), function ldtm_dagster\.mine\(\), "
        r"trigger mine on ldtm_dagster\.kvs, which neither Dagster nor LDTM creates"
    )
    with pytest.raises(ConfigurationError, match=found), conn.transaction():
        grant_writer_privileges(conn, WRITER, dagster_schema=STORAGE)
    writer.execute(
        "drop function ldtm_dagster.mine() cascade; drop function ldtm_dagster.hashtextextended(text, integer)"
    )
    writer.commit()
    grant_writer_privileges(conn, WRITER, dagster_schema=STORAGE)
    conn.commit()
    owners = "select distinct relowner::regrole::text from pg_class where relnamespace = 'ldtm_dagster'::regnamespace"
    assert conn.execute(owners).fetchall() == [("postgres",)]
    test_the_writer_puts_no_code_into_dagsters_storage(writer, conn)
    test_dagster_works_with_the_rights_of_the_writer(granted)


def test_an_owner_that_may_not_take_the_tables_over_is_told_the_statement(granted: Roles, conn: Connection) -> None:
    """The owner is no superuser and no member of the writer."""
    owner = sql.Identifier(READER)
    for schema in ("ldtm", STORAGE):
        conn.execute(sql.SQL("alter schema {} owner to {}").format(sql.Identifier(schema), owner))
        for kind, name in conn.execute(
            "select case relkind when 'v' then 'view' else 'table' end, relname from pg_class"
            " where relnamespace = %s::regnamespace and relkind in ('r', 'v')",
            (schema,),
        ).fetchall():
            theirs = sql.Identifier(WRITER) if schema == STORAGE else owner
            alter = sql.SQL("alter {} {}.{} owner to {}")
            conn.execute(alter.format(sql.SQL(kind), sql.Identifier(schema), sql.Identifier(name), theirs))
    for (routine,) in conn.execute(
        "select oid::regprocedure::text from pg_proc where pronamespace = 'ldtm'::regnamespace and prokind = 'f'"
    ).fetchall():
        conn.execute(sql.SQL("alter function {} owner to {}").format(sql.SQL(routine), owner))
    conn.commit()
    remedy = f"cannot take over what {WRITER} owns in schema {STORAGE} .*run `grant {WRITER} to {READER}`"
    with Database(url=granted.url(READER), schema="ldtm").connect() as own:
        with pytest.raises(ConfigurationError, match=remedy):
            grant_writer_privileges(own, WRITER, dagster_schema=STORAGE)
        own.rollback()
        conn.execute(sql.SQL("grant {} to {}").format(sql.Identifier(WRITER), owner))
        conn.commit()
        grant_writer_privileges(own, WRITER, dagster_schema=STORAGE)
        own.commit()
    with granted.writer().connect() as own:
        assert (excess_privileges(own), missing_privileges(own), storage_privileges(own, STORAGE)) == ([], [], [])


# Splits and sessions


def test_a_split_ahead_is_refused(writer: Connection, calendar: Calendar) -> None:
    newest = calendar.last_closed(datetime.now(UTC))
    for day in (date(2099, 1, 5), calendar.offset(newest, 1), newest + timedelta(days=30)):
        message = refusal(writer, "insert into split values ('AAPL', %s, 2)", day)
        assert message.startswith(f"the split of AAPL on {day} lies ahead: session {newest} is the newest")
    writer.execute("insert into split values ('AAPL', %s, 2)", (newest,))


def sessions(conn: Connection) -> list[tuple[date, datetime, datetime]]:
    return conn.execute("select session, opens_at, closes_at from trading_session order by session").fetchall()


def invented(day: date) -> tuple[date, datetime, datetime]:
    """A session of two minutes, early on its day."""
    opens_at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    return day, opens_at, opens_at + timedelta(minutes=2)


ADD_SESSION = "insert into trading_session values (%s, %s, %s)"


def test_no_session_is_added_after_its_open(writer: Connection, calendar: Calendar) -> None:
    before = sessions(writer)
    newest = calendar.last_closed(datetime.now(UTC))
    past = (day for n in range(1, 9) if not calendar.is_session(day := newest - timedelta(days=n)))
    for day in (next(past), date(2013, 1, 5)):
        message = refusal(writer, ADD_SESSION, *invented(day))
        assert message.startswith(f"session {day} opened at")
        assert "cannot be added any more" in message
    ahead = calendar.offset(newest, 2)
    moved = "update trading_session set opens_at = closes_at - interval '3 years', closes_at = closes_at"
    assert "cannot be moved to" in refusal(writer, f"{moved} where session = %s", ahead)
    writer.commit()
    assert sessions(writer) == before


def test_no_room_is_made_for_an_opened_session_by_removing_those_ahead(writer: Connection, calendar: Calendar) -> None:
    everything = "delete from trading_session where opens_at > clock_timestamp()"
    last = calendar.days[-1].item()
    assert refusal(writer, everything).startswith(f"session {last} is the newest one of the calendar")
    writer.execute(f"{everything} and session < (select max(session) from trading_session)".encode())
    writer.commit()
    assert "cannot be added any more" in refusal(writer, ADD_SESSION, *invented(date(2013, 1, 5)))
    writer.commit()
    extend_calendar(writer, calendar)
    writer.commit()
    assert sessions(writer) == calendar.schedule()


def test_a_transaction_that_is_held_open_past_an_open_adds_moves_and_removes_nothing(
    writer: Connection, conn: Connection
) -> None:
    now = datetime.now(UTC)
    today = conn.execute("select (clock_timestamp() at time zone 'America/New_York')::date").fetchone()
    assert today is not None
    opens_at, closes_at = now + timedelta(seconds=2), now + timedelta(seconds=3)
    conn.execute("alter table trading_session disable trigger user")
    conn.execute("delete from trading_session where session = %s", today)
    conn.execute("alter table trading_session enable trigger user")
    conn.commit()
    writer.execute(ADD_SESSION.encode(), (*today, opens_at, closes_at))
    time.sleep(2.2)
    with pytest.raises(psycopg.IntegrityError, match="while a transaction was changing it; try again"):
        writer.commit()
    opens_at, closes_at = (at + timedelta(seconds=4) for at in (opens_at, closes_at))
    writer.execute(ADD_SESSION.encode(), (*today, opens_at, closes_at))
    writer.commit()
    writer.execute("delete from trading_session where session = %s", today)
    time.sleep(max(0, (opens_at - datetime.now(UTC)).total_seconds()) + 0.2)
    with pytest.raises(psycopg.IntegrityError, match="while a transaction was changing it; try again"):
        writer.commit()


@pytest.mark.parametrize("end", [date(2012, 12, 31), date(2024, 12, 31)])
def test_a_calendar_that_has_ended_is_extended_by_the_writer(
    writer: Connection, conn: Connection, calendar: Calendar, end: date
) -> None:
    """As after years without LDTM: the sessions that are added have opened."""
    conn.execute("alter table trading_session disable trigger user")
    conn.execute("delete from trading_session where session > %s", (end,))
    conn.execute("alter table trading_session enable trigger user")
    conn.commit()
    extend_calendar(writer, calendar)
    writer.commit()
    assert sessions(writer) == calendar.schedule()
    extend_calendar(writer, calendar)
    writer.commit()


# Moments


BAR = "insert into bar values ('AAPL', '2013-01-03', {}, 1, 1, 1, 1, 1, 'mine')"


def test_a_bar_of_a_long_transaction_is_not_dated_by_its_begin(writer: Connection) -> None:
    (began,) = writer.execute("select now()").fetchone() or (None,)
    time.sleep(10.5)
    for statement in (BAR, "insert into split values ('AAPL', '2013-01-03', 2, {})"):
        assert "are dated by the moment they are recorded at" in refusal(writer, statement.format("now()"))
    slow = (
        "insert into bar select 'AAPL', '2013-01-03', statement_timestamp(), 1, 1, 1, 1, 1, 'mine' from pg_sleep(10.2)"
    )
    assert "are dated by the moment they are recorded at" in refusal(writer, slow)
    writer.execute(BAR.format("clock_timestamp()").encode())
    row = writer.execute("select recorded_at > %s + interval '10 seconds' from bar", (began,)).fetchone()
    assert row == (True,)


@pytest.mark.parametrize("moment", ["1 second", "4 minutes", "1 day"])
def test_no_bar_is_dated_ahead(writer: Connection, moment: str) -> None:
    ahead = f"clock_timestamp() + interval '{moment}'"
    for statement in (BAR, "insert into split values ('AAPL', '2013-01-03', 2, {})"):
        assert "are dated by the moment they are recorded at" in refusal(writer, statement.format(ahead))
    chain = f"""insert into bar select 'AAPL', '2013-01-03', at, 1, 1, 1, 1, 1, 'mine'
        from (values (clock_timestamp()), ({ahead}), ({ahead.replace("clock_timestamp()", "now()")}),
                     ({ahead.replace("clock_timestamp()", "now()")} + interval '1 microsecond')) as m (at)"""
    assert "are dated by the moment they are recorded at" in refusal(writer, chain)
    with writer.transaction():
        writer.execute(BAR.format("clock_timestamp()").encode())
    for after in ("(select max(recorded_at) + interval '1 hour' from bar)", "'infinity'", "'-infinity'"):
        assert "are dated by the moment they are recorded at" in refusal(writer, BAR.format(after))


def test_a_delivery_of_the_writer_has_one_moment(writer: Connection, calendar: Calendar) -> None:
    bars = walk(calendar, "AAA", num_bars=400, seed=0)
    ingest(writer, Delivery(bars=bars), source="test", calendar=calendar)
    writer.commit()
    halved = bars.with_columns(*(bars[name] / 2 for name in ("open", "high", "low", "close")), bars["volume"] * 2)
    report = ingest(writer, Delivery(bars=halved[-10:]), source="test", calendar=calendar)
    writer.commit()
    assert [split.ratio for split in report.splits] == [2]
    moments = writer.execute("select distinct recorded_at from bar order by 1").fetchall()
    assert len(moments) == 2
    assert writer.execute("select recorded_at from split").fetchall() == moments[1:]


def test_the_writer_chooses_no_moment_of_a_refused_bar(writer: Connection) -> None:
    add = (
        "insert into quarantined_bar (ticker, reason, bar, source, {}) values ('AAPL', 'r', '{{}}', 's', '2001-01-02')"
    )
    for column in ("first_seen_at", "last_seen_at", "resolved_at"):
        assert "permission denied for table quarantined_bar" in refusal(writer, add.format(column))
    writer.execute("insert into quarantined_bar (ticker, reason, bar, source) values ('AAPL', 'r', '{}', 's')")
    writer.execute("update quarantined_bar set last_seen_at = '2001-01-02', resolved_at = 'infinity'")
    recent = "select last_seen_at > now() - interval '1 hour', resolved_at <= clock_timestamp() from quarantined_bar"
    assert writer.execute(recent).fetchone() == (True, True)


# Locks


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections of LDTM that wait for a lock for a shorter time, so that the test need not."""
    monkeypatch.setitem(connection.PINNED, "lock_timeout", "300ms")


def test_a_lock_that_is_held_is_named_with_its_holder(
    impatient: None, granted: Roles, database: Database, calendar: Calendar
) -> None:
    statements = {
        "lock table trading_session in access exclusive mode": "the table trading_session",
        "select pg_advisory_xact_lock(hashtextextended('ldtm chain ldtm', 0))": "the advisory lock ldtm chain ldtm",
        "select pg_advisory_lock(hashtextextended('ldtm chain ldtm', 0))": "the advisory lock ldtm chain ldtm",
    }
    for statement, lock in statements.items():
        with psycopg.connect(granted.url(WRITER), application_name="mine", options="-c search_path=ldtm") as holder:
            holder.execute(statement.encode())
            begin = time.monotonic()
            with pytest.raises(DatabaseUnavailable) as refused, database.transaction() as conn:
                LedgerRows(conn, calendar).forecast("AAPL", date(2013, 1, 2))
            assert time.monotonic() - begin < 10
            pid = holder.info.backend_pid
        assert str(refused.value).endswith(
            f"did not grant a lock within 300ms; nothing was changed. Process {pid} (application mine, role {WRITER}) "
            f"holds {lock}: end that program, or run `select pg_terminate_backend({pid})` as an administrator, and try "
            "again"
        )
    with database.transaction() as conn:
        LedgerRows(conn, calendar).forecast("AAPL", date(2013, 1, 2))


def test_a_row_that_is_held_is_named_with_its_holder(impatient: None, granted: Roles, database: Database) -> None:
    with database.transaction() as conn:
        conn.execute("insert into alert (key, kind, severity, subject, summary) values ('k', 'a', 'error', 's', 't')")
    with psycopg.connect(granted.url(WRITER), application_name="mine", options="-c search_path=ldtm") as holder:
        holder.execute("update alert set seen_at = now()")
        pid = holder.info.backend_pid
        named = rf"Process {pid} \(application mine, role {WRITER}\) holds rows that its transaction has changed"
        with pytest.raises(DatabaseUnavailable, match=named), database.transaction() as conn:
            conn.execute("update alert set seen_at = now()")


def test_both_drivers_wait_two_minutes_for_a_lock(database: Database) -> None:
    with database.connect() as conn:
        assert conn.execute("show lock_timeout").fetchone() == ("2min",)
    assert "lock_timeout%3D2min" in database.sqlalchemy_url()


# Connections


def test_a_role_without_rights_cannot_connect_and_take_locks(granted: Roles, conn: Connection) -> None:
    conn.execute(sql.SQL("grant usage on schema ldtm to {}").format(sql.Identifier(READER)))
    conn.execute(sql.SQL("grant select on snapshot to {}").format(sql.Identifier(READER)))
    conn.commit()
    name = conninfo_to_dict(granted.database.url)["dbname"]
    statement = statement_to_close(conn, dagster_schema=STORAGE)
    assert statement == (
        f"grant connect on database {name} to {READER}, {WRITER}, postgres; "
        f"revoke connect on database {name} from public"
    )
    with psycopg.connect(granted.url(STRANGER)) as stranger:
        stranger.execute("select pg_try_advisory_lock(hashtextextended('ldtm chain ldtm', 0))")
    assert close_database(conn, dagster_schema=STORAGE)
    conn.commit()
    assert statement_to_close(conn, dagster_schema=STORAGE) is None
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(granted.url(STRANGER))
    for role in (WRITER, READER):
        psycopg.connect(granted.url(role)).close()
    assert close_database(conn, dagster_schema=STORAGE)


def test_a_database_that_holds_more_than_ldtm_stays_open(granted: Roles, conn: Connection) -> None:
    conn.execute("create schema of_others; create table of_others.invoice (x int)")
    conn.commit()
    assert not close_database(conn, dagster_schema=STORAGE)
    with granted.writer().connect() as writer:
        assert "permission denied" in refusal(writer, "select close_database('ldtm_dagster')")
    psycopg.connect(granted.url(STRANGER)).close()


# An existing record


@pytest.fixture
def before_limits(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS_FOLDER, folder)
    for later in (path for path in folder.iterdir() if path.name >= LIMITS):
        later.unlink()
    return folder


def test_an_existing_record_is_migrated_and_its_writer_limited(
    roles: None, empty_database: Database, calendar: Calendar, before_limits: Path
) -> None:
    database, as_writer = empty_database, Roles(empty_database).writer()
    migrate(database, calendar, before_limits)
    with database.transaction() as conn:
        conn.execute("create schema ldtm_dagster; create table ldtm_dagster.runs (x int)")
        conn.execute("set local search_path = ldtm_dagster")
        conn.execute(query("maintenance.create_storage_owner"))
        conn.execute("set local search_path = ldtm")
        conn.execute("select grant_writer_privileges(%s), grant_storage_privileges(%s, %s)", (WRITER, STORAGE, WRITER))
    with as_writer.transaction() as conn:
        rows = LedgerRows(conn, calendar)
        rows.promoted("AAPL", date(2013, 1, 2))
        rows.forecast("AAPL", date(2013, 1, 2))
        rows.bars("AAPL", {date(2013, 1, 3): 104})
        conn.execute("insert into split values ('OLD', '2099-01-05', 2)")
        conn.execute("insert into quarantined_bar (ticker, reason, bar, source) values ('AAPL', 'r', '{}', 's')")
        create_seal(conn)
    assert migrate(database, calendar)[0] == LIMITS
    assert verify(database, calendar).is_intact
    with as_writer.connect() as conn:
        assert (excess_privileges(conn), missing_privileges(conn), storage_privileges(conn, STORAGE)) == ([], [], [])
        assert "permission denied for schema" in refusal(conn, "create table ldtm_dagster.mine (x int)")
    assert migrate(as_writer, calendar) == []
    with database.transaction() as conn:
        conn.execute(sql.SQL("drop owned by {}").format(sql.Identifier(WRITER)))


def test_a_record_that_names_a_file_elsewhere_is_not_migrated_until_it_is_corrected(
    empty_database: Database, calendar: Calendar, before_limits: Path
) -> None:
    migrate(empty_database, calendar, before_limits)
    with empty_database.transaction() as conn:
        conn.execute(CANDIDATE.encode(), ("AAPL", "2013-01-02", "../../etc/x"))
    refused = r"checkpoint 1 of AAPL names the file '\.\./\.\./etc/x', which no training of LDTM has written: find out"
    with pytest.raises(MigrationError, match=refused):
        migrate(empty_database, calendar)
    with empty_database.transaction() as conn:
        conn.execute("update checkpoint set file_name = 'candidates/AAPL_1.pt'")
    assert migrate(empty_database, calendar)[0] == LIMITS
