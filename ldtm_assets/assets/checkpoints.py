"""Training: networks from bars, and what became of each ticker."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date

import polars as pl

from ldtm_assets.assets.materialization import Metadata, Outcome
from ldtm_assets.training.loss_charts import picture_of_folds, picture_of_network
from ldtm_assets.training.progress import TrainingReporter
from ldtm_lib.features.look_ahead import WindowLeaks, window_leaks
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.features.windows import windows_of
from ldtm_lib.prices.stored_bars import current_bars
from ldtm_lib.project import Project
from ldtm_lib.registry.failures import Part
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings
from ldtm_lib.training.report import TrainingOutcome, TrainingReport
from ldtm_lib.training.run import retrain
from ldtm_lib.training.summary import summary_text

PARTS: dict[str, Part] = {"backtests": "backtest", "checkpoints": "checkpoint"}
"""What a training makes, by asset."""


def train(
    project: Project,
    calendar: Calendar,
    tickers: Sequence[str],
    *,
    trained_on: date,
    parts: set[str],
    device: str,
    gpu_index: int | None = None,
    log: Callable[[str], None],
    reporter: TrainingReporter,
) -> TrainingReport:
    """Train what is not up to date of `backtests` and `checkpoints` for some tickers, all in one call.

    A ticker without bars is in the report as failed.
    """
    with project.database.transaction() as conn:
        bars = current_bars(conn, tickers, last=trained_on)
    if len(bars):
        trained_on = min(trained_on, bars.select(pl.col("session").max()).item())
    windows = windows_of(bars, calendar, project.settings.window)
    searched = _searched(bars, windows, calendar, project.settings) if "backtests" in parts else {}
    for found in searched.values():
        if found.first:
            log(found.first)
    report = retrain(
        project.database,
        project.checkpoint_folder,
        windows,
        project.settings,
        trained_on=trained_on,
        device=device,
        gpu_index=gpu_index,
        backtests="backtests" in parts,
        checkpoints="checkpoints" in parts,
        window_leaks=searched,
        callbacks=reporter.start(log),
    ).including(
        TrainingOutcome(ticker=ticker, part=PARTS[asset], status="failed", reason=_no_bars(ticker))
        for ticker in tickers
        for asset in parts & set(PARTS)
        if ticker not in windows
    )
    log(summary_text(report))
    return report


def _searched(
    bars: pl.DataFrame, windows: Mapping[str, WindowSet], calendar: Calendar, settings: Settings
) -> dict[str, WindowLeaks]:
    """Sampled windows of every ticker, searched anew at each training: a second for all of the universe."""
    return window_leaks(
        bars,
        windows,
        calendar,
        settings.window,
        num_samples=settings.leakage.sampled_windows,
        seed=settings.training.seed,
    )


def outcome_of(report: TrainingReport, part: Part) -> Outcome:
    """What one part of a training means for the partitions of its asset. Too few bars is no failure."""
    outcome = Outcome()
    walks = report.of("backtest")
    for ticker, result in report.of(part).items():
        if result.status == "failed":
            outcome.failed[ticker] = str(result.reason)
        else:
            outcome.done[ticker] = _metadata(result, walks.get(ticker))
    return outcome


def _metadata(result: TrainingOutcome, walk: TrainingOutcome | None) -> Metadata:
    shown = {
        "status": result.status,
        "reason": result.reason,
        "val_loss": result.validation_loss,
        "val_loss of no change": result.no_change_loss,
        "epochs": result.num_epochs,
        "best epoch": result.best_epoch,
        "duration (s)": result.duration_seconds,
        "training rows": result.num_training_rows,
        "validation rows": result.num_validation_rows,
        "folds": result.num_folds,
        "test rows": result.num_test_rows,
        "device": result.device,
        "GPU index": result.gpu_index,
        "VRAM peak (MiB)": result.vram_peak_mib,
        "losses": picture_of_network(result, walk) if result.part == "checkpoint" else picture_of_folds(result),
    }
    return {name: value for name, value in shown.items() if value is not None}


def _no_bars(ticker: str) -> str:
    return f"{ticker} has no bars; materialize price_history first"
