"""The training of one network, the plain way: every faster form is tested against it."""

import math
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from ldtm_lib.features.window_set import Rows, WindowSet
from ldtm_lib.models.fit import Fit, FitTask, Progress
from ldtm_lib.models.lstm import LdtmNetwork, State, initial_state, network_of
from ldtm_lib.models.schedule import EarlyStopping, learning_rate, require_finite, require_rows, seed_of
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

    AdamW with cosine annealing on the mean squared error of the scaled targets, FP16 with loss scaling on CUDA,
    float32 elsewhere. Stops when the validation loss has not improved for `patience` epochs and keeps the best
    epoch's weights. All windows are gathered once: 5,000 of them are 7 MB. Raises TooFewBars for a task without
    rows and TrainingDiverged when a loss is not finite.
    """
    started = time.perf_counter()
    require_rows(task)
    generator = torch.Generator().manual_seed(seed_of(task.ticker, task.fold, recipe.seed))
    network = network_of(initial_state(architecture, generator), architecture).to(device)
    training = _examples(task.windows, task.training_rows, device)
    validation = _examples(task.windows, task.validation_rows, device)
    descent = _Descent(network, recipe, device, steps_per_epoch=math.ceil(len(task.training_rows) / recipe.batch_size))
    stopping = EarlyStopping(patience=recipe.patience)
    training_losses: list[float] = []
    validation_losses: list[float] = []
    best: State = {}
    while stopping.epoch < recipe.max_epochs and not stopping.exhausted:
        order = torch.randperm(len(task.training_rows), generator=generator).to(device)
        training_losses.append(descent.epoch(*training, order))
        validation_losses.append(_mean_loss(network, *validation))
        require_finite(task, recipe, stopping.epoch + 1, training_losses[-1], validation_losses[-1])
        if stopping.improves(validation_losses[-1]):
            best = {name: tensor.detach().to("cpu", copy=True) for name, tensor in network.state_dict().items()}
        on_progress(
            Progress(
                ticker=task.ticker,
                fold=task.fold,
                epoch=stopping.epoch,
                max_epochs=recipe.max_epochs,
                training_loss=training_losses[-1],
                validation_loss=validation_losses[-1],
                best_validation_loss=stopping.best_loss,
            )
        )
    return Fit(
        task=task,
        state=best,
        validation_loss=stopping.best_loss,
        training_losses=tuple(training_losses),
        validation_losses=tuple(validation_losses),
        num_epochs=stopping.epoch,
        best_epoch=stopping.best_epoch,
        duration_seconds=time.perf_counter() - started,
        device=str(device),
    )


class _Descent:
    """One network's optimizer and where it is on its way."""

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

    def epoch(self, inputs: Tensor, targets: Tensor, order: Tensor) -> float:
        """Walk through all rows once in an order; returns the mean loss on the way."""
        total = torch.zeros((), device=self.device)
        for rows in torch.split(order, self.recipe.batch_size):
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(self.recipe, self.step, self.steps_per_epoch)
            self.optimizer.zero_grad()
            with torch.autocast(self.device.type, enabled=self.half_precision):
                predictions: Tensor = self.network(inputs[rows])
            loss = mse_loss(predictions.float(), targets[rows])
            torch.autograd.backward(self.scaler.scale(loss))
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.step += 1
            total += loss.detach() * len(rows)
        return total.item() / len(order)


def _examples(windows: WindowSet, rows: Rows, device: torch.device) -> tuple[Tensor, Tensor]:
    """Scaled windows and their scaled targets, on the device."""
    inputs, targets = windows.gather(rows), np.ascontiguousarray(windows.targets[rows])
    return torch.as_tensor(inputs, device=device), torch.as_tensor(targets, device=device)


@torch.inference_mode()
def _mean_loss(network: LdtmNetwork, inputs: Tensor, targets: Tensor) -> float:
    """The mean squared error over all rows and horizons, in float32."""
    total = torch.zeros((), device=inputs.device)
    for start in range(0, len(inputs), VALIDATION_BATCH):
        batch = slice(start, start + VALIDATION_BATCH)
        total += mse_loss(network(inputs[batch]), targets[batch], reduction="sum")
    return total.item() / targets.numel()
