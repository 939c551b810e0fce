"""Checks of a daily run: its bars, rows and actuals, and the active models; one summary per run."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date

import dagster as dg

from ldtm_assets.asset_checks.scope import AS_A_WHOLE, CheckScope, selected_checks
from ldtm_assets.materialization import listed
from ldtm_assets.partitions import DailyPartition
from ldtm_lib.daily_run.freshness import sessions_with_gaps
from ldtm_lib.database.clock import last_closed_session
from ldtm_lib.database.connection import Connection
from ldtm_lib.ledger.fillbacks import overdue
from ldtm_lib.ledger.interval_coverage import CoverageRecord
from ldtm_lib.ledger.monitoring import MonitoringReport
from ldtm_lib.ledger.service import first_sessions, is_in_service
from ldtm_lib.ledger.simulations import NO_SIMULATION
from ldtm_lib.ledger.snapshots import SnapshotReport, missing_rows
from ldtm_lib.prices.outlier_quarantine import recorded_outliers, stored_outlier_notes
from ldtm_lib.prices.quarantine import open_quarantine
from ldtm_lib.project import Project
from ldtm_lib.sessions import HORIZON_NAMES, exchange_calendar
from ldtm_lib.settings import LedgerConfig, Settings
from ldtm_lib.wording import counted, named

QUARANTINE, COMPLETE, FILLED = "no_bar_in_quarantine", "every_ticker_has_a_row", "every_due_actual_is_filled"
NO_OUTLIERS = "no_stored_bar_is_an_outlier"
NOT_DEGRADED = "active_models_are_not_degraded"
COVERAGE_HOLDS = "interval_coverage_holds"
NUM_CLOSEST = 5

Key = tuple[str, date]
"""Ticker and session."""


def daily_run_check_specs() -> list[dg.AssetCheckSpec]:
    """The checks that close a daily run."""
    return [
        dg.AssetCheckSpec(QUARANTINE, asset="prices", description="No bar of these partitions is in quarantine."),
        dg.AssetCheckSpec(
            NO_OUTLIERS,
            asset="prices",
            description="No close that the next forecasts read is a spike that reversed within three sessions, as an "
            "error of the source would.",
        ),
        dg.AssetCheckSpec(
            COMPLETE, asset="snapshots", description="Every ticker has a forecast or a reason on record."
        ),
        dg.AssetCheckSpec(
            FILLED,
            asset="fillbacks",
            description="Every due actual has the bar of its target session. One that waits too long is voided.",
        ),
        dg.AssetCheckSpec(
            NOT_DEGRADED,
            asset="fillbacks",
            description="No active model's live record fell significantly below the gate.",
        ),
        dg.AssetCheckSpec(
            COVERAGE_HOLDS,
            asset="fillbacks",
            description="No ticker's live prediction intervals contain significantly fewer actuals than their level.",
        ),
    ]


def daily_run_checks(
    context: dg.AssetExecutionContext,
    project: Project,
    partitions: Sequence[DailyPartition],
    reports: Sequence[SnapshotReport],
    waiting: Collection[str],
    simulation_id: int = NO_SIMULATION,
) -> Iterator[dg.AssetCheckResult]:
    """Evaluate the selected checks of a daily run's rows; `reports` are those of its sessions.

    A check passes when the partitions of the run are complete. A session passes when all of its tickers are complete,
    including those outside of the run; rows of a simulation complete no session. `waiting` holds the keys of
    partitions that failed: they are retried, or reported by ticker.
    """
    asked, settings = selected_checks(context), project.settings
    own = [(partition.ticker, partition.session) for partition in partitions]
    sessions = sorted({partition.session for partition in partitions})
    expected = {(ticker, session) for session in sessions for ticker in settings.tickers_on(session)} | {*own}
    with project.database.transaction() as conn:
        if QUARANTINE in asked:
            yield _no_bar_in_quarantine(conn, sessions, set(own), expected)
        if NO_OUTLIERS in asked:
            yield _no_stored_bar_is_an_outlier(conn, settings)
        if COMPLETE in asked:
            retried = {(partition.ticker, partition.session) for partition in partitions if partition.key in waiting}
            due = own if simulation_id else _in_service(conn, own)
            gaps = missing_rows(conn, due, simulation_id)
            yield _every_ticker_has_a_row(conn, sessions, len(due), gaps, expected, retried, _counts_of(reports))
        if FILLED in asked:
            last = min(last_closed_session(conn), settings.partitions.last_session or date.max)
            yield _every_due_actual_is_filled(conn, sessions[-1] if sessions else last, last, settings.ledger)


def _no_bar_in_quarantine(
    conn: Connection, sessions: Sequence[date], own: Collection[Key], expected: Collection[Key]
) -> dg.AssetCheckResult:
    refused = open_quarantine(conn).to_dicts()
    held = [row for row in refused if (row["ticker"], row["session"]) in own]
    return dg.AssetCheckResult(
        asset_key="prices",
        check_name=QUARANTINE,
        passed=not held,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={
            "bars in quarantine": len(held),
            "in quarantine outside of this run": len(refused) - len(held),
            "refused": listed(f"{row['ticker']} {row['session']}: {row['reason']}" for row in held),
            "remedy": "load a corrected bar, or accept a bar that is right with `ldtm prices release TICKER DATE`",
            **_scope_of(
                sessions,
                found=[(row["session"], f"{row['ticker']}: {row['reason']}") for row in held],
                told_as=("bar", "refused"),
                incomplete={row["session"] for row in refused if (row["ticker"], row["session"]) in expected},
            ),
        },
    )


def _no_stored_bar_is_an_outlier(conn: Connection, settings: Settings) -> dg.AssetCheckResult:
    """The result for the newest bars of every ticker: those that the windows of the next forecasts read."""
    last, windows = last_closed_session(conn), settings.window
    outliers = recorded_outliers(
        conn,
        settings.tickers_on(last),
        last=last,
        num_bars=windows.window_sessions + windows.warmup_bars,
        calendar=exchange_calendar(),
    )
    return dg.AssetCheckResult(
        asset_key="prices",
        check_name=NO_OUTLIERS,
        passed=outliers.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "bars": outliers.height,
            "outliers": listed(stored_outlier_notes(outliers)),
            "remedy": "a stored bar is never removed: load a corrected bar of its session",
        },
    )


def _in_service(conn: Connection, own: Sequence[Key]) -> list[Key]:
    entered = first_sessions(conn, {ticker for ticker, _ in own})
    return [(ticker, day) for ticker, day in own if is_in_service(entered, ticker, day)]


def _every_ticker_has_a_row(
    conn: Connection,
    sessions: Sequence[date],
    num_due: int,
    gaps: Sequence[Key],
    expected: Collection[Key],
    retried: Collection[Key],
    counts: Mapping[str, int | str | dg.MetadataValue],
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key="snapshots",
        check_name=COMPLETE,
        passed=not gaps,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={
            "rows expected": num_due,
            "missing": listed(f"{ticker} {day}" for ticker, day in gaps),
            "missing rows to be retried": sum(gap in retried for gap in gaps),
            **counts,
            **_scope_of(
                sessions,
                found=[(day, ticker) for ticker, day in gaps if (ticker, day) not in retried],
                told_as=("row", "missing"),
                incomplete={day for _, day in gaps} | sessions_with_gaps(conn, expected),
            ),
        },
    )


def _counts_of(reports: Sequence[SnapshotReport]) -> dict[str, int | str | dg.MetadataValue]:
    """Counts of the rows of a daily run."""
    return {
        "bullish": sum(report.num_bullish for report in reports),
        "neutral": sum(report.num_neutral for report in reports),
        "bearish": sum(report.num_bearish for report in reports),
        "abstained": sum(report.num_abstained for report in reports),
        "model versions": ", ".join(sorted({v for report in reports for v in report.model_versions})) or "none",
        "cohorts": listed(report.cohort for report in reports),
    }


def _every_due_actual_is_filled(
    conn: Connection, newest: date, last: date, config: LedgerConfig
) -> dg.AssetCheckResult:
    """The result as of the newest session of the run; it passes as a whole only for the last session."""
    late = [
        f"{row['ticker']} {row['run_date']}, {HORIZON_NAMES[row['horizon']]}: no bar of {row['target_session']}"
        for row in overdue(conn, as_of=newest).to_dicts()
    ]
    return dg.AssetCheckResult(
        asset_key="fillbacks",
        check_name=FILLED,
        passed=not late,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "actuals without a bar": len(late),
            "waiting": listed(late),
            "remedy": "an actual is voided once its bar has been missing for "
            f"{counted(config.void_after_sessions, 'session')} (only sessions with bars of any ticker count); if "
            "the bar exists, materialize `prices` of the target session again",
            **CheckScope(
                failing={AS_A_WHOLE: f"{counted(len(late), 'actual')} without a bar: {named(late)}"} if late else {},
                passing=[AS_A_WHOLE] if newest >= last and not late else [],
            ).metadata(),
        },
    )


def _scope_of(
    sessions: Iterable[date],
    *,
    found: Iterable[tuple[date, str]],
    told_as: tuple[str, str],
    incomplete: Collection[date],
) -> dict[str, dg.MetadataValue]:
    """Failing sessions with their findings, and passing ones; an incomplete session without a finding is neither.

    `told_as` is the noun that counts the findings, and the word that follows it.
    """
    noun, state = told_as
    told: dict[date, list[str]] = {}
    for session, what in found:
        told.setdefault(session, []).append(what)
    return CheckScope(
        failing={
            session.isoformat(): f"{counted(len(lines), noun)} {state}: {named(lines)}"
            for session, lines in told.items()
        },
        passing=[session.isoformat() for session in sessions if session not in incomplete],
    ).metadata()


def degradation_check(
    context: dg.AssetExecutionContext, project: Project, report: MonitoringReport
) -> Iterator[dg.AssetCheckResult]:
    """Evaluate the check of the active models, if selected: those below the gate, and those close to it."""
    if NOT_DEGRADED not in selected_checks(context):
        return
    closest = sorted(report.records, key=lambda r: max(r.direction_evidence, r.error_evidence), reverse=True)
    yield dg.AssetCheckResult(
        asset_key="fillbacks",
        check_name=NOT_DEGRADED,
        passed=not report.degraded,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "active models": len(report.records),
            "degraded": listed(record.reason for record in report.degraded),
            "retired now": ", ".join(f"{r.ticker} {r.version}" for r in report.retired) or "none",
            "policy": project.settings.registry.degradation_policy,
            "closest to degradation": listed(record.reason for record in closest[:NUM_CLOSEST]),
        },
    )


def coverage_check(
    context: dg.AssetExecutionContext, records: Sequence[CoverageRecord]
) -> Iterator[dg.AssetCheckResult]:
    """Evaluate the check of the prediction intervals, if selected: those that broke down, and those close to it."""
    if COVERAGE_HOLDS not in selected_checks(context):
        return
    broken = [record for record in records if record.has_broken_down]
    closest = sorted(records, key=lambda record: record.evidence, reverse=True)
    yield dg.AssetCheckResult(
        asset_key="fillbacks",
        check_name=COVERAGE_HOLDS,
        passed=not broken,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "intervals watched": len(records),
            "broken down": listed(record.reason for record in broken),
            "closest to a breakdown": listed(record.reason for record in closest[:NUM_CLOSEST]),
        },
    )
