"""Training of tickers from their stored bars, and its report as partitions of an asset."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date

import dagster as dg

from ldtm_assets.materialization import Metadata, Outcome
from ldtm_assets.training.placement import HoldingReporter, TrainingPlace
from ldtm_assets.training.progress import TrainingReporter
from ldtm_lib.features.look_ahead import SAMPLED_WINDOWS, WindowLeaks, window_leaks
from ldtm_lib.features.windows import windows_of
from ldtm_lib.models.on_gpu.notice import TrainingNotice
from ldtm_lib.prices.stored_bars import current_bars, newest_sessions
from ldtm_lib.project import Project
from ldtm_lib.registry.trained_network import Part
from ldtm_lib.sessions import Calendar
from ldtm_lib.training.gpu_alert import tell_of_the_gpu
from ldtm_lib.training.record import NOT_SEARCHED, TrainingRecord, retrain
from ldtm_lib.training.report import TrainingOutcome, TrainingReport, summary_text
from ldtm_lib.training.run import TrainingContext
from ldtm_lib.wording import duration_text

LossPicture = Callable[[TrainingOutcome], dg.MetadataValue | None]
TICKERS_AT_ONCE = 500
"""Tickers of one call of the trainer: 1 GiB of windows, and 2,500 networks, more than a GPU trains at once."""
MOST_PICTURES = 200
"""Tickers of one training whose losses are drawn into the partitions."""


def train(
    project: Project,
    calendar: Calendar,
    tickers: Sequence[str],
    place: TrainingPlace,
    *,
    trained_on: date,
    parts: Sequence[Part],
    log: Callable[[str], None],
    reporter: TrainingReporter,
) -> TrainingReport:
    """Train the networks of some tickers that are not up to date. A ticker without bars is reported as failed.

    TICKERS_AT_ONCE are trained in one call, since the windows of a ticker with twenty years of bars take 2 MiB.
    """
    with project.database.transaction() as conn:
        newest = newest_sessions(conn, tickers, last=trained_on)
    trained_on = max(newest.values(), default=trained_on)
    notices: list[TrainingNotice] = []
    if place.unused_gpu:
        notices.append(TrainingNotice(text=place.unused_gpu, is_step_down=True))

    def notice(new: TrainingNotice) -> None:
        log(f"WARNING: {new.text}")
        notices.append(new)

    report = TrainingReport(trained_on=trained_on, outcomes=())
    for first in range(0, len(tickers), TICKERS_AT_ONCE):
        group = tickers[first : first + TICKERS_AT_ONCE]
        if len(group) < len(tickers):
            log(f"tickers {first + 1:,} to {first + len(group):,} of {len(tickers):,}")
        callbacks = HoldingReporter(reporter, place.lease).start(log)
        context = place.context(project.settings, callbacks, on_notice=notice, calendar=calendar)
        report = report.including(_train_group(project, calendar, group, context, trained_on, parts, log))
    log(summary_text(report))
    if report.num_trained and (place.may_use_gpu or notices):
        with project.database.transaction() as conn:
            tell_of_the_gpu(conn, notices)
    return replace(report, notices=tuple(each.text for each in notices))


def _train_group(
    project: Project,
    calendar: Calendar,
    tickers: Sequence[str],
    context: TrainingContext,
    trained_on: date,
    parts: Sequence[Part],
    log: Callable[[str], None],
) -> Sequence[TrainingOutcome]:
    """Train some tickers in one call; their windows are in memory together."""
    settings = project.settings
    with project.database.transaction() as conn:
        bars = current_bars(conn, tickers, last=trained_on)
    windows = windows_of(bars, calendar, settings.window)
    found: Mapping[str, WindowLeaks] = NOT_SEARCHED
    if "backtest" in parts:  # sampled at each training, which takes a second for a hundred tickers
        seed = settings.training.seed
        found = window_leaks(bars, windows, calendar, settings.window, num_samples=SAMPLED_WINDOWS, seed=seed)
    for of_ticker in found.values():
        if of_ticker.first:
            log(of_ticker.first)
    record = TrainingRecord(database=project.database, folder=project.checkpoint_folder, window_leaks=found)
    without_bars = [
        TrainingOutcome.without_networks(
            ticker, part, "failed", f"{ticker} has no bars; materialize price_history first"
        )
        for ticker in tickers
        for part in parts
        if ticker not in windows
    ]
    del bars
    return retrain(windows, context, record, trained_on=trained_on, parts=parts).including(without_bars).outcomes


def partitions_of(outcomes: Mapping[str, TrainingOutcome], losses: LossPicture) -> Outcome:
    """The outcomes of one part of a training as partitions of its asset. Too few bars is not a failure.

    Beyond MOST_PICTURES tickers the dashboard draws the losses on request: a picture takes 60 ms here
    and 10 KB of Dagster's event log at every training.
    """
    if len(outcomes) > MOST_PICTURES:
        losses = _drawn_on_demand
    partitions = Outcome()
    for ticker, outcome in outcomes.items():
        if outcome.status == "failed":
            partitions.failed[ticker] = str(outcome.reason)
        else:
            partitions.done[ticker] = _metadata(outcome, losses)
    return partitions


def _drawn_on_demand(outcome: TrainingOutcome) -> dg.MetadataValue | None:
    return dg.MetadataValue.text("the page Models of `ldtm dashboard` draws them") if outcome.networks else None


def _metadata(outcome: TrainingOutcome, losses: LossPicture) -> Metadata:
    shown = {
        "status": outcome.status,
        "reason": outcome.reason,
        "val_loss": _loss(outcome.validation_loss),
        "val_loss of no change": _loss(outcome.no_change_loss),
        "errors by horizon / no change": outcome.relative_errors,
        "epochs": outcome.num_epochs,
        "best epoch": outcome.best_epoch,
        "duration": None if outcome.duration_seconds is None else duration_text(outcome.duration_seconds, 1),
        "training rows": outcome.num_training_rows,
        "validation rows": outcome.num_validation_rows,
        "folds": outcome.num_folds,
        "test rows": outcome.num_test_rows,
        "device": outcome.device,
        "trained by": outcome.method,
        "GPU index": outcome.gpu_index,
        "VRAM peak (MiB)": None if outcome.vram_peak_mib is None else f"{outcome.vram_peak_mib:,.1f}",
        "losses": losses(outcome),
    }
    return {name: value for name, value in shown.items() if value is not None}


def _loss(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"
