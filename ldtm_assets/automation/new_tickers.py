"""The sensor that trains new tickers, since a ticker enters service only after the gate's first verdict on it."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import dagster as dg

from ldtm_assets.automation.dead_runs import reap_dead_runs
from ldtm_assets.automation.run_requests import contiguous, poll, sensor_status
from ldtm_assets.jobs import PRICE_HISTORY_JOB, RETRAINING_JOB, price_history_job, retraining_job
from ldtm_assets.partitions import partition_range
from ldtm_assets.run_tags import CONCURRENCY_GROUP_TAG, RETRAINING_GROUP, UNFINISHED
from ldtm_lib.database.clock import now
from ldtm_lib.database.connection import Connection
from ldtm_lib.ledger.service import NewTicker, new_tickers
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings
from ldtm_lib.wording import named

POLL_SECONDS = 60
RETRY_AFTER = timedelta(hours=1)
"""Time after which the same job is requested again for the same tickers."""


def new_tickers_sensor(
    project: Callable[[], Project],
    settings: Settings,
    calendar: Calendar,
    clock: Callable[[Connection], datetime] = now,
) -> dg.SensorDefinition:
    """The sensor that loads the history of new tickers and trains them, so that they enter service."""

    @dg.sensor(
        name="new_tickers_sensor",
        jobs=[price_history_job, retraining_job],
        minimum_interval_seconds=POLL_SECONDS,
        default_status=sensor_status(settings),
        description="Loads the price history of new tickers and trains them soon after they join the universe.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        polled = poll(
            project,
            settings,
            clock,
            lambda conn, opened, moment: new_tickers(conn, opened.settings, calendar, moment),
        )
        if isinstance(polled, dg.SkipReason):
            return polled
        waiting, moment = polled.found, polled.moment
        if not waiting:
            return dg.SkipReason("every ticker is in service, or has a verdict and enters it with the next session")
        reap_dead_runs(context.instance, dagster_is_running=True)
        for run in context.instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
            if run.job_name == PRICE_HISTORY_JOB or CONCURRENCY_GROUP_TAG in run.tags:
                return dg.SkipReason(f"{_named(waiting)}; waiting for run {run.run_id} of {run.job_name}")
        requested = _recent(json.loads(context.cursor or "{}"), moment)
        for job, tickers in (
            (PRICE_HISTORY_JOB, [ticker.name for ticker in waiting if not ticker.has_history]),
            (RETRAINING_JOB, [ticker.name for ticker in waiting if ticker.has_history]),
        ):
            work = f"{job} of {' '.join(tickers)}"
            if tickers and work not in requested:
                context.update_cursor(json.dumps({**requested, work: moment.isoformat()}))
                return [_request(job, names) for names in contiguous(polled.project.settings.tickers, tickers)]
        return dg.SkipReason(
            f"{_named(waiting)}; their history or training was requested less than "
            f"{RETRY_AFTER // timedelta(hours=1)} h ago"
        )

    return sensor


def _request(job: str, tickers: Sequence[str]) -> dg.RunRequest:
    tags = partition_range(tickers[0], tickers[-1]) | {CONCURRENCY_GROUP_TAG: RETRAINING_GROUP}
    return dg.RunRequest(job_name=job, tags=tags)


def _recent(requested: dict[str, str], moment: datetime) -> dict[str, str]:
    """The requests that are younger than RETRY_AFTER, by job and tickers."""
    return {work: at for work, at in requested.items() if moment < datetime.fromisoformat(at) + RETRY_AFTER}


def _named(waiting: Sequence[NewTicker]) -> str:
    return f"{len(waiting)} not in service: {named([ticker.name for ticker in waiting])}"
