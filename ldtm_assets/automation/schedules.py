"""Schedules: the daily run, retraining, leaderboard, freshness checks and retention."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import dagster as dg

from ldtm_assets.asset_checks.freshness import FRESHNESS_STEP
from ldtm_assets.automation.dead_runs import reap_dead_runs
from ldtm_assets.automation.run_requests import SCHEDULE_GRACE, project_as_loaded, request_run, schedule_status
from ldtm_assets.jobs import DAILY_JOB, FRESHNESS_JOB, LEADERBOARD_JOB, RETRAINING_JOB, retention_job
from ldtm_assets.partitions import EXCHANGE_TIMEZONE, partition_range
from ldtm_assets.run_tags import UNFINISHED
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
FRESHNESS_CRON = "35 9 * * 1-5"
"""Five minutes after the open, which is at 9:30 on every session; early closes only move the close."""
RETENTION_CRON = "0 12 * * 0"
NUM_FRESHNESS_RETRIES = "3"
"""Number of times that Dagster retries the freshness checks when their process was killed."""


def all_schedules(
    project: Callable[[], Project],
    settings: Settings,
    calendar: Calendar,
    clock: Callable[[Connection], datetime] = now,
) -> list[dg.ScheduleDefinition]:
    """The schedules of an installation."""
    return [
        daily_schedule(project, settings, calendar, clock),
        retraining_schedule(project, settings),
        leaderboard_schedule(settings),
        freshness_schedule(settings, calendar),
        retention_schedule(),
    ]


def daily_schedule(
    project: Callable[[], Project],
    settings: Settings,
    calendar: Calendar,
    clock: Callable[[Connection], datetime] = now,
) -> dg.ScheduleDefinition:
    """The schedule of the daily run, at 18:15 in New York on sessions."""

    @dg.schedule(
        name="daily_schedule",
        job_name=DAILY_JOB,
        cron_schedule=DAILY_CRON,
        execution_timezone=EXCHANGE_TIMEZONE,
        default_status=schedule_status(settings),
        description="At 18:15 New York time on sessions: bars, windows, forecasts and actuals of the session that has "
        "just closed, and of sessions missed before.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
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
                return dg.SkipReason(f"{newest} has closed since {session}; catch_up_sensor requests the daily run")
            if moment - tick > SCHEDULE_GRACE:
                return dg.SkipReason(
                    f"the tick of {tick:%Y-%m-%d %H:%M %Z} is late; catch_up_sensor requests the daily run"
                )
            partitions = [
                replace(partition, num_attempts=0, last_attempt_at=None)
                for partition in pending_partitions(conn, opened.settings, calendar, moment)
                if partition.lacks_row and (partition.session == session or not partition.num_attempts)
            ]
            item = next_backlog_item(partitions, calendar=calendar, moment=moment, config=opened.settings.automation)
            if item is None:
                return dg.SkipReason(f"every ticker that is in service has its row for {session}")
            return request_run(item, context.instance, conn, opened.settings, calendar, moment)

    return schedule


def retraining_schedule(project: Callable[[], Project], settings: Settings) -> dg.ScheduleDefinition:
    """The schedule of the retraining, on Saturdays."""

    @dg.schedule(
        name="retraining_schedule",
        job_name=RETRAINING_JOB,
        cron_schedule=RETRAINING_CRON,
        execution_timezone=EXCHANGE_TIMEZONE,
        default_status=schedule_status(settings),
        description="On Saturdays at 9:00 New York time: backtests, trains and judges networks for all tickers of the "
        "universe.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
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

    return schedule


def leaderboard_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """The schedule of the leaderboard, after the daily run."""
    return dg.ScheduleDefinition(
        name="leaderboard_schedule",
        job_name=LEADERBOARD_JOB,
        cron_schedule=LEADERBOARD_CRON,
        execution_timezone=EXCHANGE_TIMEZONE,
        default_status=schedule_status(settings),
        description="On weekdays at 19:00 New York time, after the daily run: computes the leaderboard.",
    )


def freshness_schedule(settings: Settings, calendar: Calendar) -> dg.ScheduleDefinition:
    """The schedule of the freshness checks, on the morning after each daily run, when its deadline has passed."""

    @dg.schedule(
        name="freshness_schedule",
        job_name=FRESHNESS_JOB,
        cron_schedule=FRESHNESS_CRON,
        execution_timezone=EXCHANGE_TIMEZONE,
        default_status=schedule_status(settings),
        description="At 9:35 New York time on sessions, five minutes after the open: checks that the previous session "
        "is complete.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        day = context.scheduled_execution_time.astimezone(NEW_YORK).date()
        if not calendar.is_session(day):
            return dg.SkipReason(f"{day} is not a session of {calendar.name}")
        before, last = calendar.offset(day, -1), settings.partitions.last_session
        if last is not None and before > last:
            return dg.SkipReason(f"there are no partitions of {before}: partitions.last_session is {last}")
        session = before.isoformat()
        return dg.RunRequest(
            run_key=session,
            run_config={"ops": {FRESHNESS_STEP: {"config": {"session": session}}}},
            tags={"dagster/max_retries": NUM_FRESHNESS_RETRIES},
        )

    return schedule


def retention_schedule() -> dg.ScheduleDefinition:
    """The schedule of the purge, on Sundays, when no daily run and no retraining runs. On by default."""
    return dg.ScheduleDefinition(
        name="retention_schedule",
        job=retention_job,
        cron_schedule=RETENTION_CRON,
        execution_timezone=EXCHANGE_TIMEZONE,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="On Sundays at 12:00 New York time: purges old logs, runs, refused bars, notifications and "
        "unneeded files. The record stays.",
    )
