"""Asset checks: one summary per run of what a person should look at."""

from collections.abc import Iterator, Sequence

import dagster as dg

from ldtm_assets.loss_pictures import picture_of_universe
from ldtm_assets.partitions import Cell
from ldtm_lib.ledger.snapshots import missing_rows
from ldtm_lib.prices import store
from ldtm_lib.project import Project
from ldtm_lib.registry.outcomes import RetrainReport
from ldtm_lib.registry.promotion import Promotion
from ldtm_lib.registry.summary import COLUMNS, summary_rows

QUARANTINE, COMPLETE, TRAINED, GATE = "no_bar_in_quarantine", "every_ticker_has_a_row", "no_training_failed", "gate"


def evening_check_specs() -> list[dg.AssetCheckSpec]:
    """The checks that an evening ends with."""
    return [
        dg.AssetCheckSpec(QUARANTINE, asset="prices", description="No bar of these cells was refused and still waits."),
        dg.AssetCheckSpec(
            COMPLETE, asset="snapshots", description="Every ticker has a forecast or a reason on record."
        ),
    ]


def retraining_check_specs() -> list[dg.AssetCheckSpec]:
    """The checks that a retraining ends with."""
    return [
        dg.AssetCheckSpec(
            TRAINED,
            asset="checkpoints",
            description="No ticker's training failed. Shows the newest training as a whole: a table and all losses.",
        ),
        dg.AssetCheckSpec(GATE, asset="registry", description="Every newest candidate passed the gate."),
    ]


def evening_checks(
    context: dg.AssetExecutionContext, project: Project, cells: Sequence[Cell]
) -> Iterator[dg.AssetCheckResult]:
    """Evaluate those checks of an evening that were asked for."""
    asked = {key.name for key in context.selected_asset_check_keys}
    with project.database.transaction() as conn:
        if QUARANTINE in asked:
            asked_for = {(cell.ticker, cell.session) for cell in cells}
            refused = store.open_quarantine(conn).to_dicts()
            waiting = [row for row in refused if (row["ticker"], row["session"]) in asked_for]
            others = len(refused) - len(waiting)
            lines = [f"- {row['ticker']} {row['session']}: {row['reason']}" for row in waiting]
            yield dg.AssetCheckResult(
                asset_key="prices",
                check_name=QUARANTINE,
                passed=not waiting,
                severity=dg.AssetCheckSeverity.ERROR,
                metadata={
                    "bars": len(waiting),
                    "of other sessions": others,
                    "refused": dg.MetadataValue.md("\n".join(lines) or "none"),
                },
            )
        if COMPLETE in asked:
            gaps = missing_rows(conn, [(cell.ticker, cell.session) for cell in cells])
            yield dg.AssetCheckResult(
                asset_key="snapshots",
                check_name=COMPLETE,
                passed=not gaps,
                severity=dg.AssetCheckSeverity.ERROR,
                metadata={
                    "rows expected": len(cells),
                    "missing": dg.MetadataValue.md("\n".join(f"- {t} {d}" for t, d in gaps) or "none"),
                },
            )


def training_check(context: dg.AssetExecutionContext, report: RetrainReport) -> Iterator[dg.AssetCheckResult]:
    """Evaluate the check of a training: an error that names what failed, and the training of all tickers at a glance.

    What belongs to the run as a whole is kept here, once, and not with each of its partitions.
    """
    if TRAINED not in {key.name for key in context.selected_asset_check_keys}:
        return
    failed = [outcome for outcome in report.outcomes if outcome.status == "failed"]
    lines = [f"- {outcome.ticker} {outcome.part}: {outcome.reason}" for outcome in failed]
    rows = summary_rows(report)
    yield dg.AssetCheckResult(
        asset_key="checkpoints",
        check_name=TRAINED,
        passed=not failed,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={
            "trained on bars up to": report.trained_on.isoformat(),
            "tickers": len(rows),
            "failures": len(failed),
            "failed": dg.MetadataValue.md("\n".join(lines)) if lines else "none",
            "summary": dg.MetadataValue.table(
                [dg.TableRecord(dict(zip(COLUMNS, row.texts(), strict=True))) for row in rows],
                dg.TableSchema([dg.TableColumn(name) for name in COLUMNS]),
            ),
            "losses": picture_of_universe(report),
        },
    )


def gate_check(context: dg.AssetExecutionContext, promotions: Sequence[Promotion]) -> Iterator[dg.AssetCheckResult]:
    """Evaluate the gate's check: a warning that names each ticker that stays a candidate, with the rules it broke."""
    if GATE not in {key.name for key in context.selected_asset_check_keys}:
        return
    failed = [promotion for promotion in promotions if not promotion.verdict.passed]
    lines = [f"- {promotion.message}" for promotion in failed]
    yield dg.AssetCheckResult(
        asset_key="registry",
        check_name=GATE,
        passed=not failed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "passed": len(promotions) - len(failed),
            "failed": len(failed),
            "reasons": dg.MetadataValue.md("\n".join(lines) or "none"),
        },
    )
