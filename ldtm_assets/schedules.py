"""When things happen by themselves: every evening, until every ticker has its row, and every week."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

import dagster as dg

from ldtm_assets.partitions import EXCHANGE_TIMEZONE, all_tickers_of, partition_range
from ldtm_lib.config import Settings
from ldtm_lib.ledger.snapshots import missing_rows
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar

NEW_YORK = ZoneInfo(EXCHANGE_TIMEZONE)
EVENING = time(18, 15)
EVENING_CRON = "15 18 * * 1-5"
RETRY_CRON = "*/30 * * * *"
RETRAINING_CRON = "0 9 * * 6"
LEADERBOARD_CRON = "0 19 * * 1-5"
UNFINISHED = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
EVENING_ASSETS = ("prices", "features", "snapshots", "fillbacks")
RETRAINING_ASSETS = ("backtests", "checkpoints", "registry")
EVENING_JOB = "evening_job"
RETRAINING_JOB = "retraining_job"
LEADERBOARD_JOB = "leaderboard_job"


JOBS = (
    dg.define_asset_job("price_history_job", selection=["price_history"]),
    dg.define_asset_job(EVENING_JOB, selection=list(EVENING_ASSETS)),
    dg.define_asset_job(RETRAINING_JOB, selection=list(RETRAINING_ASSETS)),
    dg.define_asset_job(LEADERBOARD_JOB, selection=["leaderboard"]),
)
"""What schedules and the command line launch."""


def schedules_of(project: Callable[[], Project], settings: Settings, calendar: Calendar) -> list[dg.ScheduleDefinition]:
    """The schedules of an installation. They are off until an owner starts them in the pages."""

    @dg.schedule(job_name=EVENING_JOB, cron_schedule=EVENING_CRON, execution_timezone=EXCHANGE_TIMEZONE)
    def evening_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        """Bars, windows, forecasts and actuals of the session that has just closed: one run for all tickers."""
        session = context.scheduled_execution_time.astimezone(NEW_YORK).date()
        if not calendar.is_session(session):
            return dg.SkipReason(f"{session} is not a session of {calendar.name}")
        return _all_of(session, settings.tickers_on(session))

    @dg.schedule(job_name=EVENING_JOB, cron_schedule=RETRY_CRON, execution_timezone=EXCHANGE_TIMEZONE)
    def retry_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        """Again, every half hour, for the tickers that have no row yet; after the next open they abstain for good."""
        moment = context.scheduled_execution_time
        session = calendar.last_closed(moment)
        if moment <= datetime.combine(session, EVENING, NEW_YORK):
            return dg.SkipReason(f"the evening of {session} has not begun")
        if context.instance.get_runs_count(dg.RunsFilter(job_name=EVENING_JOB, statuses=UNFINISHED)):
            return dg.SkipReason("an evening is running")
        with project().database.transaction() as conn:
            cells = [(ticker, session) for ticker in settings.tickers_on(session)]
            missing = [ticker for ticker, _ in missing_rows(conn, cells)]
        if not missing:
            return dg.SkipReason(f"every ticker has its row for {session}")
        return _all_of(session, missing, run_key=f"{session} {moment:%Y-%m-%d %H:%M}")

    @dg.schedule(job_name=RETRAINING_JOB, cron_schedule=RETRAINING_CRON, execution_timezone=EXCHANGE_TIMEZONE)
    def retraining_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        """Backtests, networks and the gate for all tickers, on Saturday mornings."""
        day = context.scheduled_execution_time.astimezone(NEW_YORK).date()
        tickers = settings.tickers_on(day)
        return dg.RunRequest(run_key=day.isoformat(), tags=partition_range(tickers[0], tickers[-1]))

    leaderboard_schedule = dg.ScheduleDefinition(
        name="leaderboard_schedule",
        job_name=LEADERBOARD_JOB,
        cron_schedule=LEADERBOARD_CRON,
        execution_timezone=EXCHANGE_TIMEZONE,
        description="The leaderboard of the evening, for the pages.",
    )
    return [evening_schedule, retry_schedule, retraining_schedule, leaderboard_schedule]


def _all_of(session: date, tickers: Sequence[str], run_key: str | None = None) -> dg.RunRequest:
    return dg.RunRequest(run_key=run_key or session.isoformat(), tags=all_tickers_of(session, session, tickers))
