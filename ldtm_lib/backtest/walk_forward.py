"""The networks to train for the folds of one ticker, and the reports on their forecasts that the gate reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from ldtm_lib.backtest.folds import FoldPlan, RowSplit, furthest_session
from ldtm_lib.backtest.leakage import split_leaks
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.models.fit import Fit, FitTask
from ldtm_lib.sessions import Sessions

Prices = npt.NDArray[np.float64]
NO_LEAKS: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FoldReport:
    """The forecasts of one fold's network on sessions that it never saw, and the actual prices."""

    fold: int
    train_cutoff: date
    """The furthest session that training or validation read, labels included."""
    num_training_rows: int
    num_validation_rows: int
    num_epochs: int
    validation_loss: float
    sessions: Sessions
    """(n,) the sessions whose close the forecasts start from, oldest first."""
    close: Prices
    """(n,) their closes."""
    volatility: Prices
    """(n,) the daily volatility inside their windows; NaN in backtests that were stored without it."""
    predictions: Prices
    """(n, 3) forecast prices, columns in the order of HORIZONS."""
    actuals: Prices
    """(n, 3) the actual prices."""
    leaks: Mapping[str, int] = field(default_factory=lambda: NO_LEAKS)
    """Leaking rows, by the kinds of `split_leaks`; a kind without any is left out."""

    @property
    def num_leakage_rows(self) -> int:
        """Number of test rows whose session is not after the train cutoff, counted from the rows."""
        return int(np.count_nonzero(self.sessions <= np.datetime64(self.train_cutoff)))


def tasks_of(windows: WindowSet, folds: Sequence[FoldPlan], final: RowSplit | None) -> list[FitTask]:
    """The networks to train for one ticker: one per fold, and the final one when there is a split for it."""
    tasks = [
        FitTask(
            ticker=windows.ticker,
            fold=plan.fold,
            windows=windows,
            training_rows=plan.training_rows,
            validation_rows=plan.validation_rows,
        )
        for plan in folds
    ]
    if final is not None:
        tasks.append(
            FitTask(
                ticker=windows.ticker,
                fold=None,
                windows=windows,
                training_rows=final.training_rows,
                validation_rows=final.validation_rows,
            )
        )
    return tasks


def fold_report(plan: FoldPlan, fit: Fit, predictions: Prices) -> FoldReport:
    """The report of one fold; `predictions` are the prices (n, 3) that its network forecast for the test rows.

    Only the test rows come from the plan. The training and validation rows come from the task that the trainer was
    given, so that a row that was added to it by mistake is counted as leakage.
    """
    task, windows = fit.task, fit.task.windows
    return FoldReport(
        fold=plan.fold,
        train_cutoff=furthest_session(windows, task.training_rows, task.validation_rows),
        num_training_rows=len(task.training_rows),
        num_validation_rows=len(task.validation_rows),
        num_epochs=fit.num_epochs,
        validation_loss=fit.validation_loss,
        sessions=windows.sessions[plan.test_rows],
        close=windows.close[plan.test_rows],
        volatility=windows.volatility(plan.test_rows),
        predictions=predictions,
        actuals=windows.target_prices[plan.test_rows],
        leaks=split_leaks(task, plan.test_rows),
    )
