"""Retention as Dagster runs it: a job that says what went, on Sundays at noon."""

from pathlib import Path

import dagster as dg
import pytest

from ldtm_assets.automation.schedules import retention_schedule
from ldtm_assets.jobs import retention_job
from ldtm_assets.resources import ProjectResource
from ldtm_lib.database.connection import Database

CONFIG = 'tickers = ["AAPL"]\n[source]\nkind = "sample"\n'


def _run(tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> tuple[bool, str]:
    """Whether the job succeeded, and all that its log says."""
    monkeypatch.setenv("LDTM_DATABASE_URL", database.url)
    config = tmp_path / "universe.toml"
    config.write_text(CONFIG)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        result = retention_job.execute_in_process(
            instance=instance, resources={"project": ProjectResource(config_path=str(config))}, raise_on_error=False
        )
        log = " ".join(entry.user_message for entry in instance.all_logs(result.run_id))
        failures = [event.step_failure_data.error_display_string for event in result.get_step_failure_events()]
    return result.success, log + " ".join(failures)


def test_the_job_reports_what_was_purged(tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with database.transaction() as conn:
        conn.execute(
            "insert into daily_attempt (session, ticker, last_attempt_at)"
            " select '2020-01-02', 'T' || n, now() - interval '401 days' from generate_series(1, 12000) n"
        )
    succeeded, log = _run(tmp_path, database, monkeypatch)
    assert succeeded
    assert "daily attempts: 12,000" in log
    assert "nothing was old enough to purge" in _run(tmp_path, database, monkeypatch)[1]


def test_the_job_fails_with_the_kinds_that_could_not_be_purged(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.transaction() as conn:
        conn.execute("alter table alert rename to elsewhere")
    succeeded, log = _run(tmp_path, database, monkeypatch)
    assert not succeeded
    assert 'relation "alert" does not exist' in log


def test_it_is_due_on_sundays_at_noon_in_new_york_whether_or_not_anything_else_runs_by_itself() -> None:
    schedule = retention_schedule()
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 12 * * 0", "America/New_York")
