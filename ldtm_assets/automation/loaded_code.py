"""Report of the loaded code, from which `ldtm status` and `ldtm up` read the running definitions."""

from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._utils.schedules import schedule_execution_time_iterator as cron_ticks

from ldtm_assets.jobs import DAILY_JOB, FRESHNESS_JOB
from ldtm_lib.daily_run.loaded_settings import frozen_settings
from ldtm_lib.daily_run.pending_partitions import NEW_YORK
from ldtm_lib.maintenance.loaded_code import KEY, TICK_DAYS, LoadedAutomation, LoadedCode
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings

ON_SESSIONS_ONLY = (DAILY_JOB, FRESHNESS_JOB)
"""Jobs whose schedules skip holidays."""


def report_loaded_code(instance: dg.DagsterInstance, report: LoadedCode) -> bool:
    """Store the report if it differs from the stored one; returns whether it did."""
    text = report.as_text()
    storage = instance.daemon_cursor_storage
    if storage.get_cursor_values({KEY}).get(KEY) == text:
        return False
    storage.set_cursor_values({KEY: text})
    return True


def clear_report(instance: dg.DagsterInstance) -> None:
    """Delete the report of an earlier start."""
    instance.daemon_cursor_storage.set_cursor_values({KEY: ""})


def report_of(
    repository: dg.RepositoryDefinition, code_sha256: str, settings: Settings, calendar: Calendar, moment: datetime
) -> LoadedCode:
    """The report of a code location: its schedules with their ticks from the day of `moment` on, and its sensors."""
    day = datetime.combine(moment.astimezone(UTC).date(), datetime.min.time(), UTC)
    automation = [
        LoadedAutomation(
            name=each.name,
            is_on_by_default=each.default_status.value == "RUNNING",
            ticks=ticks(each, calendar, day) if isinstance(each, dg.ScheduleDefinition) else (),
        )
        for each in (*repository.schedule_defs, *repository.sensor_defs)
    ]
    return LoadedCode(code_sha256=code_sha256, settings=frozen_settings(settings), automation=tuple(automation))


def ticks(schedule: dg.ScheduleDefinition, calendar: Calendar, since: datetime) -> tuple[str, ...]:
    """The ticks of a schedule over TICK_DAYS days, without holidays if the schedule skips them."""
    found: list[str] = []
    for tick in cron_ticks(since.timestamp(), schedule.cron_schedule, schedule.execution_timezone):
        if tick > since + timedelta(days=TICK_DAYS):
            break
        if schedule.job_name not in ON_SESSIONS_ONLY or calendar.is_session(tick.astimezone(NEW_YORK).date()):
            found.append(tick.astimezone(UTC).isoformat())
    return tuple(found)
