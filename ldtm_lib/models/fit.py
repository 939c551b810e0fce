"""Inputs and results of a training."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ldtm_lib.errors import LdtmError
from ldtm_lib.features.window_set import Rows, WindowSet

if TYPE_CHECKING:  # verdicts are read without torch
    from ldtm_lib.models.lstm import State


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FitTask:
    """One network to train: a ticker's windows, and the rows of those for training and for validation."""

    ticker: str
    fold: int | None
    """The fold of a backtest, or None for the final model."""
    windows: WindowSet
    training_rows: Rows
    validation_rows: Rows

    @property
    def name(self) -> str:
        """Name of the task in messages, such as `AAPL fold 2` or `AAPL final`."""
        return f"{self.ticker} final" if self.fold is None else f"{self.ticker} fold {self.fold}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The losses after one epoch of one task."""

    ticker: str
    fold: int | None
    epoch: int
    """Counted from 1."""
    max_epochs: int
    expected_epochs: int
    """Epochs until training stops if the validation loss never improves again."""
    training_loss: float
    validation_loss: float
    best_validation_loss: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fit:
    """A trained network: the weights of its best epoch and the course of its training."""

    task: FitTask
    state: "State"
    """Weights on the CPU, float32."""
    validation_loss: float
    """Loss at the best epoch; see `Objective`."""
    horizon_errors: tuple[float, ...]
    """(3,) mean squared errors of the horizons in normalised space at the best epoch, on the validation rows."""
    no_change_loss: float
    """The validation loss of forecasting no change."""
    no_change_errors: tuple[float, ...]
    """(3,) the mean squared errors of forecasting no change."""
    training_losses: tuple[float, ...]
    """Losses by epoch; measured while the weights moved, hence not exactly comparable with the validation losses."""
    validation_losses: tuple[float, ...]
    num_epochs: int
    best_epoch: int
    """Counted from 1."""
    duration_seconds: float
    """The network's share of the training's time: shares of networks trained together add up to the whole."""
    device: str
    vram_peak_mib: float | None = None
    """Peak memory of the device in MiB that the process held while the network trained; None unless on CUDA."""
    method: str | None = None
    """Training method on a GPU, with the reason if it was not the fastest one; None on the CPU."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FitFailed:
    """A task without a network, with the reason; the other tasks continued."""

    task: FitTask
    reason: LdtmError
