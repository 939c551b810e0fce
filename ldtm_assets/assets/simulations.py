"""Simulations: forecasts of past sessions by models that were trained before each session."""

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
            "Forecasts of past sessions, computed afterwards by models trained before each session. Their rows carry "
            "the number of the simulation and never count as live."
        ),
        group_name="forecasts",
        kinds={"postgres", "pytorch"},
    )


def simulation_metadata(simulation_id: int, reports: Sequence[SnapshotReport]) -> Metadata:
    """Metadata of a materialization: the number of the simulation, and a table with one row per session."""
    rows = [
        (str(report.run_date), report.num_bullish, report.num_neutral, report.num_bearish, report.num_abstained)
        for report in reports
    ]
    return {
        "simulation": str(simulation_id),
        "sessions": table(("session", "bullish", "neutral", "bearish", "abstained"), rows),
    }
