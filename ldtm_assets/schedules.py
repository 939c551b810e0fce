"""When things happen by themselves: the evening of every session."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

import dagster as dg

from ldtm_assets.partitions import EXCHANGE_TIMEZONE, all_tickers_of
from ldtm_lib.config import Settings
from ldtm_lib.sessions import Calendar

EVENING_CRON = "15 18 * * 1-5"
EVENING_ASSETS = ("prices", "features", "snapshots", "fillbacks")
RETRAINING_ASSETS = ("backtests", "checkpoints", "registry")
EVENING_JOB = "evening_job"
RETRAINING_JOB = "retraining_job"


JOBS = (
    dg.define_asset_job("price_history_job", selection=["price_history"]),
    dg.define_asset_job(EVENING_JOB, selection=list(EVENING_ASSETS)),
    dg.define_asset_job(RETRAINING_JOB, selection=list(RETRAINING_ASSETS)),
    dg.define_asset_job("leaderboard_job", selection=["leaderboard"]),
)
"""What schedules and the command line launch."""


def schedule_of(settings: Settings, calendar: Calendar) -> dg.ScheduleDefinition:
    """18:15 in New York on every session: one run for all tickers of that date.

    A run over a range is not validated by Dagster, so a holiday is skipped here, and the assets refuse a session
    that has not closed.
    """

    @dg.schedule(job_name=EVENING_JOB, cron_schedule=EVENING_CRON, execution_timezone=EXCHANGE_TIMEZONE)
    def evening_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        """Bars, windows, forecasts and actuals of the session that has just closed."""
        session = local_date(context.scheduled_execution_time)
        if not calendar.is_session(session):
            return dg.SkipReason(f"{session} is not a session of {calendar.name}")
        tickers = settings.tickers_on(session)
        return dg.RunRequest(run_key=session.isoformat(), tags=all_tickers_of(session, session, tickers))

    return evening_schedule


def local_date(moment: datetime) -> date:
    """The date in New York at a moment."""
    return moment.astimezone(ZoneInfo(EXCHANGE_TIMEZONE)).date()
