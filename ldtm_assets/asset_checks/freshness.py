"""Freshness: every morning, five minutes after the open, whether the evening before it left everything behind.

And whether every ticker has been trained on what its bars have brought for a week: a retraining that does not happen,
because it stands in a queue for ever or its schedule was stopped, has no run that could fail.
"""

from collections.abc import Iterator, Sequence
from datetime import date

import dagster as dg

from ldtm_assets.asset_checks.results import listed
from ldtm_assets.asset_checks.scope import AS_A_WHOLE, CheckScope
from ldtm_assets.automation.default_status import schedule_status
from ldtm_assets.partitions import EXCHANGE_TIMEZONE
from ldtm_assets.resources import ProjectResource
from ldtm_lib.daily_run.freshness import CHECKS, Freshness, freshness, named, not_retrained, resolve_freshness_alerts
from ldtm_lib.daily_run.pending_partitions import NEW_YORK
from ldtm_lib.sessions import Calendar, exchange_calendar
from ldtm_lib.settings import AutomationConfig, Settings

FRESHNESS_STEP, FRESHNESS_JOB = "freshness", "freshness_job"
AFTER_THE_OPEN = "35 9 * * 1-5"
"""Five minutes after the open, which is at 9:30 on every session; an early close moves the close alone."""
NUM_RETRIES = "3"
"""How often Dagster starts the look again when its process was killed."""
LACKS = {
    "prices": "tickers without a bar of",
    "snapshots": "tickers without a row of",
    "fillbacks": "actuals that have their bar and are not filled on",
}
PROMISES = {
    "prices": "Every ticker has the bar of the session before the next one opens.",
    "snapshots": "Every ticker has its row of the session before the next one opens.",
    "fillbacks": "Every actual whose bar is there is filled before the next session opens.",
}
MODELS_ARE_FRESH = "models_are_fresh"
"""The check of the asset `registry`."""
FORECASTS = "forecasts"
"""The part of a session's rows that is in trouble when every ticker abstained."""


class FreshnessConfig(dg.Config):
    """Which evening is looked at."""

    session: str | None = None
    """YYYY-MM-DD; the newest session that has closed when absent."""


@dg.multi_asset_check(
    name=FRESHNESS_STEP,
    specs=[
        *(dg.AssetCheckSpec(CHECKS[asset], asset=asset, description=text) for asset, text in PROMISES.items()),
        dg.AssetCheckSpec(
            MODELS_ARE_FRESH, asset="registry", description="Every ticker was trained on new bars, and judged, in time."
        ),
    ],
    can_subset=True,
)
def freshness_checks(
    context: dg.AssetCheckExecutionContext, config: FreshnessConfig, project: ProjectResource
) -> Iterator[dg.AssetCheckResult]:
    """What is missing is an error once the next session has opened, and a warning as long as it may still come."""
    opened = project.open()
    settings = opened.settings
    session = date.fromisoformat(config.session) if config.session else None
    with opened.database.transaction() as conn:
        found = freshness(conn, settings, session)
        old = not_retrained(conn, settings, found.session)
        resolve_freshness_alerts(conn, settings, exchange_calendar(), found.moment)
    for key in context.selected_asset_check_keys:
        if key.name == MODELS_ARE_FRESH:
            yield _result_of_models(found.session, old, settings.automation)
        else:
            yield _result(found, key.asset_key.to_user_string())


freshness_job = dg.define_asset_job(FRESHNESS_JOB, selection=dg.AssetSelection.checks(freshness_checks))


def freshness_schedule(settings: Settings, calendar: Calendar) -> dg.ScheduleDefinition:
    """The schedule that looks at every evening once, on the morning after its deadline."""

    @dg.schedule(
        name="freshness_schedule",
        job_name=FRESHNESS_JOB,
        cron_schedule=AFTER_THE_OPEN,
        execution_timezone=EXCHANGE_TIMEZONE,
        default_status=schedule_status(settings),
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        """Five minutes after each open: whether everything is there of the session before it."""
        day = context.scheduled_execution_time.astimezone(NEW_YORK).date()
        if not calendar.is_session(day):
            return dg.SkipReason(f"{day} is not a session of {calendar.name}")
        session = calendar.offset(day, -1).isoformat()
        return dg.RunRequest(
            run_key=session,
            run_config={"ops": {FRESHNESS_STEP: {"config": {"session": session}}}},
            tags={"dagster/max_retries": NUM_RETRIES},
        )

    return schedule


def _result(found: Freshness, asset: str) -> dg.AssetCheckResult:
    missing, session = found.missing[asset], found.session.isoformat()
    deadline = f"{found.deadline:%Y-%m-%d %H:%M} UTC, {'over' if found.is_overdue else 'still to come'}"
    failing = {session: f"{LACKS[asset]} {session}: {named(missing)}; deadline {deadline}"} if missing else {}
    passing = [] if missing else [session]
    if asset == "snapshots" and found.is_silent:
        failing[FORECASTS] = f"all {found.num_tickers} tickers abstained on {session}: `ldtm registry list` says why"
    elif asset == "snapshots" and not missing:
        passing.append(FORECASTS)
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=CHECKS[asset],
        passed=not failing,
        severity=dg.AssetCheckSeverity.WARN
        if not found.is_overdue or FORECASTS in failing
        else dg.AssetCheckSeverity.ERROR,
        description="; ".join(failing.values()) or None,
        metadata={
            "session": session,
            "deadline": deadline,
            "tickers": found.num_tickers,
            **(_rows(found) if asset == "snapshots" else {}),
            "num missing": len(missing),
            "missing": listed(missing),
            **CheckScope(failing=failing, passing=passing).metadata(),
        },
    )


def _result_of_models(session: date, old: Sequence[str], config: AutomationConfig) -> dg.AssetCheckResult:
    """Where nothing trains by itself it is a warning: a person may mean to wait."""
    told = (
        f"not trained and judged for {config.max_training_age_days} days although bars came: {named(old)}; "
        "see retraining_schedule and the runs of retraining_job"
    )
    return dg.AssetCheckResult(
        asset_key="registry",
        check_name=MODELS_ARE_FRESH,
        passed=not old,
        severity=dg.AssetCheckSeverity.ERROR if config.enabled else dg.AssetCheckSeverity.WARN,
        description=told if old else None,
        metadata={
            "session": session.isoformat(),
            "num not trained": len(old),
            "not trained": listed(old),
            **CheckScope(failing={AS_A_WHOLE: told} if old else {}, passing=[] if old else [AS_A_WHOLE]).metadata(),
        },
    )


def _rows(found: Freshness) -> dict[str, int | dg.MetadataValue]:
    return {
        "live": found.num_live,
        "late": len(found.late),
        "simulated": found.num_simulated,
        "abstained": found.num_abstained,
        "came late": listed(found.late),
    }
