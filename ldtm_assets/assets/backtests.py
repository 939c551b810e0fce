"""Backtests: the asset of the walk-forward tests."""

import dagster as dg

from ldtm_assets.materialization import Outcome
from ldtm_assets.partitions import as_a_whole
from ldtm_assets.training.loss_charts import picture_of_folds
from ldtm_assets.training.stage import partitions_of
from ldtm_lib.training.report import TrainingReport


def backtests_spec(tickers: dg.PartitionsDefinition[str]) -> dg.AssetSpec:
    """The asset `backtests`, partitioned by ticker."""
    return dg.AssetSpec(
        "backtests",
        deps=[dg.AssetDep("price_history"), dg.AssetDep("prices", partition_mapping=as_a_whole())],
        description=(
            "Walk-forward backtest of the ticker's models, fold by fold: each fold tests a model on sessions that it "
            "never saw, after a purge of training rows whose labels reach into these sessions."
        ),
        partitions_def=tickers,
        group_name="models",
        kinds={"pytorch", "postgres"},
        skippable=True,
    )


def trained_backtests(report: TrainingReport) -> Outcome:
    """The partitions that a training made, each with the losses of its folds."""
    return partitions_of(report.of("backtest"), picture_of_folds)
