"""Training of one network: the reference that the fused trainer is tested against, and the rules that both follow.

The recipe alone determines the seed, the learning rates, and the rules for stopping and giving up.
"""

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from ldtm_lib.errors import TooFewBars, TrainingDiverged
from ldtm_lib.features.window_set import Rows, WindowSet
from ldtm_lib.models.fit import Fit, FitTask, Progress
from ldtm_lib.models.lstm import LdtmNetwork, State, initial_state, network_of
from ldtm_lib.models.objective import Objective, learning_targets, objective_of
from ldtm_lib.settings import ArchitectureConfig, TrainingConfig

VALIDATION_BATCH = 1024


def fit_alone(
    task: FitTask,
    *,
    recipe: TrainingConfig,
    architecture: ArchitectureConfig,
    device: torch.device,
    on_progress: Callable[[Progress], None],
) -> Fit:
    """Train one network; the result depends on the task, the recipe and the architecture alone.

    AdamW with cosine annealing on the loss of `Objective`, FP16 with loss scaling on CUDA, float32 elsewhere. Stops
    when the validation loss has not improved for `patience` epochs and keeps the best epoch's weights. All windows are
    gathered once: 5,000 of them are 7 MB. Raises TooFewBars for a task without rows and TrainingDiverged when a loss is
    not finite.
    """
    started = time.perf_counter()
    require_rows(task)
    generator = torch.Generator().manual_seed(seed_of(task.ticker, task.fold, recipe.seed))
    network = network_of(initial_state(architecture, generator), architecture).to(device)
    training = _examples(task.windows, task.training_rows, recipe, device)
    validation = _examples(task.windows, task.validation_rows, recipe, device)
    descent = _Descent(network, recipe, device, steps_per_epoch=math.ceil(len(task.training_rows) / recipe.batch_size))
    objective = objective_of(task, recipe)
    loss = _Loss(objective, device)
    stopping = EarlyStopping(patience=recipe.patience)
    training_losses: list[float] = []
    validation_losses: list[float] = []
    best: State = {}
    best_errors: tuple[float, ...] = ()
    while stopping.epoch < recipe.max_epochs and not stopping.exhausted:
        order = torch.randperm(len(task.training_rows), generator=generator).to(device)
        training_losses.append(descent.epoch(*training, order, loss))
        losses, errors = _by_horizon(network, *validation, loss)
        validation_losses.append(objective.loss(losses))
        require_finite(task, recipe, stopping.epoch + 1, training_losses[-1], validation_losses[-1])
        if stopping.improves(validation_losses[-1]):
            best = {name: tensor.detach().to("cpu", copy=True) for name, tensor in network.state_dict().items()}
            best_errors = errors
        on_progress(
            Progress(
                ticker=task.ticker,
                fold=task.fold,
                epoch=stopping.epoch,
                max_epochs=recipe.max_epochs,
                expected_epochs=min(stopping.best_epoch + recipe.patience, recipe.max_epochs),
                training_loss=training_losses[-1],
                validation_loss=validation_losses[-1],
                best_validation_loss=stopping.best_loss,
            )
        )
    return Fit(
        task=task,
        state=best,
        validation_loss=stopping.best_loss,
        horizon_errors=best_errors,
        no_change_loss=objective.no_change_loss,
        no_change_errors=objective.no_change_errors,
        training_losses=tuple(training_losses),
        validation_losses=tuple(validation_losses),
        num_epochs=stopping.epoch,
        best_epoch=stopping.best_epoch,
        duration_seconds=time.perf_counter() - started,
        device=str(device),
    )


def validation_loss(fit: Fit, *, recipe: TrainingConfig, architecture: ArchitectureConfig) -> float:
    """The validation loss of a trained network, computed on the CPU in float32 (20 ms for 64 rows)."""
    cpu, task = torch.device("cpu"), fit.task
    objective = objective_of(task, recipe)
    validation = _examples(task.windows, task.validation_rows, recipe, cpu)
    return objective.loss(_by_horizon(network_of(fit.state, architecture), *validation, _Loss(objective, cpu))[0])


class _Descent:
    """One network's optimizer and its progress."""

    def __init__(
        self, network: LdtmNetwork, recipe: TrainingConfig, device: torch.device, *, steps_per_epoch: int
    ) -> None:
        self.network, self.recipe, self.device, self.steps_per_epoch = network, recipe, device, steps_per_epoch
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
        )
        self.half_precision = device.type == "cuda"
        self.scaler = torch.GradScaler(device.type, enabled=self.half_precision)
        self.step = 0

    def epoch(self, inputs: Tensor, targets: Tensor, order: Tensor, loss_of: "_Loss") -> float:
        """Train on all rows once, in the given order; returns the mean loss on the way."""
        total = torch.zeros((), device=self.device)
        for rows in torch.split(order, self.recipe.batch_size):
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(self.recipe, self.step, self.steps_per_epoch)
            self.optimizer.zero_grad()
            with torch.autocast(self.device.type, enabled=self.half_precision):
                predictions: Tensor = self.network(inputs[rows])
            loss = (loss_of(predictions.float(), targets[rows]) * loss_of.weights).mean()
            torch.autograd.backward(self.scaler.scale(loss))
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.step += 1
            total += loss.detach() * len(rows)
        return total.item() / len(order)


def _examples(windows: WindowSet, rows: Rows, recipe: TrainingConfig, device: torch.device) -> tuple[Tensor, Tensor]:
    """Scaled windows and their targets, on the device."""
    inputs, targets = windows.gather(rows), learning_targets(windows, rows, recipe)
    return torch.as_tensor(inputs, device=device), torch.as_tensor(targets, device=device)


class _Loss:
    """An objective on a device; calling it gives `huber(error / unit)` (n, 3) of predictions."""

    def __init__(self, objective: Objective, device: torch.device) -> None:
        self.units = torch.as_tensor(objective.units, dtype=torch.float32, device=device)
        self.weights = torch.as_tensor(objective.weights, dtype=torch.float32, device=device)
        self.delta = objective.delta

    def __call__(self, predictions: Tensor, targets: Tensor) -> Tensor:
        errors = (predictions - targets) / self.units
        return 2 * huber_loss(errors, torch.zeros_like(errors), reduction="none", delta=self.delta)


@torch.inference_mode()
def _by_horizon(
    network: LdtmNetwork, inputs: Tensor, targets: Tensor, loss_of: _Loss
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The means over all rows of the losses (3,) and of the squared errors (3,), in float32."""
    losses, squares = torch.zeros_like(loss_of.units), torch.zeros_like(loss_of.units)
    for start in range(0, len(inputs), VALIDATION_BATCH):
        batch = slice(start, start + VALIDATION_BATCH)
        predictions = network(inputs[batch])
        losses += loss_of(predictions, targets[batch]).sum(0)
        squares += (predictions - targets[batch]).square().sum(0)
    return _floats(losses / len(targets)), _floats(squares / len(targets))


def _floats(values: Tensor) -> tuple[float, ...]:
    return tuple(float(value) for value in values.cpu().numpy())


def seed_of(ticker: str, fold: int | None, seed: int) -> int:
    """The seed of one network: the first 63 bits of a SHA-256 of ticker, fold and the recipe's seed."""
    digest = hashlib.sha256(f"{ticker}|{'final' if fold is None else fold}|{seed}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def learning_rate(recipe: TrainingConfig, step: int, steps_per_epoch: int) -> float:
    """Cosine annealing (Loshchilov and Hutter 2017, without restarts) from the recipe's rate to 0, by the step.

    Steps count from 0 over all epochs; the rate would first be 0 at the step after the last one of `max_epochs`.
    """
    done = step / (recipe.max_epochs * steps_per_epoch)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


@dataclass(slots=True, kw_only=True)
class EarlyStopping:
    """Tracks validation losses: the best epoch so far, and whether patience has run out."""

    patience: int
    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = math.inf

    def improves(self, loss: float) -> bool:
        """Record the loss of the next epoch; returns whether it is the lowest so far."""
        self.epoch += 1
        if loss < self.best_loss:
            self.best_epoch, self.best_loss = self.epoch, loss
            return True
        return False

    @property
    def exhausted(self) -> bool:
        """True if `patience` epochs in a row brought no improvement."""
        return self.epoch - self.best_epoch >= self.patience


def require_rows(task: FitTask) -> None:
    """Raise TooFewBars if a task has no training rows or no validation rows."""
    for kind, rows in (("training", task.training_rows), ("validation", task.validation_rows)):
        if len(rows) == 0:
            raise TooFewBars(f"{task.name} has no {kind} rows; give {task.ticker} more bars or leave it untrained")


def require_finite(task: FitTask, recipe: TrainingConfig, epoch: int, training: float, validation: float) -> None:
    """Raise TrainingDiverged when a loss of an epoch is not a number."""
    if not (math.isfinite(training) and math.isfinite(validation)):
        raise TrainingDiverged(
            f"{task.name}: in epoch {epoch} the training loss is {training:.4g} and the validation loss "
            f"{validation:.4g}; lower [training] learning_rate, now {recipe.learning_rate}, and check the bars of "
            f"{task.ticker}"
        )
