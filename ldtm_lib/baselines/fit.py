"""Fit of the baselines of one network, on the training and validation rows of that network.

Axes: n rows, F inputs of a flattened window, H horizons, P penalties.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ldtm_lib.baselines.blas import one_blas_thread
from ldtm_lib.features.inputs import INPUTS
from ldtm_lib.features.scaling import Float64s, scale_prices
from ldtm_lib.features.window_set import Rows, WindowSet
from ldtm_lib.settings import BaselineConfig

LOG_RETURN = INPUTS.index("log_return_1")
ROWS_PER_BLOCK = 1024
"""Rows that are flattened at once: 1,024 windows of 30 x 11 float64 are 2.7 MB, however long the history."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedBaselines:
    """The parameters of drift, AR(1) and ridge regression, fitted on the rows of one network."""

    num_training_rows: int
    num_validation_rows: int
    drift: float
    """Mean log return per session."""
    ar1_intercept: float
    ar1_slope: float
    """Slope of the daily log return on the previous one, held within -1 and 1, so that iteration cannot diverge."""
    ridge_penalties: tuple[float, ...]
    """(H,) penalties per training row, chosen on the validation rows."""
    ridge_coefficients: Float64s
    """(F + 1, H) coefficients of the flattened window, the intercept last; they predict the move from the last scaled
    close."""


def fit_baselines(
    windows: WindowSet, training_rows: Rows, validation_rows: Rows, config: BaselineConfig
) -> FittedBaselines:
    """Fit all baselines on the training rows; the validation rows choose the ridge penalties and nothing else.

    Both must hold at least one labelled row. No other row, bar or label is read.
    """
    last_returns = windows.inputs[windows.ends[training_rows], LOG_RETURN].astype(np.float64)
    next_returns = np.log(windows.target_prices[training_rows, 0] / windows.close[training_rows])
    slope = _slope(last_returns, next_returns)
    with one_blas_thread():
        penalties, coefficients = _ridge(windows, training_rows, validation_rows, np.array(config.ridge_penalties))
    return FittedBaselines(
        num_training_rows=len(training_rows),
        num_validation_rows=len(validation_rows),
        drift=float(next_returns.mean()),
        ar1_intercept=float(next_returns.mean() - slope * last_returns.mean()),
        ar1_slope=slope,
        ridge_penalties=penalties,
        ridge_coefficients=coefficients,
    )


def _slope(last_returns: Float64s, next_returns: Float64s) -> float:
    """The least-squares slope of the next return on the last one; 0 where the last one never varies."""
    centred = last_returns - last_returns.mean()
    variation = centred @ centred
    return float(np.clip(centred @ next_returns / variation, -1.0, 1.0)) if variation > 0 else 0.0


def _ridge(
    windows: WindowSet, training_rows: Rows, validation_rows: Rows, penalties_P: Float64s
) -> tuple[tuple[float, ...], Float64s]:
    """The penalty of each horizon with the smallest validation error, and its coefficients (F + 1, H).

    Normal equations about the means in float64, solved for all penalties at once; the intercept is not penalised.
    """
    num_inputs = windows.window_sessions * windows.inputs.shape[1]
    num_horizons = windows.targets.shape[1]
    gram_FF, cross_FH = np.zeros((num_inputs, num_inputs)), np.zeros((num_inputs, num_horizons))
    sum_F, sum_H = np.zeros(num_inputs), np.zeros(num_horizons)
    for x_nF, y_nH in _blocks(windows, training_rows):
        gram_FF += x_nF.T @ x_nF
        cross_FH += x_nF.T @ y_nH
        sum_F += x_nF.sum(axis=0)
        sum_H += y_nH.sum(axis=0)
    num_rows = len(training_rows)
    mean_F, mean_H = sum_F / num_rows, sum_H / num_rows
    gram_FF -= num_rows * np.outer(mean_F, mean_F)
    cross_FH -= num_rows * np.outer(mean_F, mean_H)
    penalised_PFF = gram_FF + num_rows * penalties_P[:, None, None] * np.eye(num_inputs)
    slopes_PFH = np.linalg.solve(penalised_PFF, np.broadcast_to(cross_FH, (len(penalties_P), *cross_FH.shape)))
    intercepts_PH = mean_H - mean_F @ slopes_PFH

    loss_PH = np.zeros(intercepts_PH.shape)
    for x_nF, y_nH in _blocks(windows, validation_rows):
        loss_PH += ((x_nF @ slopes_PFH + intercepts_PH[:, None] - y_nH) ** 2).sum(axis=1)
    best_H = loss_PH.argmin(axis=0)
    coefficients_PFH = np.concatenate([slopes_PFH, intercepts_PH[:, None]], axis=1)
    chosen_FH = np.stack([coefficients_PFH[best, :, at] for at, best in enumerate(best_H)], axis=1, dtype=np.float64)
    return tuple(penalties_P[best_H].tolist()), chosen_FH


def _blocks(windows: WindowSet, rows: Rows) -> Iterator[tuple[Float64s, Float64s]]:
    """Flattened windows (n, F) and the moves (n, H) from their last scaled close to their scaled targets, in blocks."""
    for start in range(0, len(rows), ROWS_PER_BLOCK):
        block = rows[start : start + ROWS_PER_BLOCK]
        last = scale_prices(windows.close[block, None], windows.close_min[block], windows.close_max[block])
        moves = windows.targets[block].astype(np.float64) - last
        yield windows.gather(block).reshape(len(block), -1).astype(np.float64), moves
