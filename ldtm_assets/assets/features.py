"""Features: the input window of each model for a session, or the reason why there is none."""

from collections.abc import Sequence

import dagster as dg

from ldtm_assets.materialization import Outcome
from ldtm_assets.partitions import DailyLayout, DailyPartition
from ldtm_lib.features import stored_windows as input_windows
from ldtm_lib.features.windows import latest_windows
from ldtm_lib.prices.stored_bars import recent_bars
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar


def features_spec(layout: DailyLayout) -> dg.AssetSpec:
    """The asset `features`, partitioned as `layout` says."""
    return dg.AssetSpec(
        "features",
        deps=["prices", dg.AssetDep("price_history", partition_mapping=layout.of_its_ticker())],
        description="The model's input window after the close (30 sessions x 11 inputs by default), or the reason why "
        "there is none.",
        partitions_def=layout.definition,
        group_name="forecasts",
        kinds={"postgres", "polars"},
        skippable=True,
    )


def build_features(project: Project, calendar: Calendar, partitions: Sequence[DailyPartition]) -> Outcome:
    """Compute and store the input windows of some partitions, all tickers of a session in one pass."""
    outcome = Outcome()
    config = project.settings.window
    for session in sorted({partition.session for partition in partitions}):
        tickers = [partition.ticker for partition in partitions if partition.session == session]
        with project.database.transaction() as conn:
            bars = recent_bars(conn, tickers, last=session, num_bars=config.window_sessions + config.warmup_bars)
            windows = latest_windows(bars, tickers, session, calendar, config)
            outdated = input_windows.record(conn, windows).outdated
        for window in windows:
            key = DailyPartition(session, window.ticker).key
            if window.ticker in outdated:
                outcome.failed[key] = (
                    f"the bars of {window.ticker} changed while its window was made; materialize it again"
                )
            elif window.not_ready is None:
                outcome.done[key] = {"ready": True, "window_sha256": window.sha256}
            else:
                outcome.done[key] = {"ready": False, "reason": window.not_ready}
    return outcome
