"""When things happen by themselves: every evening, and every week."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import dagster as dg

from ldtm_assets.automation.dead_runs import reap_dead_runs
from ldtm_assets.automation.default_status import schedule_status
from ldtm_assets.automation.run_requests import SCHEDULE_GRACE, launched, project_as_loaded
from ldtm_assets.jobs import DAILY_JOB, LEADERBOARD_JOB, RETRAINING_JOB, UNFINISHED
from ldtm_assets.partitions import EXCHANGE_TIMEZONE, partition_range
from ldtm_lib.daily_run.backlog import next_backlog_item
from ldtm_lib.daily_run.pending_partitions import NEW_YORK, pending_partitions
from ldtm_lib.database.clock import now
from ldtm_lib.database.connection import Connection
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings

DAILY_CRON = "15 18 * * 1-5"
RETRAINING_CRON = "0 9 * * 6"
LEADERBOARD_CRON = "0 19 * * 1-5"


def schedules_of(
    project: Callable[[], Project],
    settings: Settings,
    calendar: Calendar,
    clock: Callable[[Connection], datetime] = now,
) -> list[dg.ScheduleDefinition]:
    """The schedules of an installation; off until an owner starts them in the UI, or on with `automation.enabled`."""
    status = schedule_status(settings)

    @dg.schedule(
        job_name=DAILY_JOB,
        cron_schedule=DAILY_CRON,
        execution_timezone=EXCHANGE_TIMEZONE,
        default_status=status,
    )
    def daily_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        """Bars, windows, forecasts and actuals of the session that has just closed, and of those missed before it."""
        tick = context.scheduled_execution_time
        session = tick.astimezone(NEW_YORK).date()
        if not calendar.is_session(session):
            return dg.SkipReason(f"{session} is not a session of {calendar.name}")
        opened = project_as_loaded(project, settings)
        if isinstance(opened, dg.SkipReason):
            return opened
        with opened.database.transaction() as conn:
            moment = max(tick, clock(conn))
            newest = calendar.last_closed(moment)
            if session != newest:
                return dg.SkipReason(f"the evening of {session} is long over, {newest} has closed; it is made up for")
            if moment - tick > SCHEDULE_GRACE:
                return dg.SkipReason(f"the tick of {tick:%Y-%m-%d %H:%M} comes late; catch_up_sensor makes its evening")
            partitions = [
                replace(partition, num_attempts=0, last_attempt_at=None)
                for partition in pending_partitions(conn, opened.settings, calendar, moment)
                if partition.lacks_row and (partition.session == session or not partition.num_attempts)
            ]
            item = next_backlog_item(partitions, calendar=calendar, moment=moment, config=opened.settings.automation)
            if item is None:
                return dg.SkipReason(f"every ticker has its row for {session}")
            return launched(item, context.instance, conn, opened.settings, calendar, moment)

    @dg.schedule(
        job_name=RETRAINING_JOB,
        cron_schedule=RETRAINING_CRON,
        execution_timezone=EXCHANGE_TIMEZONE,
        default_status=status,
    )
    def retraining_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        """Backtests, networks and the gate for all tickers of the universe, on Saturday mornings."""
        day = context.scheduled_execution_time.astimezone(NEW_YORK).date()
        opened = project_as_loaded(project, settings)
        if isinstance(opened, dg.SkipReason):
            return opened
        reap_dead_runs(context.instance, dagster_is_running=True)
        for run in context.instance.get_runs(dg.RunsFilter(job_name=RETRAINING_JOB, statuses=UNFINISHED)):
            return dg.SkipReason(f"run {run.run_id} of a retraining is {run.status.value.lower()}")
        tickers = opened.settings.tickers_on(day)
        if not tickers:
            return dg.SkipReason(f"no ticker of {settings.path.name} belongs to the universe on {day}")
        return dg.RunRequest(
            run_key=day.isoformat(),
            tags=partition_range(tickers[0], tickers[-1]),
            run_config={"ops": {"retraining": {"config": {"universe_alone": True}}}},
        )

    leaderboard_schedule = dg.ScheduleDefinition(
        name="leaderboard_schedule",
        job_name=LEADERBOARD_JOB,
        cron_schedule=LEADERBOARD_CRON,
        execution_timezone=EXCHANGE_TIMEZONE,
        default_status=status,
        description="The leaderboard of the evening, for the pages.",
    )
    return [daily_schedule, retraining_schedule, leaderboard_schedule]
