"""Retention purges old data with the rights of the writer role; the record is the same to the byte."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ldtm_assets.jobs import RETENTION_ASSETS
from ldtm_lib.audit.sealing import create_seal
from ldtm_lib.audit.verify import verify
from ldtm_lib.database import embedded
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.privileges import excess_privileges, grant_writer_privileges, missing_privileges
from ldtm_lib.ledger.fillbacks import fill
from ldtm_lib.maintenance.disk import truncate_log
from ldtm_lib.maintenance.retention import RetentionAlreadyRunning, RetentionReport, purge_expired
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import LedgerConfig
from tests.integration.ledger_rows import LedgerRows
from tests.integration.maintenance.dagster_installation import SCHEMA, SESSIONS, DagsterInstallation

NO_RECORD = {"quarantined_bar", "daily_attempt", "notification", "notification_delivery", "alert"}
"""The only tables beside the record that retention may take rows from."""
ROLE = f"ldtm_retention_{os.getpid()}"
OPERATIONS = """
insert into quarantined_bar (ticker, session, reason, bar, source, last_seen_at, resolved_at) values
    ('AAPL', '2020-01-02', 'answered long ago', '{}', 't', now() - interval '100 days', now() - interval '91 days'),
    ('AAPL', '2020-01-03', 'answered lately', '{}', 't', now() - interval '100 days', now() - interval '89 days'),
    ('AAPL', '2020-01-06', 'never seen again', '{}', 't', now() - interval '901 days', null),
    ('AAPL', '2020-01-07', 'seen again', '{}', 't', now() - interval '899 days', null);
insert into daily_attempt (session, ticker, first_attempt_at, last_attempt_at) values
    ('2024-01-02', 'AAPL', now() - interval '500 days', now() - interval '401 days'),
    ('2024-01-02', 'MSFT', now() - interval '500 days', now() - interval '399 days');
insert into notification (made_at, severity, title, body)
select now() - interval '401 days', 'error', title, '' from unnest(array['came', 'given up', 'on its way']) title;
insert into notification_delivery (notification_id, channel, shown_as, delivered_at, given_up_at)
select notification_id, 'c', 'https://x',
       case title when 'came' then now() end, case title when 'given up' then now() end
from notification;
insert into notification_delivery (notification_id, channel, shown_as, delivered_at)
select notification_id, 'd', 'https://y', now() from notification;
insert into alert (key, kind, severity, subject, summary, raised_at, seen_at, notification_id, notified_at)
select key, 'check', 'error', 'a', 'b', long_ago, seen_at, notification_id, notified_at
from notification
cross join (values (now() - interval '401 days')) past (long_ago)
cross join lateral (
    values ('old', long_ago, long_ago), ('seen lately', now(), long_ago), ('told lately', long_ago, now())
) alert (key, seen_at, notified_at)
where title = 'came'
"""
LEFT = {
    "select reason from quarantined_bar order by session": ["answered lately", "seen again"],
    "select ticker from daily_attempt": ["MSFT"],
    "select title from notification": ["on its way"],
    "select channel from notification_delivery order by channel": ["c", "d"],
    "select key from alert order by key": ["seen lately", "told lately"],
}


def _counts(done: RetentionReport) -> dict[str, int]:
    assert done.failures == ()
    return {purged.kind: purged.num for purged in done.purged}


def _record(installation: DagsterInstallation) -> dict[str, str]:
    """A checksum of every table of the record; that a file is gone is what pruning notes in its row."""
    tables = installation.rows("select tablename from pg_tables where schemaname = 'ldtm' order by 1")
    return {
        name: installation.rows(
            "select md5(coalesce(string_agg(line, E'\\n' order by line), '')) || count(*) from"
            f" (select (to_jsonb(t) - 'file_removed_at')::text as line from ldtm.{name} t) lines"
        )[0][0]
        for (name,) in tables
        if name not in NO_RECORD
    }


@pytest.fixture
def furnished(installation: DagsterInstallation, conn: Connection, calendar: Calendar) -> DagsterInstallation:
    """An installation with a record, and with things that are old enough to go."""
    rows = LedgerRows(conn, calendar)
    rows.forecast("AAPL", date(2013, 1, 2))
    rows.abstention("MSFT", date(2013, 1, 2))
    rows.bar("AAPL", date(2013, 1, 3), 98)
    rows.split("MSFT", date(2013, 1, 4), 2.0)
    for day in (2, 3, 4, 7, 8):
        rows.candidate("AAPL", date(2013, 1, day))
    rows.promoted("MSFT", date(2013, 1, 2))
    assert fill(conn, as_of=date(2013, 1, 3), config=LedgerConfig()).num_filled == 1
    create_seal(conn)
    conn.execute(OPERATIONS.encode())
    conn.commit()
    installation.daily_run(SESSIONS[0], days_ago=500)
    installation.daily_run(SESSIONS[1], days_ago=40)
    installation.seal(1)
    return installation


@pytest.fixture
def writer(furnished: DagsterInstallation, conn: Connection) -> Iterator[DagsterInstallation]:
    """The same installation, run by a role that may add to the record and nothing else."""
    role = sql.Identifier(ROLE)
    conn.execute(sql.SQL("create role {} login password 'secret'").format(role))
    grant_writer_privileges(conn, ROLE, dagster_schema=SCHEMA)
    conn.commit()
    url = make_conninfo(furnished.project.database.url, user=ROLE, password="secret")
    project = replace(furnished.project, database=Database(url=url, schema="ldtm"))
    with project.database.transaction() as own:
        assert (excess_privileges(own), missing_privileges(own)) == ([], [])
    yield replace(furnished, project=project)
    conn.execute(sql.SQL("drop owned by {}").format(role))
    conn.execute(sql.SQL("drop role {}").format(role))
    conn.commit()


def test_a_purge_works_with_the_writers_rights_and_leaves_the_record_unchanged(
    writer: DagsterInstallation, conn: Connection, calendar: Calendar
) -> None:
    before = _record(writer)
    assert {"bar", "split", "snapshot", "ledger_event", "ledger_seal", "checkpoint", "gate_verdict"} < set(before)
    counts = _counts(purge_expired(writer.project, RETENTION_ASSETS))
    assert counts["log entries of runs that ended 30 days ago"] > 20
    assert counts["runs that ended 400 days ago"] == 1
    assert {what: counts[what] for what in ("refused bars", "daily attempts", "notifications", "alerts")} == {
        "refused bars": 2,
        "daily attempts": 1,
        "notifications": 2,
        "alerts": 1,
    }
    for query, left in LEFT.items():
        assert [row[0] for row in writer.rows(query, "ldtm")] == left, query
    assert writer.rows("select count(*) from checkpoint where file_removed_at is not null", "ldtm") == [(3,)]
    assert _record(writer) == before
    assert writer.seals() == [1]
    assert verify(writer.project.database, calendar).is_intact


def test_a_dry_run_says_the_same_and_changes_nothing(furnished: DagsterInstallation) -> None:
    def everything() -> list[Any]:
        tables = furnished.rows(
            "select schemaname, tablename from pg_tables where schemaname in ('ldtm', 'ldtm_dagster') order by 1, 2"
        )
        texts = [
            furnished.rows(f"select md5(string_agg(t::text, E'\\n' order by t::text)) from {schema}.{name} t")
            for schema, name in tables
        ]
        return [*texts, sorted(str(path) for path in furnished.project.home.rglob("*"))]

    before = everything()
    said = purge_expired(furnished.project, RETENTION_ASSETS, dry_run=True)
    assert everything() == before
    done = purge_expired(furnished.project, RETENTION_ASSETS)
    assert _counts(said) == _counts(done)
    assert said.purged == done.purged
    assert set(_counts(purge_expired(furnished.project, RETENTION_ASSETS)).values()) == {0}


def test_folders_are_purged_with_the_logs_of_their_runs_and_nothing_else_is(installation: DagsterInstallation) -> None:
    old, young = installation.daily_run(SESSIONS[0], days_ago=31), installation.daily_run(SESSIONS[0], days_ago=29)
    folder = installation.project.home / "dagster"
    gone = "0cb5ee17-2c3b-4ddb-8d2f-2f9a4a1a3d10"
    for name in (f"storage/{old}", f"storage/{young}", f"storage/{gone}", gone, "storage/leaderboard", "schedules"):
        (folder / name).mkdir(parents=True)
    (folder / "storage" / old / "value").write_bytes(b"12345")
    done = purge_expired(installation.project, RETENTION_ASSETS)
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_dir()} == {
        *(young, f"{young}/compute_logs", "storage", f"storage/{young}", "storage/leaderboard", "schedules"),
    }
    purged = next(purged for purged in done.purged if purged.kind == "folders of runs")
    assert (purged.num, purged.num_bytes) == (4, len("a line\n") + 5)


def test_a_second_purge_is_refused_while_one_is_running(installation: DagsterInstallation, conn: Connection) -> None:
    conn.execute("select pg_advisory_lock(hashtextextended('ldtm retention ldtm', 0))")
    conn.commit()
    with pytest.raises(
        RetentionAlreadyRunning, match="schema ldtm is being purged by another process; wait until it ends"
    ):
        purge_expired(installation.project, RETENTION_ASSETS)
    conn.execute("select pg_advisory_unlock_all()")
    assert purge_expired(installation.project, RETENTION_ASSETS).failures == ()


def test_a_kind_that_cannot_be_purged_is_reported_and_affects_no_other(furnished: DagsterInstallation) -> None:
    (furnished.project.home / "logs" / "dagster.log").mkdir(parents=True)
    with furnished.project.database.transaction() as conn:
        conn.execute(
            "create function stays() returns trigger language plpgsql as $$ begin raise 'no way'; end $$;"
            " create trigger stays before delete on quarantined_bar execute function stays()"
        )
    done = purge_expired(furnished.project, RETENTION_ASSETS)
    assert len(done.failures) == 1
    assert re.match("operational tables: no way", done.failures[0])
    assert next(purged.num for purged in done.purged if purged.kind.startswith("log entries")) > 20
    assert next(purged.num for purged in done.purged if purged.kind.endswith("checkpoint files")) == 0


def test_without_dagsters_tables_the_rest_is_purged(database: Database, installation: DagsterInstallation) -> None:
    with database.transaction() as conn:
        conn.execute("drop schema ldtm_dagster cascade; create schema ldtm_dagster")
    assert "refused bars" in _counts(purge_expired(installation.project, RETENTION_ASSETS))


WRITER = """
import sys, time
for number in range(1000000):
    sys.stdout.write(f"{number:012d}\\n")
    sys.stdout.flush()
"""


def test_a_log_is_held_to_its_size_while_a_process_appends(tmp_path: Path) -> None:
    log = tmp_path / "dagster.log"
    with log.open("ab") as out:
        process = subprocess.Popen([sys.executable, "-c", WRITER], stdout=out)
    num_cuts = 0
    while process.poll() is None:
        if truncate_log(log, limit_bytes=1 << 20, dry_run=False):
            num_cuts += 1
    assert num_cuts >= 3
    lines = [int(line) for line in log.read_text().splitlines()]
    assert lines[-1] == 999_999
    assert log.stat().st_size < 13_000_000 / 2
    missing = sum(after - before - 1 for before, after in pairwise(lines))
    assert lines == sorted(lines)
    assert missing <= num_cuts * 100
    """Lines that came in the instant between the last look and the cut."""


@pytest.mark.parametrize("times", [2, 8, 50])
def test_a_log_that_grew_far_beyond_its_limit_is_within_it_after_one_cut(tmp_path: Path, times: int) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"{number:09d}\n" for number in range(1000 * times)))
    truncate_log(log, limit_bytes=10_000, dry_run=False)
    assert log.stat().st_size <= 10_000
    lines = [int(line) for line in log.read_text().splitlines()]
    assert lines == list(range(1000 * times - len(lines), 1000 * times)), "the newest ones stay"
    assert len(lines) >= 799, "and as many as there is room for, but for a fifth that is left to what comes"


def test_a_log_of_one_endless_line_keeps_its_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * (16 << 20))
    truncate_log(log, limit_bytes=5 << 20, dry_run=False)
    assert 3 << 20 <= log.stat().st_size <= 5 << 20


def test_a_log_below_its_limit_stays_and_a_dry_run_cuts_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"{number:09d}\n" for number in range(1000)))
    assert truncate_log(log, limit_bytes=10_000, dry_run=False) == 0
    assert truncate_log(log, limit_bytes=9_999, dry_run=True) == 2010
    assert log.stat().st_size == 10_000
    assert truncate_log(log, limit_bytes=9_999, dry_run=False) == 2010
    assert log.read_text().splitlines()[0] == "000000201"
    assert truncate_log(tmp_path / "none", limit_bytes=1, dry_run=False) == 0


def test_the_embedded_server_appends_to_its_log_and_listens_on_a_socket_alone(home: Path) -> None:
    url = embedded.start(home)
    pid = embedded.postmaster_pid(home / embedded.FOLDER)
    log = (home / embedded.FOLDER / "log").resolve()
    opened = [int(fd.name) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.resolve() == log]
    assert opened
    for number in opened:
        flags = re.search(r"^flags:\s+(\d+)$", Path(f"/proc/{pid}/fdinfo/{number}").read_text(), re.M)
        assert flags is not None
        assert int(flags[1], 8) & os.O_APPEND
    with Database(url=url, schema="public").connect() as conn:
        assert conn.execute("select setting from pg_settings where name = 'listen_addresses'").fetchone() == ("",)
        assert conn.execute("show unix_socket_directories").fetchone() != ("",)
