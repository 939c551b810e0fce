"""The check of a training: the failures by name, and a summary of all tickers."""

from collections.abc import Iterator

import dagster as dg

from ldtm_assets.asset_checks.scope import CheckScope, selected_checks
from ldtm_assets.training.loss_charts import picture_of_universe
from ldtm_lib.training.report import COLUMNS, TrainingReport, summary_rows

TRAINED = "no_training_failed"


def training_check_specs() -> list[dg.AssetCheckSpec]:
    """The check that a training ends with."""
    return [
        dg.AssetCheckSpec(
            TRAINED,
            asset="checkpoints",
            description="No ticker's training failed. Shows the newest training as a whole: a table and all losses.",
        ),
    ]


def training_check(context: dg.AssetExecutionContext, report: TrainingReport) -> Iterator[dg.AssetCheckResult]:
    """Evaluate the check of a training: an error that names what failed, and a summary of all tickers.

    Data about the run as a whole are kept here once, and not with each of its partitions.
    """
    if TRAINED not in selected_checks(context):
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
            **(
                {"GPU": dg.MetadataValue.md("\n".join(f"- {text}" for text in report.notices))}
                if report.notices
                else {}
            ),
            "failed": dg.MetadataValue.md("\n".join(lines)) if lines else "none",
            "summary": dg.MetadataValue.table(
                [dg.TableRecord(dict(zip(COLUMNS, row.texts(), strict=True))) for row in rows],
                dg.TableSchema([dg.TableColumn(name) for name in COLUMNS]),
            ),
            "losses": picture_of_universe(report),
            **CheckScope(
                failing={f"{o.ticker} {o.part}": f"{o.ticker} {o.part}: {o.reason}" for o in failed},
                passing=[f"{o.ticker} {o.part}" for o in report.outcomes if o.status != "failed"],
            ).metadata(),
        },
    )
