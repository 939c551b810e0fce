"""The sensor that catches up on missed and incomplete sessions, and the one that watches their deadlines."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import dagster as dg

from ldtm_assets.automation.loaded_code import report_loaded_code, report_of
from ldtm_assets.automation.run_requests import SCHEDULE_GRACE, project_as_loaded, request_run, sensor_status
from ldtm_assets.jobs import DAILY_JOB
from ldtm_lib.daily_run.backlog import next_backlog_item
from ldtm_lib.daily_run.deadlines import check_deadlines
from ldtm_lib.daily_run.loaded_settings import check_settings
from ldtm_lib.daily_run.pending_partitions import pending_partitions
from ldtm_lib.database.clock import now
from ldtm_lib.database.connection import Connection
from ldtm_lib.installation import code_sha256
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings
from ldtm_lib.wording import counted

POLL_SECONDS = 30
MAX_GAP = timedelta(minutes=5)
"""A longer time between two ticks counts as an outage, after which automation has just started again."""


def catch_up_sensor(
    project: Callable[[], Project],
    settings: Settings,
    calendar: Calendar,
    clock: Callable[[Connection], datetime] = now,
) -> dg.SensorDefinition:
    """The sensor that requests one daily run at a time, for the oldest incomplete sessions."""

    @dg.sensor(
        name="catch_up_sensor",
        job_name=DAILY_JOB,
        minimum_interval_seconds=POLL_SECONDS,
        default_status=sensor_status(settings),
        description="Catches up on missed sessions, retries failed tickers, and fills actuals whose bar arrived late.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        opened = project_as_loaded(project, settings)
        if isinstance(opened, dg.SkipReason):
            return opened
        with opened.database.transaction() as conn:
            moment = clock(conn)
            partitions = pending_partitions(conn, opened.settings, calendar, moment)
            item = next_backlog_item(
                partitions, calendar=calendar, moment=moment, config=opened.settings.automation, grace=SCHEDULE_GRACE
            )
            if item is None:
                waiting = f"{counted(len(partitions), 'partition is', 'partitions are')} waiting"
                return dg.SkipReason(f"nothing is due; {waiting}" if partitions else "nothing is missing")
            return request_run(item, context.instance, conn, opened.settings, calendar, moment)

    return sensor


def deadline_sensor(
    project: Callable[[], Project],
    settings: Settings,
    calendar: Calendar,
    clock: Callable[[Connection], datetime] = now,
) -> dg.SensorDefinition:
    """The sensor that raises alerts for tickers that keep failing or will miss the open.

    It is on by default and launches no run. It uses the file's current settings, new tickers included. `settings` are
    those that Dagster was started with; the sensor reports them together with the code that runs.
    """
    code = code_sha256()

    @dg.sensor(
        name="deadline_sensor",
        minimum_interval_seconds=POLL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Raises alerts for tickers that keep failing, or lack a forecast shortly before the open.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        if context.repository_def is not None:
            report = report_of(context.repository_def, code, settings, calendar, datetime.now(UTC))
            report_loaded_code(context.instance, report)
        opened = project()
        with opened.database.transaction() as conn:
            moment = clock(conn)
            since = _watched_since(context.cursor, moment)
            found, resolved = check_deadlines(conn, opened.settings, calendar, moment, since)
            changed = check_settings(conn, settings, opened.settings)
        context.update_cursor(f"{since.isoformat()} {moment.isoformat()}")
        tickers = f"{counted(len(found), 'ticker needs', 'tickers need')} attention"
        counts = f"{tickers}; {counted(len(resolved), 'alert')} resolved"
        return dg.SkipReason(f"{counts}; {changed}" if changed else counts)

    return sensor


def _watched_since(cursor: str | None, moment: datetime) -> datetime:
    """The time since which the sensor has run without an outage; the cursor holds it and the time of the last tick."""
    if cursor is None:
        return moment
    since, last_tick = (datetime.fromisoformat(word) for word in cursor.split())
    return since if moment - last_tick < MAX_GAP else moment
