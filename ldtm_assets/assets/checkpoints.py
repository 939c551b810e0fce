"""Checkpoints: the asset of the trained networks."""

import dagster as dg

from ldtm_assets.materialization import Outcome
from ldtm_assets.partitions import as_a_whole
from ldtm_assets.training.loss_charts import picture_of_network
from ldtm_assets.training.stage import partitions_of
from ldtm_lib.training.report import TrainingOutcome, TrainingReport


def checkpoints_spec(tickers: dg.PartitionsDefinition[str]) -> dg.AssetSpec:
    """The asset `checkpoints`, partitioned by ticker."""
    return dg.AssetSpec(
        "checkpoints",
        deps=[dg.AssetDep("price_history"), dg.AssetDep("prices", partition_mapping=as_a_whole())],
        description="One trained network of the ticker, a candidate for promotion.",
        partitions_def=tickers,
        group_name="models",
        kinds={"pytorch"},
        skippable=True,
    )


def trained_checkpoints(report: TrainingReport) -> Outcome:
    """The partitions that a training made, each with the network's losses before those of its backtest's folds."""
    backtests = report.of("backtest")

    def losses(outcome: TrainingOutcome) -> dg.MetadataValue | None:
        return picture_of_network(outcome, backtests.get(outcome.ticker))

    return partitions_of(report.of("checkpoint"), losses)
