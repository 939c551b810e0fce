"""From an item to a run: what is asked of Dagster, and when it is better not to ask."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import dagster as dg

from ldtm_assets.automation.dead_runs import reap_dead_runs
from ldtm_assets.jobs import AUTOMATION_TAGS, CONCURRENCY_GROUP_TAG, DAILY_JOB, DAILY_RUN_TAG, UNFINISHED
from ldtm_assets.partitions import all_tickers_of, corners_asked_for
from ldtm_lib.daily_run.attempts import newest_attempt_at
from ldtm_lib.daily_run.backlog import BacklogItem, wait
from ldtm_lib.daily_run.loaded_settings import effective_settings, settings_changed
from ldtm_lib.database.connection import Connection
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings

SCHEDULE_GRACE = timedelta(minutes=5)
"""How long an evening is left to its schedule; a tick that comes later is left to the catch-up."""
TRAINING_TAKES_AT_MOST = timedelta(hours=4)
"""`run_monitoring.max_runtime_seconds` of dagster.yaml."""
NUM_LOOKED_AT = 10
MOST_STRETCHES = 5
"""Stretches of tickers side by side that are as many runs; more are one."""
SNAPSHOTS = dg.AssetKey("snapshots")
JUST_MADE = timedelta(minutes=5)
"""How long a run may not be in the queue yet; one that is older was left behind by a daemon that died."""


def project_as_loaded(project: Callable[[], Project], held: Settings) -> Project | dg.SkipReason:
    """The project with the settings by which runs are launched (see `effective_settings`), or why none is."""
    opened = project()
    present = effective_settings(held, opened.settings)
    if present is None:
        return dg.SkipReason(settings_changed(held, opened.settings))
    return replace(opened, settings=present)


def launched(
    item: BacklogItem,
    instance: dg.DagsterInstance,
    conn: Connection,
    settings: Settings,
    calendar: Calendar,
    moment: datetime,
) -> dg.RunRequest | dg.SkipReason:
    """A run for an item, or why there should be none now."""
    why_not = why_not_now(item, instance, conn, settings, calendar, moment)
    return why_not or run_for(item, settings, calendar, moment)


def run_for(item: BacklogItem, settings: Settings, calendar: Calendar, moment: datetime) -> dg.RunRequest:
    """One run that makes an item, or the first part of it: tickers that stand side by side among the partitions.

    Dagster takes every partition of a range for failed when its run fails, those too that were whole and left alone.
    Only where an item has many parts, one run has them all, and leaves out by configuration what is not meant.
    The run waits for a training that runs, but not where the training could outlast the time until the next open.
    """
    first, last = item.sessions[0], item.sessions[-1]
    is_whole = all(set(settings.tickers_on(session)) == set(item.tickers) for session in item.sessions)
    stretches = [list(settings.tickers)] if is_whole else _side_by_side(settings.tickers, item.tickers)
    only: Mapping[str, object] = {}
    tickers = stretches[0]
    if len(stretches) > MOST_STRETCHES:
        tickers = [ticker for stretch in stretches for ticker in stretch]
        only = {"ops": {"daily_forecast": {"config": {"only": tickers}}}}
    tags = all_tickers_of(first, last, tickers) | AUTOMATION_TAGS | {DAILY_RUN_TAG: last.isoformat()}
    if not _open_is_near(calendar, moment):
        tags[CONCURRENCY_GROUP_TAG] = "daily_run"
    return dg.RunRequest(job_name=DAILY_JOB, tags=tags, run_config=only)


def why_not_now(
    item: BacklogItem,
    instance: dg.DagsterInstance,
    conn: Connection,
    settings: Settings,
    calendar: Calendar,
    moment: datetime,
) -> dg.SkipReason | None:
    """Why an item should not be run: one is on its way, or the newest ones died before they noted an attempt.

    Runs that would block for hours are cleared first: dead runs are reaped, and near the next open, daily runs that
    are queued behind a training are cancelled. Near the open, runs that a person started do not block either: two runs
    of one partition take turns at the tables, and the second one finds nothing to do.
    """
    reap_dead_runs(instance, dagster_is_running=True)
    is_near = _open_is_near(calendar, moment)
    gave_way = _make_room(instance) if is_near else []
    for run in [*instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)), *_just_made(instance, moment)]:
        if DAILY_RUN_TAG in run.tags or (not is_near and _meet(run, item, settings)):
            return dg.SkipReason(f"run {run.run_id} of an evening is {run.status.value.lower()}")
    records = instance.get_run_records(dg.RunsFilter(job_name=DAILY_JOB), limit=NUM_LOOKED_AT)
    attempted_at = newest_attempt_at(conn)
    died = [
        record
        for record in records
        if DAILY_RUN_TAG in record.dagster_run.tags
        and record.dagster_run.run_id not in gave_way
        and (attempted_at is None or record.create_timestamp > attempted_at)
    ]
    if not died:
        return None
    again_at = died[0].create_timestamp + wait(len(died), settings.automation)
    if moment >= again_at:
        return None
    return dg.SkipReason(
        f"the newest runs of an evening, {len(died)} of them, ended before they began to work; "
        f"the next one comes at {again_at:%Y-%m-%d %H:%M:%S} UTC"
    )


def _open_is_near(calendar: Calendar, moment: datetime) -> bool:
    """Whether a training that goes first could make the forecasts of the newest closed session late."""
    opens_at = calendar.opens_at(calendar.offset(calendar.last_closed(moment), 1))
    return moment < opens_at < moment + 2 * TRAINING_TAKES_AT_MOST


def _just_made(instance: dg.DagsterInstance, moment: datetime) -> Sequence[dg.DagsterRun]:
    made = dg.RunsFilter(statuses=[dg.DagsterRunStatus.NOT_STARTED], created_after=moment - JUST_MADE)
    return instance.get_runs(made)


def _make_room(instance: dg.DagsterInstance) -> list[str]:
    """Take the evenings out of the queue that wait there for their turn; returns their ids."""
    waiting = instance.get_runs(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED], tags={CONCURRENCY_GROUP_TAG: "daily_run"})
    )
    for run in waiting:
        instance.run_coordinator.cancel_run(run.run_id)
    return [run.run_id for run in waiting]


def _meet(run: dg.DagsterRun, item: BacklogItem, settings: Settings) -> bool:
    """Whether a run that somebody started makes forecasts of some of the same partitions."""
    chosen, asked = run.asset_selection, corners_asked_for(run.tags)
    makes_forecasts = SNAPSHOTS in chosen if chosen else run.job_name == DAILY_JOB
    if asked is None or not makes_forecasts:
        return False
    first, last = asked
    if last.session < item.sessions[0] or item.sessions[-1] < first.session:
        return False
    places = {ticker: place for place, ticker in enumerate(settings.tickers)}
    ends = places.get(first.ticker, 0), places.get(last.ticker, len(places))
    return any(ends[0] <= places[ticker] <= ends[1] for ticker in item.tickers)


def _side_by_side(names: Sequence[str], chosen: Sequence[str]) -> list[list[str]]:
    """The chosen ones of some names, in parts that have no gap."""
    parts: list[list[str]] = [[]]
    for name in names:
        if name in chosen:
            parts[-1].append(name)
        elif parts[-1]:
            parts.append([])
    return [part for part in parts if part]
