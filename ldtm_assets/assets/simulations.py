"""Simulations: past sessions forecast by models that were trained before each of them."""

from collections.abc import Sequence

import dagster as dg

from ldtm_assets.materialization import Metadata, table
from ldtm_assets.partitions import as_a_whole
from ldtm_lib.ledger.snapshots import SnapshotReport

SIMULATIONS = "simulations"


def simulations_spec() -> dg.AssetSpec:
    """The asset `simulations`; only `bootstrap_job` reports materializations of it."""
    return dg.AssetSpec(
        SIMULATIONS,
        deps=[dg.AssetDep("price_history", partition_mapping=as_a_whole())],
        description=(
            "Forecasts of past sessions, made afterwards by models trained before each of them. They stand under the "
            "number of their simulation and never count as live ones."
        ),
        group_name="forecasts",
        kinds={"postgres", "pytorch"},
    )


def simulation_metadata(simulation_id: int, reports: Sequence[SnapshotReport]) -> Metadata:
    """What the asset shows: the number, and one line a session."""
    rows = [
        (str(report.run_date), report.num_bullish, report.num_neutral, report.num_bearish, report.num_abstained)
        for report in reports
    ]
    return {
        "simulation": str(simulation_id),
        "sessions": table(("session", "bullish", "neutral", "bearish", "abstained"), rows),
    }
