"""Training of a plan: trains every network, tests every fold, and stores nothing.

Retrainings record the results (`record`); the placebo calibration judges them and keeps nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ldtm_lib.backtest.folds import FoldPlan
from ldtm_lib.backtest.walk_forward import FoldReport, fold_report
from ldtm_lib.baselines.fit import FittedBaselines, fit_baselines
from ldtm_lib.baselines.scores import ModelScore, score_fold
from ldtm_lib.features.neutral_band import neutral_bands
from ldtm_lib.models.fit import Fit, FitFailed, FitTask, Progress
from ldtm_lib.models.forecast import predict
from ldtm_lib.models.on_ray.engine import TrainingEngine
from ldtm_lib.models.trainer import OnNotice, fit_universe
from ldtm_lib.registry.trained_network import Part, TrainedNetwork, trained_network
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import GpuConfig, Settings
from ldtm_lib.training.plan import TrainingPlan


class TrainingCallbacks(Protocol):
    """Callbacks of a training, called in the thread that requested it, 50,000 times for a universe."""

    def on_start(self, tasks: Sequence[FitTask]) -> None:
        """Called once, before anything else, with the networks to train."""
        ...

    def on_epoch(self, progress: Progress) -> None:
        """Called after every epoch of every network, in bursts for networks that are trained together."""
        ...

    def on_result(self, result: Fit | FitFailed) -> None:
        """Called when a network was trained or failed, after the part that it completes was recorded."""
        ...


class NoCallbacks:
    """Callbacks that do nothing."""

    def on_start(self, tasks: Sequence[FitTask]) -> None:
        """Do nothing."""

    def on_epoch(self, progress: Progress) -> None:
        """Do nothing."""

    def on_result(self, result: Fit | FitFailed) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingContext:
    """The settings, the device and the callbacks of a training."""

    settings: Settings
    device: str
    """`cpu`, `cuda` or `cuda:N`; for a cluster `auto` as well."""
    engine: TrainingEngine = fit_universe
    """Engine that trains the networks: on this machine, or on a cluster."""
    gpu_index: int | None = None
    """The GPU that was leased for the training, as nvidia-smi counts."""
    gpu: GpuConfig | None = None
    """Share of the GPU that the training may take; None for that of the settings."""
    callbacks: TrainingCallbacks = field(default_factory=NoCallbacks)
    on_notice: OnNotice | None = None
    """Called when a GPU runs short of memory, or when a training method breaks off and a slower one continues."""
    calendar: Calendar | None = None
    """If given, baselines are fitted on the rows of every network and scored on every fold."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FinalNetwork:
    """A ticker's final network, trained."""

    ticker: str
    fit: Fit
    network: TrainedNetwork
    baselines: FittedBaselines | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TestedFolds:
    """A ticker's backtest with all of its folds trained and tested, oldest first."""

    ticker: str
    reports: tuple[FoldReport, ...]
    networks: tuple[TrainedNetwork, ...]
    scores: Mapping[int, tuple[ModelScore, ...]] = field(default_factory=dict[int, tuple[ModelScore, ...]])
    """Scores by fold, of the network and its baselines; empty if none were fitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedPart:
    """A part of a ticker's training with a network that could not be trained.

    A backtest without one of its folds counts as failed: the missing fold might be the worst.
    """

    ticker: str
    part: Part
    reason: str


TrainingResult = FinalNetwork | TestedFolds | FailedPart


def train(plan: TrainingPlan, context: TrainingContext) -> Iterator[TrainingResult]:
    """Train all networks of a plan in one call of the engine; yields each ticker's part as soon as it is complete.

    `on_result` is called for a network after the consumer of the iterator has handled the part that it completes.
    """
    settings, callbacks = context.settings, context.callbacks
    pending = {ticker: _PendingBacktest(ticker, folds) for ticker, folds in plan.folds.items()}
    callbacks.on_start(plan.tasks)
    for result in context.engine(
        plan.tasks,
        recipe=settings.training,
        architecture=settings.architecture,
        device=context.device,
        gpu=context.gpu or settings.gpu,
        on_progress=callbacks.on_epoch,
        on_notice=context.on_notice,
    ):
        if result.task.fold is None:
            yield _final(result, context)
        else:
            backtest = pending[result.task.ticker]
            backtest.add(result, result.task.fold, context)
            if not backtest.missing:
                yield backtest.result()
        callbacks.on_result(result)


def _final(result: Fit | FitFailed, context: TrainingContext) -> FinalNetwork | FailedPart:
    ticker = result.task.ticker
    if isinstance(result, FitFailed):
        return FailedPart(ticker=ticker, part="checkpoint", reason=str(result.reason))
    return FinalNetwork(
        ticker=ticker,
        fit=result,
        network=trained_network(result, gpu_index=context.gpu_index),
        baselines=None if context.calendar is None else _fitted(result.task, context.settings),
    )


def _fitted(task: FitTask, settings: Settings) -> FittedBaselines:
    """The baselines on the rows of a network."""
    return fit_baselines(task.windows, task.training_rows, task.validation_rows, settings.baselines)


class _PendingBacktest:
    """A backtest with folds that are not trained yet."""

    def __init__(self, ticker: str, folds: Sequence[FoldPlan]) -> None:
        self.ticker, self.missing = ticker, {plan.fold: plan for plan in folds}
        self._networks: list[TrainedNetwork] = []
        self._reports: list[FoldReport] = []
        self._scores: dict[int, tuple[ModelScore, ...]] = {}
        self._failures: list[str] = []

    def add(self, result: Fit | FitFailed, fold: int, context: TrainingContext) -> None:
        """Test one fold's network on the CPU, where daily forecasts are made too; only its forecasts are kept."""
        plan = self.missing.pop(fold)
        if isinstance(result, FitFailed):
            self._failures.append(str(result.reason))
            return
        predictions = predict(result.state, result.task.windows, plan.test_rows, context.settings.architecture, "cpu")
        self._networks.append(trained_network(result, gpu_index=context.gpu_index, num_test_rows=len(plan.test_rows)))
        report = fold_report(plan, result, predictions)
        self._reports.append(report)
        if context.calendar is not None:
            self._scores[fold] = score_fold(
                _fitted(result.task, context.settings),
                result.task.windows,
                plan.test_rows,
                predictions,
                calendar=context.calendar,
                band_n=neutral_bands(context.settings.forecast, report.volatility),
            )

    def result(self) -> TestedFolds | FailedPart:
        """The backtest, once no fold is missing."""
        if self._failures:
            return FailedPart(ticker=self.ticker, part="backtest", reason="; ".join(self._failures))
        return TestedFolds(
            ticker=self.ticker,
            reports=tuple(sorted(self._reports, key=lambda report: report.fold)),
            networks=tuple(sorted(self._networks, key=lambda network: network.fold or 0)),
            scores=self._scores,
        )
