"""The sensor that watches a folder of bars: when its files have changed, tickers without a bar are retried at once.

Files that differ from one tick to the next are still being written; they count as changed once two ticks find them
equal.
"""

import json
from collections.abc import Callable
from datetime import datetime

import dagster as dg

from ldtm_assets.automation.run_requests import project_as_loaded, request_run, sensor_status
from ldtm_assets.jobs import DAILY_JOB
from ldtm_lib.daily_run.backlog import next_backlog_item
from ldtm_lib.daily_run.pending_partitions import pending_partitions
from ldtm_lib.daily_run.source_folder import folder_signature
from ldtm_lib.database.clock import now
from ldtm_lib.database.connection import Connection
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings
from ldtm_lib.wording import moment_text

POLL_SECONDS = 30


def new_bars_sensor(
    project: Callable[[], Project],
    settings: Settings,
    calendar: Calendar,
    clock: Callable[[Connection], datetime] = now,
) -> dg.SensorDefinition:
    """The sensor of an installation that reads bars from files."""
    folder = settings.path.parent / settings.source.folder

    @dg.sensor(
        name="new_bars_sensor",
        job_name=DAILY_JOB,
        minimum_interval_seconds=POLL_SECONDS,
        default_status=sensor_status(settings),
        description="Retries tickers that wait for their bar as soon as the files of bars have changed.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        opened = project_as_loaded(project, settings)
        if isinstance(opened, dg.SkipReason):
            return opened
        signature = folder_signature(folder)
        seen = json.loads(context.cursor) if context.cursor else {}
        if signature != seen.get("signature"):
            context.update_cursor(json.dumps({"signature": signature, "changed_at": None}))
            return dg.SkipReason("the files have changed; waiting for files that are still being written")
        with opened.database.transaction() as conn:
            moment = clock(conn)
            if seen["changed_at"] is None:
                seen["changed_at"] = moment.isoformat()
                context.update_cursor(json.dumps(seen))
            changed_at = datetime.fromisoformat(seen["changed_at"])
            waiting = [
                partition
                for partition in pending_partitions(conn, opened.settings, calendar, moment)
                if partition.reason is not None and partition.last_attempt_at and partition.last_attempt_at < changed_at
            ]
            item = next_backlog_item(
                waiting, calendar=calendar, moment=moment, config=opened.settings.automation, news_at=changed_at
            )
            if item is None:
                return dg.SkipReason(f"no ticker waits for the files changed at {moment_text(changed_at)}")
            return request_run(item, context.instance, conn, opened.settings, calendar, moment)

    return sensor
