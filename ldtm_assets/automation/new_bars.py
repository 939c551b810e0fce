"""What watches a folder of bars: when its files have changed, what waits for them is tried at once.

Files that differ from one look to the next are still being written; they are news once two looks find them alike.
"""

import json
from collections.abc import Callable
from datetime import datetime

import dagster as dg

from ldtm_assets.automation.default_status import sensor_status
from ldtm_assets.automation.run_requests import launched, project_in_force
from ldtm_assets.jobs import EVENING_JOB
from ldtm_lib.daily_run.backlog import next_errand
from ldtm_lib.daily_run.pending_partitions import open_cells
from ldtm_lib.daily_run.source_folder import folder_signature
from ldtm_lib.database.clock import now
from ldtm_lib.database.connection import Connection
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings

SECONDS_BETWEEN_LOOKS = 30


def new_bars_sensor(
    project: Callable[[], Project],
    settings: Settings,
    calendar: Calendar,
    clock: Callable[[Connection], datetime] = now,
) -> dg.SensorDefinition:
    """The sensor of an installation whose bars come as files."""
    folder = settings.path.parent / settings.source.folder

    @dg.sensor(
        name="new_bars_sensor",
        job_name=EVENING_JOB,
        minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
        default_status=sensor_status(settings),
        description="When the files of bars have changed, tries the tickers at once that wait for their bar.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        opened = project_in_force(project, settings)
        if isinstance(opened, dg.SkipReason):
            return opened
        signature = folder_signature(folder)
        seen = json.loads(context.cursor) if context.cursor else {}
        if signature != seen.get("signature"):
            context.update_cursor(json.dumps({"signature": signature, "changed_at": None}))
            return dg.SkipReason(
                "the files have changed since the last look; what is still being written is waited for"
            )
        with opened.database.transaction() as conn:
            moment = clock(conn)
            if seen["changed_at"] is None:
                seen["changed_at"] = moment.isoformat()
                context.update_cursor(json.dumps(seen))
            changed_at = datetime.fromisoformat(seen["changed_at"])
            cells = [cell for cell in open_cells(conn, opened.settings, calendar, moment) if cell.reason is not None]
            waiting = [cell for cell in cells if cell.last_attempt_at and cell.last_attempt_at < changed_at]
            errand = next_errand(
                waiting, calendar=calendar, moment=moment, config=opened.settings.automation, news_at=changed_at
            )
            if errand is None:
                return dg.SkipReason(f"nothing waits for the files of {changed_at:%Y-%m-%d %H:%M:%S} UTC")
            return launched(errand, context.instance, conn, opened.settings, calendar, moment)

    return sensor
