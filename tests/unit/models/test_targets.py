"""Targets that networks learn from, and windows in which the price hardly moved: a takeover target and what follows."""

from datetime import date

import numpy as np
import polars as pl
import pytest
import torch

from ldtm_lib.backtest.folds import FoldPlan, plan_folds
from ldtm_lib.backtest.walk_forward import tasks_of
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.features.windows import windows_of
from ldtm_lib.models.cpu import one_thread_each
from ldtm_lib.models.fit import FitTask
from ldtm_lib.models.forecast import predict
from ldtm_lib.models.single_fit import fit_alone
from ldtm_lib.models.targets import learning_targets
from ldtm_lib.prices.sources.sample import SampleSource
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import ArchitectureConfig, BacktestConfig, TrainingConfig, WindowConfig

NUM_PINNED, FALL = 80, 0.15
FIRST_PINNED = 2_300
"""Of IBM's 3,270 bars: inside the training rows of both folds."""


def pinned(*, wobble: float, calendar: Calendar) -> WindowSet:
    """IBM with 80 sessions at one price, give or take a wobble, and a fall of 15% afterwards."""
    bars = SampleSource().fetch(["IBM"], date(2000, 3, 1), date(2013, 3, 1)).bars
    at = np.arange(len(bars))
    close = bars["close"].to_numpy()
    price = close[FIRST_PINNED]
    level = price * np.where(at % 2 == 0, 1 + wobble, 1 - wobble)
    fallen = price * (1 - FALL) / close[FIRST_PINNED + NUM_PINNED]
    columns = [
        pl.Series(
            name,
            np.select(
                [at < FIRST_PINNED, at < FIRST_PINNED + NUM_PINNED], [bars[name].to_numpy(), level], fallen * bars[name]
            ),
        )
        for name in ("open", "high", "low", "close")
    ]
    return windows_of(bars.with_columns(columns), calendar, WindowConfig())["IBM"]


def newest_fold(windows: WindowSet) -> tuple[FoldPlan, FitTask]:
    plans = plan_folds(windows, BacktestConfig(num_folds=1), TrainingConfig())
    return plans[0], tasks_of(windows, plans, None)[0]


def test_targets_of_ordinary_windows_are_their_scaled_prices(windows: dict[str, WindowSet]) -> None:
    """Of IBM's 13 years 3 moves in 1,000 are held."""
    ibm = windows["IBM"]
    rows = np.flatnonzero(ibm.labelled)
    found = learning_targets(ibm, rows, TrainingConfig())
    same = np.isclose(found, ibm.targets[rows], rtol=0, atol=1e-6)
    assert same.mean() > 0.997


@pytest.mark.parametrize("wobble", [8e-4, 8e-5])
def test_no_pinned_window_outweighs_the_others(wobble: float, calendar: Calendar) -> None:
    windows = pinned(wobble=wobble, calendar=calendar)
    rows = newest_fold(windows)[1].training_rows
    last = windows.last_closes(rows)[:, None]
    shares = [
        share_of_worst((targets - last) ** 2)
        for targets in (windows.targets[rows], learning_targets(windows, rows, TrainingConfig()))
    ]
    assert shares[0] > 0.95
    assert shares[1] < 0.3


def share_of_worst(squares: np.ndarray) -> float:
    """The share of the worst 1% of rows in all squared errors of forecasting no change."""
    by_row = np.sort(squares.sum(axis=1))
    return by_row[-len(by_row) // 100 :].sum() / by_row.sum()


@pytest.mark.slow
def test_a_ticker_with_pinned_prices_is_forecast_about_as_well_as_by_no_change(calendar: Calendar) -> None:
    windows = pinned(wobble=8e-5, calendar=calendar)
    plan, task = newest_fold(windows)
    shape = ArchitectureConfig(hidden=16)
    with one_thread_each():
        fit = fit_alone(
            task,
            recipe=TrainingConfig(max_epochs=8, learning_rate=4e-3),
            architecture=shape,
            device=torch.device("cpu"),
            on_progress=lambda _: None,
        )
    predictions = predict(fit.state, windows, plan.test_rows, shape, "cpu")
    actual, close = windows.target_prices[plan.test_rows], windows.close[plan.test_rows, None]
    ratios = np.abs(predictions - actual).mean(axis=0) / np.abs(close - actual).mean(axis=0)
    assert (ratios < 1.1).all(), ratios
