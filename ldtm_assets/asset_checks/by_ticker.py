"""Evaluations of a check for every ticker of a run, and their combined result."""

import time
from collections.abc import Iterator, Sequence

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData

from ldtm_assets.materialization import listed


def check_of_tickers(
    context: dg.AssetExecutionContext, evaluations: Sequence[dg.AssetCheckEvaluation]
) -> Iterator[dg.AssetCheckResult]:
    """Record the evaluation of one check for each ticker as an event, then one combined result.

    Dagster assigns the results of a run with a single partition to that partition; in such a run the ticker's own
    evaluation is the only result.
    """
    if context.has_partition_key:
        yield from (_as_result(evaluation) for evaluation in evaluations)
        return
    if not evaluations:
        return
    for evaluation in evaluations:
        context.log_event(evaluation)  # pyright: ignore[reportArgumentType] its partitions can be recorded no other way
    failed = [f"{e.partition}: {e.description}" for e in evaluations if not e.passed]
    yield dg.AssetCheckResult(
        asset_key=evaluations[0].asset_key,
        check_name=evaluations[0].check_name,
        passed=not failed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"tickers": len(evaluations), "failed": len(failed), "reasons": listed(failed)},
    )


def newest_materializations(
    context: dg.AssetExecutionContext, asset: dg.AssetKey, tickers: Sequence[str]
) -> dict[str, AssetCheckEvaluationTargetMaterializationData]:
    """Targets of the evaluations by ticker: the materializations that this run has just recorded.

    The page of a check shows a partition only where its evaluation names the partition's newest materialization.
    """
    stored = context.instance.get_latest_storage_id_by_partition(
        asset, dg.DagsterEventType.ASSET_MATERIALIZATION, set(tickers)
    )
    now = time.time()
    return {
        ticker: AssetCheckEvaluationTargetMaterializationData(
            storage_id=storage_id, run_id=context.run.run_id, timestamp=now
        )
        for ticker, storage_id in stored.items()
    }


def _as_result(evaluation: dg.AssetCheckEvaluation) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=evaluation.asset_key,
        check_name=evaluation.check_name,
        passed=evaluation.passed,
        severity=evaluation.severity,
        description=evaluation.description,
        metadata=evaluation.metadata,
    )
