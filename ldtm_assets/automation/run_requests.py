"""Run requests for items of the backlog, and the reasons to skip one."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Generic, TypeVar

import dagster as dg

from ldtm_assets.automation.dead_runs import reap_dead_runs
from ldtm_assets.jobs import DAILY_JOB, NO_RETRIES
from ldtm_assets.partitions import all_tickers_of, requested_corners
from ldtm_assets.run_tags import CONCURRENCY_GROUP_TAG, DAILY_RUN_TAG, UNFINISHED
from ldtm_lib.daily_run.attempts import newest_attempt_at
from ldtm_lib.daily_run.backlog import BacklogItem, wait
from ldtm_lib.daily_run.loaded_settings import effective_settings, settings_changed
from ldtm_lib.database.connection import Connection
from ldtm_lib.ledger.service import not_in_service
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings
from ldtm_lib.wording import moment_text

Found = TypeVar("Found")
SCHEDULE_GRACE = timedelta(minutes=5)
"""Time for which a daily run is left to its schedule; later, the catch-up requests it."""
MAX_TRAINING_TIME = timedelta(hours=4)
"""`run_monitoring.max_runtime_seconds` of dagster.yaml."""
MAX_RANGES = 5
"""Contiguous ranges of tickers that become one run each; with more ranges, one run covers them all."""
NUM_NEWEST_RUNS = 10
"""Number of newest runs among which the ones that died before their first attempt are counted."""
SNAPSHOTS = dg.AssetKey("snapshots")
TIME_TO_QUEUE = timedelta(minutes=5)
"""Longest time that a new run may take to enter the queue; an older one was left behind by a daemon that died."""
AUTOMATION_TAGS = NO_RETRIES | {"dagster/max_runtime": "3600", "dagster/priority": "1"}
"""Tags of requested daily runs: a run that hangs is ended after an hour, and runs leave the queue before trainings."""


def schedule_status(settings: Settings) -> dg.DefaultScheduleStatus:
    """The default status of schedules that launch runs: on with `automation.enabled`, else until started in the UI."""
    return dg.DefaultScheduleStatus.RUNNING if settings.automation.enabled else dg.DefaultScheduleStatus.STOPPED


def sensor_status(settings: Settings) -> dg.DefaultSensorStatus:
    """The default status of sensors that launch runs."""
    return dg.DefaultSensorStatus.RUNNING if settings.automation.enabled else dg.DefaultSensorStatus.STOPPED


def project_as_loaded(project: Callable[[], Project], held: Settings) -> Project | dg.SkipReason:
    """The project with the effective settings (see `effective_settings`), or the reason why no run is launched."""
    opened = project()
    present = effective_settings(held, opened.settings)
    if present is None:
        return dg.SkipReason(settings_changed(held, opened.settings))
    return replace(opened, settings=present)


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled(Generic[Found]):
    """The state of an installation at one tick of a sensor."""

    project: Project
    """With the effective settings."""
    moment: datetime
    found: Found


def poll(
    project: Callable[[], Project],
    held: Settings,
    clock: Callable[[Connection], datetime],
    read: Callable[[Connection, Project, datetime], Found],
) -> Polled[Found] | dg.SkipReason:
    """Findings of `read` in the database, in one transaction, or the reason why no run is launched."""
    opened = project_as_loaded(project, held)
    if isinstance(opened, dg.SkipReason):
        return opened
    with opened.database.transaction() as conn:
        moment = clock(conn)
        return Polled(project=opened, moment=moment, found=read(conn, opened, moment))


def request_run(
    item: BacklogItem,
    instance: dg.DagsterInstance,
    conn: Connection,
    settings: Settings,
    calendar: Calendar,
    moment: datetime,
) -> dg.RunRequest | dg.SkipReason:
    """The run request for an item, or the reason to skip it now."""
    if reason := reason_to_skip(item, instance, conn, settings, calendar, moment):
        return reason
    waiting = not_in_service(conn, settings.tickers, item.sessions[0])
    return run_request(item, settings, calendar, moment, waiting)


def run_request(
    item: BacklogItem, settings: Settings, calendar: Calendar, moment: datetime, waiting: Collection[str] = ()
) -> dg.RunRequest:
    """The run request for an item, or for the first contiguous range of its tickers.

    When a run fails, Dagster marks every partition of its range as failed, also complete ones that the run left alone.
    So an item becomes one run per contiguous range of tickers; only when there are many ranges, or sessions alone are
    partitions, one run covers all of them, and its configuration names the tickers. The run waits for a training under
    way, unless the training could outlast the time until the next open. `waiting` are tickers that are not in service:
    they do not divide a range, and the run leaves them out.
    """
    first, last = item.sessions[0], item.sessions[-1]
    whole = set(item.tickers) | set(waiting)
    is_whole = all(set(settings.tickers_on(session)) <= whole for session in item.sessions)
    ranges = [list(settings.tickers)] if is_whole else contiguous(settings.tickers, item.tickers)
    only: Mapping[str, object] = {}
    tickers = ranges[0]
    if len(ranges) > MAX_RANGES or (settings.partitions.by == "date" and not is_whole):
        tickers = [ticker for part in ranges for ticker in part]
        only = {"ops": {"daily_forecast": {"config": {"only": tickers}}}}
    tags = all_tickers_of(settings.partitions, first, last, tickers) | AUTOMATION_TAGS
    tags[DAILY_RUN_TAG] = last.isoformat()
    if not _open_is_near(calendar, moment):
        tags[CONCURRENCY_GROUP_TAG] = "daily_run"
    return dg.RunRequest(job_name=DAILY_JOB, tags=tags, run_config=only)


def reason_to_skip(
    item: BacklogItem,
    instance: dg.DagsterInstance,
    conn: Connection,
    settings: Settings,
    calendar: Calendar,
    moment: datetime,
) -> dg.SkipReason | None:
    """The reason to skip an item: another run is under way, or the newest runs died before their first attempt.

    Runs that would block for hours are cleared first: dead runs are reaped, and near the next open, daily runs that
    are queued behind a training are cancelled. Near the open, runs that a person started do not block either: two runs
    of one partition take turns at the tables, and the second one finds nothing to do.
    """
    reap_dead_runs(instance, dagster_is_running=True)
    is_near = _open_is_near(calendar, moment)
    cancelled = _cancel_queued_daily_runs(instance) if is_near else []
    for run in [*instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)), *_not_yet_queued(instance, moment)]:
        if DAILY_RUN_TAG in run.tags or (not is_near and _overlaps(run, item, settings)):
            return dg.SkipReason(f"run {run.run_id} of daily_job is {run.status.value.lower()}")
    records = instance.get_run_records(dg.RunsFilter(job_name=DAILY_JOB), limit=NUM_NEWEST_RUNS)
    attempted_at = newest_attempt_at(conn)
    died = [
        record
        for record in records
        if DAILY_RUN_TAG in record.dagster_run.tags
        and record.dagster_run.run_id not in cancelled
        and (attempted_at is None or record.create_timestamp > attempted_at)
    ]
    if not died:
        return None
    retry_at = died[0].create_timestamp + wait(len(died), settings.automation)
    if moment >= retry_at:
        return None
    what = (
        "the newest run of daily_job ended before its first attempt"
        if len(died) == 1
        else f"the newest {len(died)} runs of daily_job ended before their first attempt"
    )
    return dg.SkipReason(f"{what}; the next one is requested at {moment_text(retry_at)}")


def _open_is_near(calendar: Calendar, moment: datetime) -> bool:
    """True if waiting for a training could make the forecasts of the newest closed session late."""
    opens_at = calendar.opens_at(calendar.offset(calendar.last_closed(moment), 1))
    return moment < opens_at < moment + 2 * MAX_TRAINING_TIME


def _not_yet_queued(instance: dg.DagsterInstance, moment: datetime) -> Sequence[dg.DagsterRun]:
    created = dg.RunsFilter(statuses=[dg.DagsterRunStatus.NOT_STARTED], created_after=moment - TIME_TO_QUEUE)
    return instance.get_runs(created)


def _cancel_queued_daily_runs(instance: dg.DagsterInstance) -> list[str]:
    """Cancel the daily runs that are queued behind a training; returns their ids."""
    waiting = instance.get_runs(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED], tags={CONCURRENCY_GROUP_TAG: "daily_run"})
    )
    for run in waiting:
        instance.run_coordinator.cancel_run(run.run_id)
    return [run.run_id for run in waiting]


def _overlaps(run: dg.DagsterRun, item: BacklogItem, settings: Settings) -> bool:
    """True if a run that a person started makes forecasts of some of the same partitions."""
    selection, requested = run.asset_selection, requested_corners(run.tags, settings.tickers)
    makes_forecasts = SNAPSHOTS in selection if selection else run.job_name == DAILY_JOB
    if requested is None or not makes_forecasts:
        return False
    first, last = requested
    if last.session < item.sessions[0] or item.sessions[-1] < first.session:
        return False
    places = {ticker: place for place, ticker in enumerate(settings.tickers)}
    ends = places.get(first.ticker, 0), places.get(last.ticker, len(places))
    return any(ends[0] <= places[ticker] <= ends[1] for ticker in item.tickers)


def contiguous(names: Sequence[str], chosen: Sequence[str]) -> list[list[str]]:
    """The chosen names in ranges without a gap, in the order of all names."""
    parts: list[list[str]] = [[]]
    wanted = set(chosen)
    for name in names:
        if name in wanted:
            parts[-1].append(name)
        elif parts[-1]:
            parts.append([])
    return [part for part in parts if part]
