"""Training targets of networks, and the units and weights of each horizon's errors in the loss.

A window in which the price hardly moved, such as that of a takeover target, has a tiny range: the first ordinary move
after it is a hundred ranges, and one such row would outweigh all others in a squared error. Targets are therefore
bounded. The squared errors of one month are about 25 times those of the next day, so each horizon has a unit and a
weight.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ldtm_lib.features.scaling import Float32s, Float64s
from ldtm_lib.features.window_set import Rows, WindowSet
from ldtm_lib.models.fit import FitTask
from ldtm_lib.sessions import HORIZONS, LONGEST_SESSIONS
from ldtm_lib.settings import NUM_HORIZONS, TrainingConfig


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Objective:
    """The loss of one task: the mean over rows and horizons of `weight * huber(error / unit)`.

    `huber(z)` is z^2 up to `delta` and 2 delta |z| - delta^2 beyond it (P. J. Huber, "Robust estimation of a location
    parameter", Annals of Mathematical Statistics 35, 1964, times two).
    """

    units: Float64s
    """(3,) the unit of each horizon's errors: the root mean squared error of forecasting no change on the
    training rows."""
    weights: Float64s
    """(3,) the weight of each horizon in the loss."""
    delta: float
    no_change_losses: tuple[float, ...]
    """(3,) the mean of `huber(error / unit)` of forecasting no change, on the validation rows."""
    no_change_errors: tuple[float, ...]
    """(3,) the mean squared errors of the same forecast."""

    def loss(self, by_horizon: npt.ArrayLike) -> float:
        """The loss, given the means of `huber(error / unit)` (3,) of the horizons."""
        return float(np.mean(self.weights * np.asarray(by_horizon)))

    @property
    def no_change_loss(self) -> float:
        """The validation loss of forecasting no change."""
        return self.loss(self.no_change_losses)


def objective_of(task: FitTask, recipe: TrainingConfig) -> Objective:
    """The loss of a task; units and weights follow from its training rows alone."""
    learned = _no_change_errors(task.windows, task.training_rows, recipe)
    watched = _no_change_errors(task.windows, task.validation_rows, recipe)
    units = np.sqrt(np.mean(np.square(learned), axis=0))
    units[units == 0] = 1.0  # a price that never moved
    return Objective(
        units=units,
        weights=np.ones(NUM_HORIZONS) if recipe.horizon_weights == "no_change" else np.square(units),
        delta=recipe.huber_delta,
        no_change_losses=_means(huber(watched / units, recipe.huber_delta)),
        no_change_errors=_means(np.square(watched)),
    )


def huber(errors: Float64s, delta: float) -> Float64s:
    """Squared errors up to `delta`; beyond it the result grows linearly with the error."""
    held = np.clip(errors, -delta, delta)
    return held * (2 * errors - held)


def learning_targets(windows: WindowSet, rows: Rows, recipe: TrainingConfig) -> Float32s:
    """The scaled targets (n, 3) of some windows, with their moves from the last close held within bounds.

    The bound of a horizon is `max_target_move` times the square root of its sessions, in ranges of the window's closes.
    NaN where a target is not known.
    """
    last = windows.last_closes(rows)[:, None]
    return last + learning_moves(windows, rows, recipe)


def learning_moves(windows: WindowSet, rows: Rows, recipe: TrainingConfig) -> Float32s:
    """The scaled targets (n, 3) of some windows less their scaled last close, held within bounds."""
    longest = np.array([LONGEST_SESSIONS[horizon] for horizon in HORIZONS], dtype=np.float32)
    bounds = np.float32(recipe.max_target_move) * np.sqrt(longest)
    moves = windows.targets[rows] - windows.last_closes(rows)[:, None]
    return np.clip(moves, -bounds, bounds, dtype=np.float32)


def _no_change_errors(windows: WindowSet, rows: Rows, recipe: TrainingConfig) -> Float64s:
    """Errors (n, 3) of forecasting the last close, in normalised space."""
    return -learning_moves(windows, rows, recipe).astype(np.float64)


def _means(by_row: Float64s) -> tuple[float, ...]:
    return tuple(float(mean) for mean in by_row.mean(axis=0))
