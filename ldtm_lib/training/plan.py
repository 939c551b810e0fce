"""Plan of a training: the networks to train, the folds that test them, and the parts that need no training."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ldtm_lib.backtest.folds import FoldPlan, plan_final, plan_folds
from ldtm_lib.backtest.walk_forward import tasks_of
from ldtm_lib.errors import TooFewBars
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.models.fit import FitTask
from ldtm_lib.registry.trained_network import Part, TrainedNetwork
from ldtm_lib.settings import Settings
from ldtm_lib.training.report import TrainingOutcome

PARTS: tuple[Part, ...] = ("backtest", "checkpoint")
OnRecord = Mapping[Part, Mapping[str, Sequence[TrainedNetwork]]]
"""The networks that need not be trained again, by part and ticker."""


@dataclass(slots=True, kw_only=True, eq=False)
class TrainingPlan:
    """The networks and folds that one training trains, and the parts that it need not train."""

    tasks: list[FitTask] = field(default_factory=list[FitTask])
    folds: dict[str, Sequence[FoldPlan]] = field(default_factory=dict[str, Sequence[FoldPlan]])
    """The folds of every ticker whose backtest is trained, oldest first."""
    settled: list[TrainingOutcome] = field(default_factory=list[TrainingOutcome])
    """The parts that are up to date or have too few bars."""


def plan_training(
    windows: Mapping[str, WindowSet], settings: Settings, *, parts: Collection[Part] = PARTS, on_record: OnRecord
) -> TrainingPlan:
    """Plan the backtests and final networks of many tickers, except those on record.

    `windows` must hold no bar or label later than the training may see.
    """
    plan = TrainingPlan()
    for of_ticker in windows.values():
        if "backtest" in parts:
            _plan_backtest(plan, of_ticker, settings, on_record["backtest"].get(of_ticker.ticker))
        if "checkpoint" in parts:
            _plan_checkpoint(plan, of_ticker, settings, on_record["checkpoint"].get(of_ticker.ticker))
    return plan


def _plan_backtest(
    plan: TrainingPlan, windows: WindowSet, settings: Settings, on_record: Sequence[TrainedNetwork] | None
) -> None:
    folds = plan_folds(windows, settings.backtest, settings.training)
    if not folds:
        reason = (
            f"{windows.ticker} has {int(windows.labelled.sum())} labelled windows, too few for a fold of "
            f"{settings.backtest.test_sessions} test sessions after {settings.training.min_training_rows} training rows"
        )
        plan.settled.append(TrainingOutcome.without_networks(windows.ticker, "backtest", "too few bars", reason))
    elif on_record is not None:
        plan.settled.append(TrainingOutcome.of_networks(windows.ticker, "backtest", "up to date", on_record))
    else:
        plan.folds[windows.ticker] = folds
        plan.tasks += tasks_of(windows, folds, None)


def _plan_checkpoint(
    plan: TrainingPlan, windows: WindowSet, settings: Settings, on_record: Sequence[TrainedNetwork] | None
) -> None:
    if on_record is not None:
        plan.settled.append(TrainingOutcome.of_networks(windows.ticker, "checkpoint", "up to date", on_record))
        return
    try:
        split = plan_final(windows, settings.training)
    except TooFewBars as error:
        outcome = TrainingOutcome.without_networks(windows.ticker, "checkpoint", "too few bars", str(error))
        plan.settled.append(outcome)
        return
    plan.tasks += tasks_of(windows, (), split)
