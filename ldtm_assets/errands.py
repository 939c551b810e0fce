"""From an errand to a run: what is asked of Dagster, and when it is better not to ask."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import dagster as dg

from ldtm_assets.dead_runs import bury_dead_runs
from ldtm_assets.jobs import EVENING_ASSETS, EVENING_JOB, EVENING_TAG, TURN_TAG, UNFINISHED
from ldtm_assets.partitions import all_tickers_of
from ldtm_lib.config import Settings
from ldtm_lib.database.connection import Connection
from ldtm_lib.evenings.agenda import Errand, wait
from ldtm_lib.evenings.attempts import newest_attempt_at
from ldtm_lib.sessions import Calendar

TRAINING_TAKES_AT_MOST = timedelta(hours=4)
"""`run_monitoring.max_runtime_seconds` of dagster.yaml."""
NUM_LOOKED_AT = 10
EVENINGS = frozenset(dg.AssetKey(name) for name in EVENING_ASSETS)


def run_for(errand: Errand, settings: Settings, calendar: Calendar, moment: datetime) -> dg.RunRequest:
    """One run that makes an errand; the cells of its rectangle that are not meant are left out by configuration.

    It waits for a training that runs, but not where the training could outlast the time until the next open.
    """
    first, last = errand.sessions[0], errand.sessions[-1]
    is_whole = all(set(settings.tickers_on(session)) == set(errand.tickers) for session in errand.sessions)
    tickers = settings.tickers if is_whole else [name for name in settings.tickers if name in errand.tickers]
    tags = all_tickers_of(first, last, tickers) | {EVENING_TAG: last.isoformat()}
    if not moment < calendar.opens_at(calendar.offset(last, 1)) < moment + 2 * TRAINING_TAKES_AT_MOST:
        tags[TURN_TAG] = "evening"
    only: Mapping[str, object] = {} if is_whole else {"ops": {"evening": {"config": {"only": tickers}}}}
    return dg.RunRequest(job_name=EVENING_JOB, tags=tags, run_config=only)


def why_not_now(
    instance: dg.DagsterInstance, conn: Connection, settings: Settings, moment: datetime
) -> dg.SkipReason | None:
    """Why no evening should be launched: one is on its way, or the newest ones died before they noted an attempt.

    Runs whose process is gone are buried first: they would stand in the way for hours.
    """
    bury_dead_runs(instance, dagster_is_running=True)
    for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
        if run.job_name == EVENING_JOB or EVENINGS & (run.asset_selection or frozenset()):
            return dg.SkipReason(f"run {run.run_id} of an evening is {run.status.value.lower()}")
    records = instance.get_run_records(dg.RunsFilter(job_name=EVENING_JOB), limit=NUM_LOOKED_AT)
    attempted_at = newest_attempt_at(conn)
    died = [
        record
        for record in records
        if EVENING_TAG in record.dagster_run.tags and (attempted_at is None or record.create_timestamp > attempted_at)
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
