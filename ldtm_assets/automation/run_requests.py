"""From an errand to a run: what is asked of Dagster, and when it is better not to ask."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import dagster as dg

from ldtm_assets.automation.dead_runs import bury_dead_runs
from ldtm_assets.jobs import EVENING_JOB, EVENING_TAG, OF_AUTOMATION, TURN_TAG, UNFINISHED
from ldtm_assets.partitions import all_tickers_of, corners_asked_for
from ldtm_lib.daily_run.attempts import newest_attempt_at
from ldtm_lib.daily_run.backlog import Errand, wait
from ldtm_lib.daily_run.loaded_settings import in_force, settings_changed
from ldtm_lib.database.connection import Connection
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings

SCHEDULE_GOES_FIRST = timedelta(minutes=5)
"""How long an evening is left to its schedule; a tick that comes later is left to the catch-up."""
TRAINING_TAKES_AT_MOST = timedelta(hours=4)
"""`run_monitoring.max_runtime_seconds` of dagster.yaml."""
NUM_LOOKED_AT = 10
MOST_STRETCHES = 5
"""Stretches of tickers side by side that are as many runs; more are one."""
SNAPSHOTS = dg.AssetKey("snapshots")
JUST_MADE = timedelta(minutes=5)
"""How long a run may not be in the queue yet; one that is older was left behind by a daemon that died."""


def project_in_force(project: Callable[[], Project], held: Settings) -> Project | dg.SkipReason:
    """The project with the settings by which runs are launched (see `in_force`), or why none is."""
    opened = project()
    present = in_force(held, opened.settings)
    if present is None:
        return dg.SkipReason(settings_changed(held, opened.settings))
    return replace(opened, settings=present)


def launched(
    errand: Errand,
    instance: dg.DagsterInstance,
    conn: Connection,
    settings: Settings,
    calendar: Calendar,
    moment: datetime,
) -> dg.RunRequest | dg.SkipReason:
    """A run for an errand, or why there should be none now."""
    why_not = why_not_now(errand, instance, conn, settings, calendar, moment)
    return why_not or run_for(errand, settings, calendar, moment)


def run_for(errand: Errand, settings: Settings, calendar: Calendar, moment: datetime) -> dg.RunRequest:
    """One run that makes an errand, or the first part of it: tickers that stand side by side among the partitions.

    Dagster takes every partition of a range for failed when its run fails, those too that were whole and left alone.
    Only where an errand has many parts, one run has them all, and leaves out by configuration what is not meant.
    The run waits for a training that runs, but not where the training could outlast the time until the next open.
    """
    first, last = errand.sessions[0], errand.sessions[-1]
    is_whole = all(set(settings.tickers_on(session)) == set(errand.tickers) for session in errand.sessions)
    stretches = [list(settings.tickers)] if is_whole else _side_by_side(settings.tickers, errand.tickers)
    only: Mapping[str, object] = {}
    tickers = stretches[0]
    if len(stretches) > MOST_STRETCHES:
        tickers = [ticker for stretch in stretches for ticker in stretch]
        only = {"ops": {"evening": {"config": {"only": tickers}}}}
    tags = all_tickers_of(first, last, tickers) | OF_AUTOMATION | {EVENING_TAG: last.isoformat()}
    if not _open_is_near(calendar, moment):
        tags[TURN_TAG] = "evening"
    return dg.RunRequest(job_name=EVENING_JOB, tags=tags, run_config=only)


def why_not_now(
    errand: Errand,
    instance: dg.DagsterInstance,
    conn: Connection,
    settings: Settings,
    calendar: Calendar,
    moment: datetime,
) -> dg.SkipReason | None:
    """Why an errand should not be run: one is on its way, or the newest ones died before they noted an attempt.

    Runs that would stand in the way for hours make room first: those whose process is gone are buried, and those that
    stand in the queue to let a training go first are taken out of it when the next open is near. Then nobody waits for
    what a person has started either, which may last for hours: two runs of one cell take turns at the tables, and the
    second one finds nothing to do.
    """
    bury_dead_runs(instance, dagster_is_running=True)
    is_near = _open_is_near(calendar, moment)
    gave_way = _make_room(instance) if is_near else []
    for run in [*instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)), *_just_made(instance, moment)]:
        if EVENING_TAG in run.tags or (not is_near and _meet(run, errand, settings)):
            return dg.SkipReason(f"run {run.run_id} of an evening is {run.status.value.lower()}")
    records = instance.get_run_records(dg.RunsFilter(job_name=EVENING_JOB), limit=NUM_LOOKED_AT)
    attempted_at = newest_attempt_at(conn)
    died = [
        record
        for record in records
        if EVENING_TAG in record.dagster_run.tags
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
    waiting = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED], tags={TURN_TAG: "evening"}))
    for run in waiting:
        instance.run_coordinator.cancel_run(run.run_id)
    return [run.run_id for run in waiting]


def _meet(run: dg.DagsterRun, errand: Errand, settings: Settings) -> bool:
    """Whether a run that somebody started makes forecasts of some of the same cells."""
    chosen, asked = run.asset_selection, corners_asked_for(run.tags)
    makes_forecasts = SNAPSHOTS in chosen if chosen else run.job_name == EVENING_JOB
    if asked is None or not makes_forecasts:
        return False
    first, last = asked
    if last.session < errand.sessions[0] or errand.sessions[-1] < first.session:
        return False
    places = {ticker: place for place, ticker in enumerate(settings.tickers)}
    ends = places.get(first.ticker, 0), places.get(last.ticker, len(places))
    return any(ends[0] <= places[ticker] <= ends[1] for ticker in errand.tickers)


def _side_by_side(names: Sequence[str], chosen: Sequence[str]) -> list[list[str]]:
    """The chosen ones of some names, in parts that have no gap."""
    parts: list[list[str]] = [[]]
    for name in names:
        if name in chosen:
            parts[-1].append(name)
        elif parts[-1]:
            parts.append([])
    return [part for part in parts if part]
