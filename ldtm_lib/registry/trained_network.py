"""Record of the training of a network: of one that forecasts, or of one that a fold of a backtest tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ldtm_lib.models.fit import Fit

Part = Literal["checkpoint", "backtest"]
"""The parts of a training: the network that forecasts, and the walk-forward that tests networks like it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedNetwork:
    """The figures of one network's training. Those that may be None are None in rows older than their column."""

    fold: int | None
    """The fold of a backtest, or None for the final network."""
    num_training_rows: int
    num_validation_rows: int
    num_epochs: int
    best_epoch: int | None
    """Counted from 1."""
    validation_loss: float
    """At the best epoch."""
    no_change_loss: float | None
    """The validation loss of forecasting no change."""
    horizon_errors: tuple[float, ...] | None
    """(3,) the mean squared errors of the horizons at the best epoch, on the validation rows and without weights."""
    no_change_errors: tuple[float, ...] | None
    """(3,) the mean squared errors of forecasting no change."""
    training_losses: tuple[float, ...] | None
    """One loss per epoch."""
    validation_losses: tuple[float, ...] | None
    """One loss per epoch."""
    duration_seconds: float | None
    """Its share of the time of the networks that were trained together."""
    device: str | None
    gpu_index: int | None
    """Index of the machine's GPU that was leased for it; None if none was."""
    vram_peak_mib: float | None
    """Peak memory of the device; None without CUDA."""
    training_method: str | None = None
    """The method on a GPU, with the reason if a faster one failed; None on the CPU."""
    num_test_rows: int | None = None
    """Number of test rows of a fold."""


def trained_network(fit: Fit, *, gpu_index: int | None, num_test_rows: int | None = None) -> TrainedNetwork:
    """The figures of a fit."""
    task = fit.task
    return TrainedNetwork(
        fold=task.fold,
        num_training_rows=len(task.training_rows),
        num_validation_rows=len(task.validation_rows),
        num_epochs=fit.num_epochs,
        best_epoch=fit.best_epoch,
        validation_loss=fit.validation_loss,
        no_change_loss=fit.no_change_loss,
        horizon_errors=fit.horizon_errors,
        no_change_errors=fit.no_change_errors,
        training_losses=fit.training_losses,
        validation_losses=fit.validation_losses,
        duration_seconds=fit.duration_seconds,
        device=fit.device,
        gpu_index=gpu_index,
        vram_peak_mib=fit.vram_peak_mib,
        training_method=fit.method,
        num_test_rows=num_test_rows,
    )


def network_columns(networks: Sequence[TrainedNetwork | None]) -> dict[str, Sequence[object]]:
    """Records of the training of some networks, as the array parameters that statements share; NULL for None."""
    return {
        "best_epoch": [n and n.best_epoch for n in networks],
        "no_change_loss": [n and n.no_change_loss for n in networks],
        "horizon_errors": [n and _array(n.horizon_errors) for n in networks],
        "no_change_errors": [n and _array(n.no_change_errors) for n in networks],
        "training_losses": [n and _array(n.training_losses) for n in networks],
        "validation_losses": [n and _array(n.validation_losses) for n in networks],
        "duration_seconds": [n and n.duration_seconds for n in networks],
        "device": [n and n.device for n in networks],
        "gpu_index": [n and n.gpu_index for n in networks],
        "vram_peak_mib": [n and n.vram_peak_mib for n in networks],
        "training_method": [n and n.training_method for n in networks],
    }


def network_of_row(row: Mapping[str, Any]) -> TrainedNetwork:
    """A network from a row with a column for each of its fields."""
    fields: dict[str, Any] = dict(row)
    for name in ("horizon_errors", "no_change_errors", "training_losses", "validation_losses"):
        fields[name] = None if row[name] is None else tuple(row[name])
    return TrainedNetwork(**fields)


def _array(losses: Sequence[float] | None) -> str | None:
    """Losses as the text of a PostgreSQL array. Curves differ in length, and an array of arrays may not be ragged."""
    return None if losses is None else "{" + ",".join(str(loss) for loss in losses) + "}"
