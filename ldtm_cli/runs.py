"""Launch runs of the project's own Dagster jobs in this process, on the same storage that the UI shows."""

import logging
import os
import uuid

import dagster as dg

from ldtm_assets.definitions import definitions_for
from ldtm_assets.partitions import partition_range
from ldtm_assets.run_tags import process_tag
from ldtm_assets.training.gpus import GPU_POOL
from ldtm_assets.training.progress import TrainingReporter
from ldtm_cli.job_run import JobRun
from ldtm_cli.services import clear_the_way, dagster_environment
from ldtm_lib.errors import LdtmError
from ldtm_lib.project import Project
from ldtm_lib.sessions import exchange_calendar


class RunFailed(LdtmError):
    """A Dagster run ended as failed."""


class Launcher:
    """Runs jobs one after the other on one Dagster instance."""

    def __init__(self, project: Project, reporter: TrainingReporter | None = None) -> None:
        os.environ.update(dagster_environment(project))
        logging.getLogger("alembic").setLevel(logging.WARNING)
        self._definitions = definitions_for(project.settings, exchange_calendar(), reporter)
        self._instance = dg.DagsterInstance.get()
        if not clear_the_way(self._instance, project):
            # an empty pool would hold the step up without a word; its lease waits too, and says for what
            self._instance.event_log_storage.set_concurrency_slots(GPU_POOL, 1)

    def __enter__(self) -> "Launcher":
        return self

    def __exit__(self, *error: object) -> None:
        self._instance.dispose()

    def run(self, wanted: JobRun) -> str:
        """Run to the end; returns the run's id. Raises RunFailed with the reason of the failed step."""
        run_id = str(uuid.uuid4())
        tags = process_tag(run_id)
        if wanted.first_partition and wanted.last_partition:
            tags |= partition_range(wanted.first_partition, wanted.last_partition)
        result = self._definitions.resolve_job_def(wanted.job).execute_in_process(
            instance=self._instance,
            run_id=run_id,
            tags=tags,
            raise_on_error=False,
            run_config={
                "ops": {wanted.step: {"config": dict(wanted.config)}},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )
        if not result.success:
            reasons = [event.step_failure_data.error_display_string for event in result.get_step_failure_events()]
            raise RunFailed(f"run {result.run_id} of {wanted.job} failed: {_first_lines(reasons)}")
        return result.run_id


def _first_lines(reasons: list[str]) -> str:
    return "; ".join(reason.strip().split("\n\nStack Trace", 1)[0][:2000] for reason in reasons) or "no step tells why"
