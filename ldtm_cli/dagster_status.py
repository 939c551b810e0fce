"""Status of Dagster: daemons, next ticks, stopped and failing automation, and the slots of the GPU pool."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg
from dagster._utils.schedules import schedule_execution_time_iterator as cron_ticks
from dagster_shared.error import DagsterError
from sqlalchemy.exc import SQLAlchemyError

from ldtm_assets.alerting.health_checks import failure_of, newest_ticks, stopped
from ldtm_assets.automation.heartbeat import REQUIRED_DAEMONS, silent_daemons
from ldtm_assets.definitions import definitions_for
from ldtm_assets.jobs import DAILY_JOB, FRESHNESS_JOB
from ldtm_assets.training.gpus import GPU_POOL
from ldtm_cli.services import dagster_environment, running_dagster
from ldtm_lib.daily_run.pending_partitions import NEW_YORK
from ldtm_lib.errors import DatabaseUnavailable
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar

ON_SESSIONS_ONLY = (DAILY_JOB, FRESHNESS_JOB)
"""Jobs whose schedules let holidays pass."""
UNDER_WAY = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


@dataclass(frozen=True, slots=True, kw_only=True)
class NextTick:
    """The next time at which a schedule launches something."""

    schedule: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DagsterStatus:
    """Status of Dagster at a moment, by its own storage."""

    is_alive: bool
    """Whether every required daemon has sent a heartbeat just now."""
    silent: tuple[str, ...]
    """Tasks of the daemons without a heartbeat."""
    ui_url: str | None
    """Address of the UI of this configuration; None when `ldtm up` did not start it."""
    next_ticks: tuple[NextTick, ...]
    """Next ticks of the schedules that are on, the soonest first."""
    stopped: tuple[str, ...]
    """Schedules and sensors that are off."""
    failing: tuple[tuple[str, str], ...]
    """Schedules and sensors that are on and whose last tick failed, with the reason."""
    running: tuple[str, ...]
    """Jobs under way."""
    num_queued: int
    gpu_slots: int | None
    """Trainings that may run at once; None before the limit of the pool was first set."""
    gpu_slots_held: int
    num_waiting_for_gpu: int

    @property
    def runs_in_part(self) -> bool:
        """Whether some required daemons run and others do not."""
        return 0 < len(self.silent) < len(REQUIRED_DAEMONS)


def dagster_status(project: Project, calendar: Calendar, moment: datetime) -> DagsterStatus:
    """Query Dagster's storage, and the definitions of this configuration for the default states.

    Raises DatabaseUnavailable where the storage lacks a table, or does not answer.
    """
    try:
        return _read(project, calendar, moment)
    except (SQLAlchemyError, DagsterError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DatabaseUnavailable(f"Dagster's storage cannot be read: {reason}; `ldtm doctor` checks it") from error


def _read(project: Project, calendar: Calendar, moment: datetime) -> DagsterStatus:
    os.environ.update(dagster_environment(project))
    definitions = definitions_for(project.settings, calendar)
    schedules = [s for s in definitions.schedules or () if isinstance(s, dg.ScheduleDefinition)]
    sensors = list(definitions.sensors or ())
    running = running_dagster(project)
    with dg.DagsterInstance.get() as instance:
        states = instance.all_instigator_state()
        off = stopped(states, (*schedules, *sensors))
        ticks = [_next_tick(schedule, calendar, moment) for schedule in schedules if schedule.name not in off]
        newest = newest_ticks(instance, states, {each.name for each in (*schedules, *sensors)} - {*off})
        pool = instance.event_log_storage.get_concurrency_info(GPU_POOL)
        has_limit = any(p.name == GPU_POOL for p in instance.event_log_storage.get_pool_limits())
        silent = silent_daemons(instance)
        return DagsterStatus(
            is_alive=not silent,
            silent=tuple(silent),
            ui_url=running.address if running else None,
            next_ticks=tuple(sorted(ticks, key=lambda tick: tick.at)),
            stopped=tuple(off),
            failing=tuple(
                (name, why) for name, ticks in newest.items() for tick in ticks if (why := failure_of(tick)) is not None
            ),
            running=tuple(run.job_name for run in instance.get_runs(dg.RunsFilter(statuses=UNDER_WAY))),
            num_queued=instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])),
            gpu_slots=pool.slot_count if has_limit else None,
            gpu_slots_held=pool.active_slot_count,
            num_waiting_for_gpu=pool.pending_step_count,
        )


def _next_tick(schedule: dg.ScheduleDefinition, calendar: Calendar, moment: datetime) -> NextTick:
    """The next moment at which a schedule launches something, holidays skipped where the schedule skips them."""
    for tick in cron_ticks(moment.timestamp(), schedule.cron_schedule, schedule.execution_timezone):
        if schedule.job_name not in ON_SESSIONS_ONLY or calendar.is_session(tick.astimezone(NEW_YORK).date()):
            return NextTick(schedule=schedule.name, at=tick.astimezone(UTC))
    raise AssertionError("a cron schedule has no end")
