"""Freshness checks: a session has its bars, rows and actuals, and every ticker has a recent training.

They run on the morning after a daily run, five minutes after the open. The training is checked because a retraining
that never starts, for example because its schedule was stopped, has no run that could fail.
"""

from collections.abc import Iterator, Sequence
from datetime import date

import dagster as dg
from pydantic import Field

from ldtm_assets.asset_checks.scope import AS_A_WHOLE, CheckScope
from ldtm_assets.materialization import listed
from ldtm_assets.resources import ProjectResource
from ldtm_lib.daily_run.freshness import CHECKS, Freshness, freshness, not_retrained, resolve_freshness_alerts
from ldtm_lib.sessions import exchange_calendar
from ldtm_lib.settings import AutomationConfig
from ldtm_lib.wording import counted, named

FRESHNESS_STEP = "freshness"
LACKS = {
    "prices": ("ticker", "without a bar of"),
    "snapshots": ("ticker", "without a row of"),
    "fillbacks": ("actual", "with a bar, but not filled on"),
}
"""The noun that counts what is missing, and the words before the session."""
PROMISES = {
    "prices": "Every ticker has its bar of a session before the next session opens.",
    "snapshots": "Every ticker in service has its row of a session before the next session opens, and not all "
    "tickers abstained.",
    "fillbacks": "Every actual whose bar is stored is filled before the next session opens.",
}
MODELS_ARE_FRESH = "models_are_fresh"
"""The check of the asset `registry`."""
FORECASTS = "forecasts"
"""The part of the check of rows that fails when every ticker abstained."""


class FreshnessConfig(dg.Config):
    """The session to check."""

    session: str | None = Field(default=None, description="The session, YYYY-MM-DD. Default: the newest closed one.")


@dg.multi_asset_check(
    name=FRESHNESS_STEP,
    specs=[
        *(dg.AssetCheckSpec(CHECKS[asset], asset=asset, description=text) for asset, text in PROMISES.items()),
        dg.AssetCheckSpec(
            MODELS_ARE_FRESH,
            asset="registry",
            description="No ticker with bars newer than its last training has waited for a verdict of the gate for "
            "more than `automation.max_training_age_days`.",
        ),
    ],
    can_subset=True,
)
def freshness_checks(
    context: dg.AssetCheckExecutionContext, config: FreshnessConfig, project: ProjectResource
) -> Iterator[dg.AssetCheckResult]:
    """Missing data are an error once the next session has opened; before, they may still arrive and are a warning."""
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


def _result(found: Freshness, asset: str) -> dg.AssetCheckResult:
    missing, session = found.missing[asset], found.session.isoformat()
    deadline = f"{found.deadline:%Y-%m-%d %H:%M} UTC, {'passed' if found.is_overdue else 'not reached yet'}"
    noun, lacks = LACKS[asset]
    told = f"{counted(len(missing), noun)} {lacks} {session}: {named(missing)}; deadline {deadline}"
    failing = {session: told} if missing else {}
    passing = [] if missing else [session]
    if asset == "snapshots" and found.is_silent:
        tickers = "the only ticker" if found.num_tickers == 1 else f"all {found.num_tickers:,} tickers"
        failing[FORECASTS] = f"{tickers} abstained on {session}: `ldtm registry list` shows why"
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
            "number missing": len(missing),
            "missing": listed(missing),
            **CheckScope(failing=failing, passing=passing).metadata(),
        },
    )


def _result_of_models(session: date, old: Sequence[str], config: AutomationConfig) -> dg.AssetCheckResult:
    """The result for the models; a warning if automation is off, since a person may want to wait."""
    told = (
        f"not trained and judged for {counted(config.max_training_age_days, 'day')} although new bars arrived: "
        f"{named(old)}; see retraining_schedule and the runs of retraining_job"
    )
    return dg.AssetCheckResult(
        asset_key="registry",
        check_name=MODELS_ARE_FRESH,
        passed=not old,
        severity=dg.AssetCheckSeverity.ERROR if config.enabled else dg.AssetCheckSeverity.WARN,
        description=told if old else None,
        metadata={
            "session": session.isoformat(),
            "number not trained": len(old),
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
        "late tickers": listed(found.late),
    }
