"""Runs of the project's own Dagster jobs in this process, on the same storage that the UI shows.

Dagster is imported by the launcher, so that a demo that is up to date need not.
"""

import logging
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ldtm_cli.services import dagster_environment, prepare_instance
from ldtm_lib.errors import LdtmError
from ldtm_lib.project import Project
from ldtm_lib.sessions import exchange_calendar

if TYPE_CHECKING:
    from ldtm_assets.training.progress import TrainingReporter


class RunFailed(LdtmError):
    """A Dagster run ended as failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRun:
    """A job, the range of its partitions, and the configuration of its step."""

    job: str
    step: str
    first_partition: str | None = None
    last_partition: str | None = None
    config: Mapping[str, str | bool | int] = field(default_factory=dict[str, str | bool | int])


class Launcher:
    """Runs jobs one after the other on one Dagster instance."""

    def __init__(self, project: Project, reporter: "TrainingReporter | None" = None) -> None:
        import dagster as dg

        from ldtm_assets.definitions import definitions_for
        from ldtm_lib.maintenance.dagster_status import GPU_POOL

        os.environ.update(dagster_environment(project))
        logging.getLogger("alembic").setLevel(logging.WARNING)
        self._definitions = definitions_for(project.settings, exchange_calendar(), reporter)
        self._instance = dg.DagsterInstance.get()
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
        from ldtm_assets.run_tags import process_tag

        run_id = str(uuid.uuid4())
        tags = process_tag(run_id)
        if job_run.first_partition and job_run.last_partition:
            tags |= partition_range(job_run.first_partition, job_run.last_partition)
        result = self._definitions.resolve_job_def(job_run.job).execute_in_process(
            instance=self._instance,
            run_id=run_id,
            tags=tags,
            raise_on_error=False,
            run_config={
                "ops": {job_run.step: {"config": dict(job_run.config)}},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )
        if not result.success:
            reasons = [event.step_failure_data.error_display_string for event in result.get_step_failure_events()]
            raise RunFailed(f"run {result.run_id} of {job_run.job} failed: {_first_lines(reasons)}")
        return result.run_id


def _first_lines(reasons: list[str]) -> str:
    return (
        "; ".join(reason.strip().split("\n\nStack Trace", 1)[0][:2000] for reason in reasons)
        or "no step gives a reason"
    )
