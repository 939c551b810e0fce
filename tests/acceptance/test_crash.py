"""The worst in the middle of a run: kill -9 of it, and of PostgreSQL. Run again, nothing is lost or doubled."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psycopg
import pytest

from ldtm_cli.runs import JobRun, Launcher
from ldtm_cli.services import dagster_environment, prepare
from ldtm_lib.database import embedded
from ldtm_lib.errors import LdtmError
from tests.acceptance.installation import Installation, installed

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(600)]

TRAINED_ON = "2013-01-16"
"""The session before the first one that the demo simulates."""
RECORD = (
    "select ticker, run_date, kind, abstained_reason, next_day_pred, next_day_actual, next_monday_actual, window_sha256"
    " from snapshot order by ticker, run_date"
)
NUM_PARTITIONS = 5 * 30
NUM_FORECASTS = 4 * 30
"""All but those of FB, which is too short to be trained."""
KILLS = 4


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """Bars and networks, and no daily run yet."""
    with installed(max_epochs="1") as installation:
        monkeypatch.delenv("LDTM_DATABASE_URL", raising=False)
        project, _ = prepare(installation.config)
        for name, value in dagster_environment(project).items():
            monkeypatch.setenv(name, value)
        first, *_, last = project.settings.tickers
        with Launcher(project) as launcher:
            for job, step, config in (
                ("price_history_job", "price_history", {}),
                ("retraining_job", "retraining", {"trained_on": TRAINED_ON}),
            ):
                launcher.run(JobRun(job=job, step=step, first_partition=first, last_partition=last, config=config))
        yield installation


def _demo(installation: Installation) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ldtm_cli.main", "-c", str(installation.config), "demo"],
        env=installation.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _num_snapshots(installation: Installation) -> int:
    return installation.rows("select count(*) from snapshot")[0][0]


def test_killed_runs_leave_whole_sessions_and_a_rerun_completes_them(trained: Installation) -> None:
    chance = random.Random(7)
    for _ in range(KILLS):
        before = _num_snapshots(trained)
        process = _demo(trained)
        while process.poll() is None and _num_snapshots(trained) == before:
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        per_session = trained.rows("select count(*) from snapshot group by run_date")
        assert all(number == (5,) for number in per_session), "a session is one transaction"
        if _num_snapshots(trained) == NUM_PARTITIONS:
            break
    record_at_the_last_kill = trained.rows(RECORD)
    last = _demo(trained)
    output, _ = last.communicate(timeout=120)
    assert last.returncode == 0, output
    complete = trained.rows(RECORD)
    assert len(complete) == NUM_PARTITIONS
    forecasts = {row[:5] + row[7:] for row in complete}
    assert {row[:5] + row[7:] for row in record_at_the_last_kill} <= forecasts, "what was on record stayed as it was"
    assert trained.rows("select count(*) from bar group by ticker, session having count(*) > 1") == []
    assert sum(row[4] is not None for row in complete) == NUM_FORECASTS
    assert {row["bar_is_there"] for row in trained.json("fillback", "--dry-run")} == {False}, "nothing is left to fill"


def test_postgresql_that_dies_in_the_middle_is_reported_and_a_rerun_completes(trained: Installation) -> None:
    home = trained.project().home
    process = _demo(trained)
    while process.poll() is None and _num_snapshots(trained) == 0:
        time.sleep(0.02)
    pid = embedded.postmaster_pid(home / embedded.FOLDER)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0, output
    while embedded.is_running(home):
        time.sleep(0.05)
    rerun = _demo(trained)
    output, _ = rerun.communicate(timeout=120)
    assert rerun.returncode == 0, output
    assert _num_snapshots(trained) == NUM_PARTITIONS
    assert trained.rows("select count(*), count(next_day_actual) from snapshot where abstained_reason is null") == [
        (NUM_FORECASTS, NUM_FORECASTS - 4)
    ]


def test_a_training_killed_with_its_slot_does_not_block_the_next_nor_does_a_pool_that_was_left_empty() -> None:
    """A GPU without room leaves the pool at 0; the demo trains on the CPU all the same."""
    with installed(max_epochs="1") as installation:
        first = subprocess.Popen(
            [sys.executable, "-m", "ldtm_cli.main", "-c", str(installation.config), "demo"],
            env=installation.environment(),
            stdout=subprocess.DEVNULL,
        )
        holds_a_slot = "select count(*) from ldtm_demo_dagster.concurrency_slots where run_id is not null"
        while first.poll() is None and not _is_ready(installation, holds_a_slot):
            time.sleep(0.1)
        assert first.poll() is None, "the demo ended before it trained"
        first.send_signal(signal.SIGKILL)
        first.wait()
        with psycopg.connect(installation.project().database.url, autocommit=True) as conn:
            conn.execute("delete from ldtm_demo_dagster.concurrency_slots where run_id is null")
            conn.execute('update ldtm_demo_dagster.concurrency_limits set "limit" = 0')
        assert "Leaderboard" in installation.ldtm("demo", timeout=240)
        runs = installation.rows("select status, count(*) from ldtm_demo_dagster.runs group by status order by status")
        assert runs == [("FAILURE", 1), ("SUCCESS", 1)]


def _is_ready(installation: Installation, question: str) -> bool:
    """Whether a count is positive; not while the tables are still being made."""
    try:
        return installation.rows(question)[0][0] > 0
    except (LdtmError, psycopg.Error):
        return False
