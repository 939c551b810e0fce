"""Training: networks from bars, and what became of each ticker."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date

import polars as pl

from ldtm_assets.progress import TrainingReporter
from ldtm_assets.recording import Metadata, Outcome
from ldtm_lib.features.windows import windows_of
from ldtm_lib.models.device import choose_device
from ldtm_lib.prices import store
from ldtm_lib.project import Project
from ldtm_lib.registry.training import RetrainReport, TrainingOutcome, retrain
from ldtm_lib.sessions import Calendar


def train(
    project: Project,
    calendar: Calendar,
    tickers: Sequence[str],
    *,
    trained_on: date,
    parts: set[str],
    device: str,
    log: Callable[[str], None],
    reporter: TrainingReporter,
) -> RetrainReport:
    """Train what is not up to date of `backtests` and `checkpoints` for some tickers, all in one call."""
    with project.database.transaction() as conn:
        bars = store.current_bars(conn, tickers, last=trained_on)
    if len(bars):
        trained_on = min(trained_on, bars.select(pl.col("session").max()).item())
    windows = windows_of(bars, calendar, project.settings.window)
    report = retrain(
        project.database,
        project.checkpoint_folder,
        windows,
        project.settings,
        trained_on=trained_on,
        device=choose_device(device),
        backtests="backtests" in parts,
        checkpoints="checkpoints" in parts,
        on_progress=reporter.start(log),
    )
    log(summary(report))
    return report


def outcome_of(trained: Mapping[str, TrainingOutcome], tickers: Sequence[str]) -> Outcome:
    """What one part of a training means for the partitions of its asset. Too few bars is no failure."""
    outcome = Outcome()
    for ticker in tickers:
        if ticker not in trained:
            outcome.failed[ticker] = f"{ticker} has no bars; materialize price_history first"
            continue
        result = trained[ticker]
        if result.status == "failed":
            outcome.failed[ticker] = str(result.reason)
        else:
            outcome.done[ticker] = _metadata(result)
    return outcome


def summary(report: RetrainReport) -> str:
    """One line per network or backtest: what the log ends with."""
    lines = [f"trained on bars up to {report.trained_on}"]
    for result in report.outcomes:
        loss = "" if result.validation_loss is None else f", validation loss {result.validation_loss:.4f}"
        seconds = "" if result.duration_seconds is None else f", {result.duration_seconds:.1f} s"
        lines.append(f"{result.ticker} {result.part}: {result.status}{loss}{seconds}")
    return "\n".join(lines)


def _metadata(result: TrainingOutcome) -> Metadata:
    shown = {
        "status": result.status,
        "reason": result.reason,
        "validation loss": result.validation_loss,
        "epochs": result.num_epochs,
        "seconds": result.duration_seconds,
        "training rows": result.num_training_rows,
        "validation rows": result.num_validation_rows,
        "folds": result.num_folds,
        "test rows": result.num_test_rows,
        "device": result.device,
    }
    return {name: value for name, value in shown.items() if value is not None}
