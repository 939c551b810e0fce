"""Runs of the project's own Dagster jobs in this process, on the same storage that the UI shows.

An interrupted run ends as cancelled, like a run that is terminated in the UI; Dagster alone would record it as failed.
The launcher imports Dagster, so that a demo that is up to date does not have to.
"""

import logging
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from ldtm_cli.interrupts import Interrupted, SignalWatch, watched_signals
from ldtm_cli.services import dagster_environment, prepare_instance
from ldtm_lib.atomic_io import write_whole
from ldtm_lib.database.queries import query
from ldtm_lib.errors import LdtmError
from ldtm_lib.project import Project
from ldtm_lib.sessions import exchange_calendar

if TYPE_CHECKING:
    import dagster as dg

    from ldtm_assets.training.progress import TrainingReporter


class RunFailed(LdtmError):
    """A Dagster run ended as failed."""


class AnotherRun(LdtmError):
    """A daily run or a training is under way, and another one has to wait for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRun:
    """A job, the range of its partitions, the configuration of its step, and the runs that it excludes."""

    job: str
    step: str
    first_partition: str | None = None
    last_partition: str | None = None
    config: Mapping[str, str | bool | int | list[str]] = field(default_factory=dict[str, str | bool | int | list[str]])
    concurrency_group: str | None = None
    """Value of the tag by which dagster.yaml limits a group to one run at a time; None for a run that waits for no
    other one."""


def _home_without_captured_output() -> str:
    """Write a copy of dagster.yaml that turns off capturing the output of steps; returns its folder.

    Dagster captures the output in a helper process, which also receives Ctrl-C from the terminal and prints a
    traceback.
    """
    home = Path(os.environ["DAGSTER_HOME"])
    config = yaml.safe_load((home / "dagster.yaml").read_text())
    config["compute_logs"] = {
        "module": "dagster.core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
    folder = home / "command"
    folder.mkdir(exist_ok=True)
    write_whole(folder / "dagster.yaml", yaml.safe_dump(config).encode())
    return str(folder)


class Launcher:
    """Runs jobs one after the other on one Dagster instance."""

    def __init__(self, project: Project, reporter: "TrainingReporter | None" = None) -> None:
        import dagster as dg

        from ldtm_assets.dagster_tables import create_dagster_tables
        from ldtm_assets.definitions import definitions_for
        from ldtm_lib.maintenance.dagster_status import GPU_POOL

        os.environ.update(dagster_environment(project))
        logging.getLogger("alembic").setLevel(logging.WARNING)
        self._definitions = definitions_for(project.settings, exchange_calendar(), reporter)
        create_dagster_tables(project)
        self._instance = dg.DagsterInstance.from_config(_home_without_captured_output())
        if not prepare_instance(self._instance, project):
            # an empty pool would block the step without a message; its lease waits too, and logs the reason
            self._instance.event_log_storage.set_concurrency_slots(GPU_POOL, 1)

    def __enter__(self) -> "Launcher":
        return self

    def __exit__(self, *error: object) -> None:
        self._instance.dispose()

    def run(self, job_run: JobRun) -> str:
        """Run to the end; returns the run's id. Raises RunFailed with the reason of the failed step."""
        from ldtm_assets.partitions import partition_range
        from ldtm_assets.run_tags import CONCURRENCY_GROUP_TAG, process_tag

        run_id = str(uuid.uuid4())
        tags = process_tag(run_id)
        if job_run.concurrency_group is not None:
            tags[CONCURRENCY_GROUP_TAG] = job_run.concurrency_group
        if job_run.first_partition and job_run.last_partition:
            tags |= partition_range(job_run.first_partition, job_run.last_partition)
        job = self._definitions.resolve_job_def(job_run.job)
        with watched_signals() as watch, self._cancelled_by(watch, run_id):
            result = job.execute_in_process(
                instance=self._instance,
                run_id=run_id,
                tags=tags,
                raise_on_error=False,
                run_config={
                    "ops": {job_run.step: {"config": dict(job_run.config)}},
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                },
            )
        if watch.received is not None:
            raise Interrupted(watch.received)
        if not result.success:
            reasons = [event.step_failure_data.error_display_string for event in result.get_step_failure_events()]
            raise RunFailed(f"run {result.run_id} of {job_run.job} failed: {_first_lines(reasons)}")
        return result.run_id

    def require_no_other_run(self) -> None:
        """Raise AnotherRun while a daily run or a training is under way or queued, whoever launched it."""
        import dagster as dg

        from ldtm_assets.jobs import DAILY_JOB, RETRAINING_JOB
        from ldtm_assets.run_tags import CONCURRENCY_GROUP_TAG, UNFINISHED

        for run in self._instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
            if run.job_name in (DAILY_JOB, RETRAINING_JOB) or CONCURRENCY_GROUP_TAG in run.tags:
                raise AnotherRun(
                    f"run {run.run_id[:8]} of {run.job_name} is {run.status.value.lower()}, and only one daily "
                    "run or training may run at a time; follow it with "
                    f"`ldtm logs --follow {run.run_id[:8]}`, or terminate it in the UI, then try again"
                )

    @contextmanager
    def _cancelled_by(self, watch: SignalWatch, interrupted_id: str) -> Iterator[None]:
        """Let an interrupted run end as cancelled.

        After an interrupted execution, Dagster reads the run again, and records it as cancelled if that was requested.
        The request is made during this read and not on the signal, which may arrive while a query is being sent.
        """
        read = self._instance.get_run_by_id
        was_asked = False

        def read_and_cancel(run_id: str) -> "dg.DagsterRun | None":
            nonlocal was_asked
            run = read(run_id)
            if watch.received is None or was_asked or run_id != interrupted_id or run is None or run.is_finished:
                return run
            was_asked = True
            self._instance.report_run_canceling(run, message="Interrupted on the command line.")
            return read(run_id)

        self._instance.get_run_by_id = read_and_cancel
        try:
            yield
        finally:
            self._instance.get_run_by_id = read


@contextmanager
def only_command(project: Project) -> Iterator[None]:
    """Hold the lock of the commands that launch daily runs and trainings; raises AnotherRun if it is held."""
    with project.database.connect() as conn:
        row = conn.execute(query("daily_run.try_command_lock")).fetchone()
        conn.commit()
        if row is None or not row[0]:
            raise AnotherRun(
                f"another `ldtm run` or `ldtm train` of {project.settings.path.name} is under way; wait for its end, "
                "or interrupt it with Ctrl-C"
            )
        yield


def _first_lines(reasons: list[str]) -> str:
    return (
        "; ".join(reason.strip().split("\n\nStack Trace", 1)[0][:2000] for reason in reasons)
        or "no step gives a reason"
    )
