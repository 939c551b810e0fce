"""Leakage checks of a daily run's windows and forecasts: they fail if either used data from the future."""

import math
from collections.abc import Iterator, Sequence

import dagster as dg

from ldtm_assets.asset_checks.scope import CheckScope, selected_checks
from ldtm_assets.materialization import listed
from ldtm_assets.partitions import DailyPartition
from ldtm_lib.audit.point_in_time import check_point_in_time, sampled_window_leaks
from ldtm_lib.ledger.simulations import NO_SIMULATION
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar
from ldtm_lib.wording import named

LOOK_AHEAD, POINT_IN_TIME = "windows_have_no_look_ahead", "forecasts_are_point_in_time"
SAMPLED_TICKERS = 5
"""Tickers whose windows are rebuilt in a daily run; the sample changes every session."""


def leakage_check_specs() -> list[dg.AssetCheckSpec]:
    """The leakage checks of a daily run."""
    return [
        dg.AssetCheckSpec(
            LOOK_AHEAD, asset="features", description="Sampled windows do not change when later bars are altered."
        ),
        dg.AssetCheckSpec(
            POINT_IN_TIME,
            asset="snapshots",
            description="Every forecast used only bars that were recorded before it.",
        ),
    ]


def leakage_checks(
    context: dg.AssetExecutionContext,
    project: Project,
    calendar: Calendar,
    partitions: Sequence[DailyPartition],
    simulation_id: int = NO_SIMULATION,
) -> Iterator[dg.AssetCheckResult]:
    """Evaluate the selected leakage checks on samples of the run's partitions.

    A session passes only when the run has all of its tickers.
    """
    asked = selected_checks(context)
    tickers_of = {
        session: [c.ticker for c in partitions if c.session == session] for session in {c.session for c in partitions}
    }
    settings = project.settings
    whole = {session for session, tickers in tickers_of.items() if set(tickers) >= set(settings.tickers_on(session))}
    with project.database.transaction() as conn:
        if LOOK_AHEAD in asked:
            newest = max(tickers_of, default=None)
            found = (
                sampled_window_leaks(
                    conn, calendar, settings, session=newest, tickers=tickers_of[newest], num_sampled=SAMPLED_TICKERS
                )
                if newest is not None
                else {}
            )
            leaking = [leaks for leaks in found.values() if leaks.leaks]
            yield dg.AssetCheckResult(
                asset_key="features",
                check_name=LOOK_AHEAD,
                passed=not leaking,
                severity=dg.AssetCheckSeverity.ERROR,
                metadata={
                    "windows rebuilt": sum(leaks.num_sampled for leaks in found.values()),
                    "tickers": ", ".join(found) or "none",
                    "found": listed(f"{leaks.ticker}: {leaks.first}" for leaks in leaking),
                    **CheckScope(
                        failing={str(newest): named([f"{leaks.ticker}: {leaks.first}" for leaks in leaking])}
                        if leaking
                        else {},
                        passing=[str(newest)] if newest in whole and not leaking else [],
                    ).metadata(),
                },
            )
        if POINT_IN_TIME in asked:
            reports = [
                check_point_in_time(
                    conn,
                    calendar,
                    settings,
                    run_date=session,
                    tickers=tickers_of[session],
                    num_sampled=math.ceil(SAMPLED_TICKERS / len(tickers_of)),
                    seed=session.toordinal(),
                    simulation_id=simulation_id,
                )
                for session in sorted(tickers_of)
            ]
            yield dg.AssetCheckResult(
                asset_key="snapshots",
                check_name=POINT_IN_TIME,
                passed=all(report.is_clean for report in reports),
                severity=dg.AssetCheckSeverity.ERROR,
                metadata={
                    "forecasts": sum(report.num_rows for report in reports),
                    "windows rebuilt": sum(report.num_sampled for report in reports),
                    "found": listed(finding.message for report in reports for finding in report.findings),
                    **CheckScope(
                        failing={
                            str(session): named([finding.message for finding in report.findings])
                            for session, report in zip(sorted(tickers_of), reports, strict=True)
                            if not report.is_clean
                        },
                        passing=[
                            str(session)
                            for session, report in zip(sorted(tickers_of), reports, strict=True)
                            if report.is_clean and session in whole
                        ],
                    ).metadata(),
                },
            )
