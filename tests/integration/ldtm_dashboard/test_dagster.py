"""What the reader sees of Dagster's storage: runs, slots of the pool, schedules, and the last verification."""

from datetime import UTC, datetime
from pathlib import Path

from dagster._core.storage.dagster_run import DagsterRunStatus
from dagster._core.test_utils import create_run_for_test

from ldtm_dashboard.frames.operations import dagster_view
from ldtm_dashboard.frames.record import last_verification
from ldtm_dashboard.reading import Reader
from ldtm_lib.database.connection import Connection, Database
from tests.integration.dagster_storage import copied_template, dagster_instance

__all__ = ["copied_template"]


def test_runs_slots_and_silence_are_read_by_the_reader(
    reader: Reader, database: Database, conn: Connection, tmp_path: Path
) -> None:
    with dagster_instance(database, tmp_path) as instance:
        run = create_run_for_test(instance, job_name="daily_job", status=DagsterRunStatus.SUCCESS)
        instance.event_log_storage.set_concurrency_slots("gpu", 3)
    found = dagster_view(reader.project)
    assert found is not None
    assert (found.status.gpu_slots, found.status.gpu_slots_held, found.status.is_alive) == (3, 0, False)
    (shown,) = found.runs.iter_rows(named=True)
    assert (shown["job"], shown["status"]) == ("daily_job", "SUCCESS")
    assert shown["link"] == f"http://127.0.0.1:3000/runs/{run.run_id}"


def test_the_newest_verification_counts(reader: Reader, conn: Connection) -> None:
    assert last_verification(reader.project) is None
    for status in ("FAILED", "SUCCEEDED", "PLANNED"):
        conn.execute(
            "insert into ldtm_dagster.asset_check_executions (asset_key, check_name, run_id, execution_status)"
            " values ('[\"snapshots\"]', 'record_is_intact', 'r1', %s)",
            (status,),
        )
    conn.commit()
    found = last_verification(reader.project)
    assert found is not None
    assert (found.is_intact, found.run_id) == (True, "r1"), "a check that is planned has no result"
    assert abs((datetime.now(UTC) - found.at).total_seconds()) < 60
