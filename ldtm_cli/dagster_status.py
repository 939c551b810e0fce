"""How Dagster is doing: whether it runs, what it launches next, what is stopped, and who holds the GPU's slots."""

import os
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg
from dagster._core.scheduler.instigation import TickStatus
from dagster._utils.schedules import schedule_execution_time_iterator as cron_ticks
from dagster_shared.error import DagsterError
from sqlalchemy.exc import SQLAlchemyError

from ldtm_assets.dead_runs import HEARTBEAT_SECONDS
from ldtm_assets.definitions import definitions_for
from ldtm_assets.freshness_checks import FRESHNESS_JOB
from ldtm_assets.gpus import GPU_POOL
from ldtm_assets.jobs import EVENING_JOB
from ldtm_cli.services import dagster_environment, running_dagster
from ldtm_lib.errors import DatabaseUnavailable
from ldtm_lib.evenings.open_cells import NEW_YORK
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar

ON_SESSIONS_ONLY = (EVENING_JOB, FRESHNESS_JOB)
"""Jobs whose schedules let holidays pass."""
UNDER_WAY = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
OVER = [TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.FAILURE]
WAITING = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.QUEUED]


@dataclass(frozen=True, slots=True, kw_only=True)
class NextTick:
    """When a schedule will launch something."""

    schedule: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DagsterStatus:
    """What Dagster's own storage says at a moment."""

    is_alive: bool
    """Whether a daemon has been heard of just now."""
    pages: str | None
    """Where the pages of this configuration are; None when `ldtm up` did not start them."""
    next_ticks: tuple[NextTick, ...]
    """Of the schedules that are on, the soonest first."""
    stopped: tuple[str, ...]
    """Schedules and sensors that are off."""
    failing: tuple[tuple[str, str], ...]
    """Schedules and sensors that are on and failed when they last looked, and why."""
    running: tuple[str, ...]
    """Jobs under way."""
    num_queued: int
    gpu_slots: int | None
    """Trainings that may run at once; None before the pool was ever set."""
    gpu_slots_held: int
    num_waiting_for_gpu: int


def dagster_status(project: Project, calendar: Calendar, moment: datetime) -> DagsterStatus:
    """Ask Dagster's storage, and the definitions of this configuration for what is on by default.

    Raises DatabaseUnavailable where the storage lacks a table, or does not answer.
    """
    try:
        return _ask(project, calendar, moment)
    except (SQLAlchemyError, DagsterError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DatabaseUnavailable(f"Dagster's storage cannot be read: {reason}; `ldtm doctor` looks closer") from error


def _ask(project: Project, calendar: Calendar, moment: datetime) -> DagsterStatus:
    os.environ.update(dagster_environment(project))
    definitions = definitions_for(project.settings, calendar)
    schedules = [s for s in definitions.schedules or () if isinstance(s, dg.ScheduleDefinition)]
    sensors = list(definitions.sensors or ())
    running = running_dagster(project)
    with dg.DagsterInstance.get() as instance:
        off = _stopped(instance, schedules, sensors)
        ticks = [_next_tick(schedule, calendar, moment) for schedule in schedules if schedule.name not in off]
        pool = instance.event_log_storage.get_concurrency_info(GPU_POOL)
        has_limit = any(p.name == GPU_POOL for p in instance.event_log_storage.get_pool_limits())
        beats = [beat.timestamp for beat in instance.get_daemon_heartbeats().values()]
        return DagsterStatus(
            is_alive=any(time.time() - beat < HEARTBEAT_SECONDS for beat in beats),
            pages=running.address if running else None,
            next_ticks=tuple(sorted(ticks, key=lambda tick: tick.at)),
            stopped=tuple(off),
            failing=tuple(_failing(instance, {each.name for each in (*schedules, *sensors)} - {*off})),
            running=tuple(run.job_name for run in instance.get_runs(dg.RunsFilter(statuses=UNDER_WAY))),
            num_queued=instance.get_runs_count(dg.RunsFilter(statuses=WAITING)),
            gpu_slots=pool.slot_count if has_limit else None,
            gpu_slots_held=pool.active_slot_count,
            num_waiting_for_gpu=pool.pending_step_count,
        )


def _stopped(
    instance: dg.DagsterInstance, schedules: Sequence[dg.ScheduleDefinition], sensors: Sequence[dg.SensorDefinition]
) -> list[str]:
    """The names of what is off: by a person in the pages, or where nobody said anything by default."""
    said = {state.instigator_name: state.status.value for state in instance.all_instigator_state()}
    known = {each.name: each.default_status.value for each in (*schedules, *sensors)}
    return [name for name, default in known.items() if _decided(said.get(name), default) == "STOPPED"]


def _failing(instance: dg.DagsterInstance, names: Collection[str]) -> Iterator[tuple[str, str]]:
    """Those of some schedules and sensors whose newest tick that is over failed, with the error's first line."""
    for state in instance.all_instigator_state():
        if state.instigator_name in names:
            ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1, statuses=OVER)
            if ticks and ticks[0].status == TickStatus.FAILURE:
                error = ticks[0].error
                while error is not None and error.cause is not None:
                    error = error.cause
                yield (
                    state.instigator_name,
                    error.message.strip().splitlines()[0] if error else "no reason is on record",
                )


def _decided(said: str | None, default: str) -> str:
    """What a person said in the pages counts; what Dagster noted of the default itself is no word of a person."""
    return said if said in ("RUNNING", "STOPPED") else default


def _next_tick(schedule: dg.ScheduleDefinition, calendar: Calendar, moment: datetime) -> NextTick:
    """The next moment at which a schedule launches something; holidays are none where it skips them."""
    for tick in cron_ticks(moment.timestamp(), schedule.cron_schedule, schedule.execution_timezone):
        if schedule.job_name not in ON_SESSIONS_ONLY or calendar.is_session(tick.astimezone(NEW_YORK).date()):
            return NextTick(schedule=schedule.name, at=tick.astimezone(UTC))
    raise AssertionError("a cron schedule has no end")
