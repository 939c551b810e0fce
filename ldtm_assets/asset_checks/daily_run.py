"""Checks of an evening's partitions, and of the active models: one summary per run of what a person should look at."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date

import dagster as dg

from ldtm_assets.asset_checks.results import asked_of, listed
from ldtm_assets.asset_checks.scope import AS_A_WHOLE, CheckScope
from ldtm_assets.partitions import DailyPartition
from ldtm_lib.daily_run.freshness import named, sessions_with_gaps
from ldtm_lib.database.clock import last_closed_session
from ldtm_lib.database.connection import Connection
from ldtm_lib.ledger.fillbacks import overdue
from ldtm_lib.ledger.monitoring import MonitoringReport
from ldtm_lib.ledger.snapshots import SnapshotReport, missing_rows
from ldtm_lib.prices.quarantine import open_quarantine
from ldtm_lib.project import Project
from ldtm_lib.settings import LedgerConfig

QUARANTINE, COMPLETE, FILLED = "no_bar_in_quarantine", "every_ticker_has_a_row", "every_due_actual_is_filled"
NOT_DEGRADED = "active_models_are_not_degraded"
NUM_CLOSEST = 5

Key = tuple[str, date]
"""Ticker and session."""


def daily_run_check_specs() -> list[dg.AssetCheckSpec]:
    """The checks that an evening ends with."""
    return [
        dg.AssetCheckSpec(
            QUARANTINE, asset="prices", description="No bar of these partitions was refused and still waits."
        ),
        dg.AssetCheckSpec(
            COMPLETE, asset="snapshots", description="Every ticker has a forecast or a reason on record."
        ),
        dg.AssetCheckSpec(
            FILLED, asset="fillbacks", description="Every actual that is due has a bar; what waits is voided in time."
        ),
        dg.AssetCheckSpec(
            NOT_DEGRADED,
            asset="fillbacks",
            description="No active model's live record fell significantly below the gate.",
        ),
    ]


def daily_run_checks(
    context: dg.AssetExecutionContext,
    project: Project,
    partitions: Sequence[DailyPartition],
    reports: Sequence[SnapshotReport],
    waiting: Collection[str],
) -> Iterator[dg.AssetCheckResult]:
    """Evaluate those checks of an evening's rows that were asked for; `reports` are those of its sessions.

    A check passes when the partitions of the run are complete. A session passes when all of its tickers are complete,
    including those outside of the run. `waiting` holds the keys of partitions that failed: they are retried, or
    reported by ticker.
    """
    asked, settings = asked_of(context), project.settings
    own = [(partition.ticker, partition.session) for partition in partitions]
    sessions = sorted({partition.session for partition in partitions})
    expected = {(ticker, session) for session in sessions for ticker in settings.tickers_on(session)} | {*own}
    with project.database.transaction() as conn:
        if QUARANTINE in asked:
            yield _no_bar_in_quarantine(conn, sessions, own, expected)
        if COMPLETE in asked:
            tried_again = {
                (partition.ticker, partition.session) for partition in partitions if partition.key in waiting
            }
            yield _every_ticker_has_a_row(conn, sessions, own, expected, tried_again, _counts_of(reports))
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
            "bars": len(held),
            "of other sessions": len(refused) - len(held),
            "refused": listed(f"{row['ticker']} {row['session']}: {row['reason']}" for row in held),
            **_verdict_on(
                sessions,
                found=[(row["session"], f"{row['ticker']}: {row['reason']}") for row in held],
                not_well={row["session"] for row in refused if (row["ticker"], row["session"]) in expected},
            ),
        },
    )


def _every_ticker_has_a_row(
    conn: Connection,
    sessions: Sequence[date],
    own: Sequence[Key],
    expected: Collection[Key],
    tried_again: Collection[Key],
    counts: Mapping[str, int | str | dg.MetadataValue],
) -> dg.AssetCheckResult:
    gaps = missing_rows(conn, own)
    return dg.AssetCheckResult(
        asset_key="snapshots",
        check_name=COMPLETE,
        passed=not gaps,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={
            "rows expected": len(own),
            "missing": listed(f"{ticker} {day}" for ticker, day in gaps),
            "of these tried again": sum(gap in tried_again for gap in gaps),
            **counts,
            **_verdict_on(
                sessions,
                found=[(day, f"no row of {ticker}") for ticker, day in gaps if (ticker, day) not in tried_again],
                not_well={day for _, day in gaps} | sessions_with_gaps(conn, expected),
            ),
        },
    )


def _counts_of(reports: Sequence[SnapshotReport]) -> dict[str, int | str | dg.MetadataValue]:
    """What the rows of an evening say, in numbers."""
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
    """As of the newest session of the run; only as of the last one there is, it can say that all is well."""
    late = [
        f"{row['ticker']} {row['run_date']}, {row['horizon'].replace('_', ' ')}: no bar of {row['target_session']}"
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
            "then": f"voided after {config.void_after_sessions} sessions of which other bars came; materialize prices "
            "of the target session again if the bar exists",
            **CheckScope(
                failing={AS_A_WHOLE: f"{len(late)} actuals without a bar: {named(late)}"} if late else {},
                passing=[AS_A_WHOLE] if newest >= last and not late else [],
            ).metadata(),
        },
    )


def _verdict_on(
    sessions: Iterable[date], *, found: Iterable[tuple[date, str]], not_well: Collection[date]
) -> dict[str, dg.MetadataValue]:
    """What there is to say of each session, and those of which there is nothing to say."""
    told: dict[date, list[str]] = {}
    for session, what in found:
        told.setdefault(session, []).append(what)
    return CheckScope(
        failing={session.isoformat(): f"{len(lines)}: {named(lines)}" for session, lines in told.items()},
        passing=[session.isoformat() for session in sessions if session not in not_well],
    ).metadata()


def watch_check(
    context: dg.AssetExecutionContext, project: Project, watch: MonitoringReport
) -> Iterator[dg.AssetCheckResult]:
    """Evaluate the check of the active models, if it was asked for: who fell below the gate, and who is close to it."""
    if NOT_DEGRADED not in asked_of(context):
        return
    closest = sorted(watch.records, key=lambda r: max(r.direction_evidence, r.error_evidence), reverse=True)
    yield dg.AssetCheckResult(
        asset_key="fillbacks",
        check_name=NOT_DEGRADED,
        passed=not watch.degraded,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "active models": len(watch.records),
            "degraded": listed(record.reason for record in watch.degraded),
            "retired now": ", ".join(f"{r.ticker} {r.version}" for r in watch.retired) or "none",
            "policy": project.settings.registry.degradation_policy,
            "closest to it": listed(record.reason for record in closest[:NUM_CLOSEST]),
        },
    )
