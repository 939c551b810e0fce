"""Automatic daily runs: a real daemon catches up missed sessions, and a run that was killed.

By the real clock, on the newest sessions that have closed, with bars that come as files.
"""

import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from ldtm_cli.dagster_process import stop_process_group
from ldtm_cli.services import prepare, start_dagster
from ldtm_lib.daily_run.attempts import begin_attempt, finish_attempt
from ldtm_lib.daily_run.pending_partitions import daily_run_start
from ldtm_lib.sessions import Calendar
from tests.acceptance.installation import Installation
from tests.databases import server_home
from tests.integration.ledger_rows import enter_service

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(300)]

TICKERS = ("AAPL", "GOOG", "IBM", "MSFT", "QQQ", "SPY")
CONFIG = f"""
tickers = {list(TICKERS)}
[source]
kind = "files"
folder = "bars"
basis = "adjusted"
[automation]
enabled = true
first_retry_minutes = 0.05
deadline_warning_minutes = 0    # near an open the newest session would go first
"""
MISSED = 3
GRACE = timedelta(minutes=6)
STARTED = "select count(*) from daily_attempt where done_at is null"
DAILY_RUNS = (
    "select run_id, status, to_timestamp(start_time)::text, to_timestamp(end_time)::text from ldtm_dagster.runs"
    " where pipeline_name = 'daily_job' order by id"
)


@pytest.fixture
def sessions(calendar: Calendar) -> list[date]:
    """The session whose forecasts are on record, and after it the missed ones; their daily runs have begun."""
    now = datetime.now(UTC)
    newest = calendar.last_closed(now)
    if daily_run_start(newest) + GRACE > now:
        newest = calendar.offset(newest, -1)
    return [calendar.offset(newest, -back) for back in reversed(range(MISSED + 1))]


@pytest.fixture
def installation(calendar: Calendar, sessions: list[date], monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """Bars of a year, and forecasts on record for one session, after which nothing ran any more."""
    with server_home() as folder:
        installed = Installation(folder / "universe.toml")
        installed.config.write_text(CONFIG)
        _write_bars(folder / "bars", calendar.between(sessions[-1] - timedelta(days=365), sessions[-1]))
        for name in [name for name in os.environ if name.startswith(("LDTM_", "DAGSTER_"))]:
            monkeypatch.delenv(name)
        project, _ = prepare(installed.config)
        with project.database.transaction() as conn:
            for ticker in TICKERS:
                enter_service(conn, ticker, sessions[0])
                conn.execute(
                    "insert into snapshot (ticker, run_date, kind, next_day_session, next_monday_session,"
                    " one_month_session, abstained_reason, bars_recorded_until)"
                    " values (%s, %s, 'live', %s, %s, %s, 'has no active model', clock_timestamp())",
                    (ticker, sessions[0], *calendar.targets(sessions[0]).as_tuple()),
                )
            partitions = [(sessions[0], ticker) for ticker in TICKERS]
            begin_attempt(conn, partitions)
            finish_attempt(conn, done=partitions, failed={})
        yield installed
        installed.ldtm("down")


def _write_bars(folder: Path, sessions: list[date]) -> None:
    folder.mkdir()
    for number, ticker in enumerate(TICKERS):
        lines = ["date,open,high,low,close,volume"]
        for day, session in enumerate(sessions):
            close = 100 + number + day % 7
            lines.append(f"{session},{close},{close + 1},{close - 1},{close},1000")
        (folder / f"{ticker}.csv").write_text("\n".join(lines) + "\n")


def _scenario(installation: Installation) -> str:
    """What happened so far, for whoever reads why a test failed."""
    lines = [*installation.rows(DAILY_RUNS), *installation.rows("select * from daily_attempt order by 1, 2")]
    return "\n".join(str(line) for line in lines)


def _wait_for(installation: Installation, what: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise AssertionError(_scenario(installation))
        time.sleep(0.3)


def _worker_of(installation: Installation, run_id: str) -> int:
    """The process that works on a run, as it says itself in Dagster's event log."""
    found = installation.rows(f"select event from ldtm_dagster.event_logs where run_id = '{run_id}' order by id")
    pids = [int(pid) for (event,) in found for pid in re.findall(r"Executing steps in process \(pid: (\d+)\)", event)]
    return pids[0]


def test_missed_sessions_are_caught_up_in_order_though_a_run_is_killed(
    installation: Installation, sessions: list[date]
) -> None:
    project = installation.project()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    group = start_dagster(project, port)
    try:
        with psycopg.connect(project.database.url, options="-c search_path=ldtm") as holding:
            holding.execute("lock table snapshot in share row exclusive mode")
            _wait_for(installation, lambda: installation.rows(STARTED)[0][0] > 0, 60)
            killed = installation.rows(DAILY_RUNS)[0][0]
            time.sleep(1)
            os.kill(_worker_of(installation, killed), signal.SIGKILL)
            _wait_for(installation, lambda: installation.rows(DAILY_RUNS)[0][1] == "FAILURE", 30)
        _wait_for(installation, lambda: installation.rows(DAILY_RUNS)[-1][1] == "SUCCESS", 90)
    finally:
        stop_process_group(group)

    rows = installation.rows("select run_date, ticker, kind from snapshot order by recorded_at, run_date, ticker")
    assert [(day, ticker) for day, ticker, _ in rows] == [(day, ticker) for day in sessions for ticker in TICKERS]
    assert {kind for day, _, kind in rows if day < sessions[-1]} == {"late"}, "the database dates what is caught up"
    tried = installation.rows(
        "select session, num_attempts, count(*), count(done_at) from daily_attempt group by 1, 2 order by 1"
    )
    before = (sessions[0], 1, len(TICKERS), len(TICKERS))
    assert tried == [before, *((day, 2, len(TICKERS), len(TICKERS)) for day in sessions[1:])]
    assert [status for _, status, *_ in installation.rows(DAILY_RUNS)] == ["FAILURE", "SUCCESS"], (
        "one run for all three"
    )
