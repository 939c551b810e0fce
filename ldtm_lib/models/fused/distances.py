"""Distances between what operations compute on a device and what the reference computes in float32 on the CPU.

Losses alone would not do: with a gradient of the forget gates that is always 0, trainings end with ordinary losses.
Hence the gradients of every block of parameters are compared with those of autograd, gate by gate.

Axes: M networks, B windows of a batch, E horizons, P elements of a network's row.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from ldtm_lib.features.window_set import Rows
from ldtm_lib.models.fit import FitTask
from ldtm_lib.models.fused.kernels.interface import REFERENCE, Operations
from ldtm_lib.models.fused.layout import FusedLayout
from ldtm_lib.models.fused.network import FusedNetwork
from ldtm_lib.models.fused.state import BETA1, BETA2, EPS, INITIAL_SCALE
from ldtm_lib.models.fused.windows import distinct_windows, tables_of
from ldtm_lib.models.lstm import State, initial_state, network_of
from ldtm_lib.models.objective import Objective, learning_moves, objective_of
from ldtm_lib.settings import ArchitectureConfig, TrainingConfig

GATES = ("input", "forget", "cell", "output")
"""In the order of `nn.LSTM`."""
UPDATES = 3
"""Steps of AdamW that are compared: with the second one momenta matter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerances:
    """Largest distances from the reference, as shares of the norm of what the reference gives."""

    forecasts: float
    gradients: float
    updates: float


TOLERANCES = {
    torch.float32: Tolerances(forecasts=1e-4, gradients=1e-4, updates=1e-4),
    torch.float16: Tolerances(forecasts=5e-3, gradients=2e-2, updates=1e-4),
}
"""Float32 adds up in another order. Float16 rounds every state to 2^-11 of it, and the hardware's tangent is off by as
much, over all sessions and both layers. Updates are float32 in both cases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distances:
    """Distances from the reference, as shares of the norm of what the reference gives; the largest of all networks."""

    forecasts: float
    gradients: dict[str, float]
    """By block of parameters, those of an LSTM layer by gate."""
    updates: float
    """Of the change of the weights in some steps of AdamW."""

    def wrong(self, tolerances: Tolerances) -> list[str]:
        """Everything that is further from the reference than it may be, or is not a number."""
        found = {
            "forecasts": (self.forecasts, tolerances.forecasts),
            **{f"gradient of {name}": (apart, tolerances.gradients) for name, apart in self.gradients.items()},
            "updates": (self.updates, tolerances.updates),
        }
        return [f"{name} {apart:.1e}" for name, (apart, limit) in found.items() if not apart <= limit]

    def summary(self, tolerances: Tolerances) -> str:
        """All distances in a line."""
        block = max(self.gradients, key=lambda name: self.gradients[name])
        return (
            f"forecasts off by {self.forecasts:.1e} (at most {tolerances.forecasts:.0e}), gradients of "
            f"{len(self.gradients)} blocks by {self.gradients[block]:.1e} (at most {tolerances.gradients:.0e}; worst "
            f"{block}), updates by {self.updates:.1e} (at most {tolerances.updates:.0e})"
        )


def distances(
    tasks: Sequence[FitTask],
    operations: Operations,
    *,
    recipe: TrainingConfig,
    architecture: ArchitectureConfig,
    device: torch.device,
    dtype: torch.dtype,
) -> Distances:
    """Compare one batch of each task's network, and some updates.

    Every weight is drawn at random, since a fresh residual network has gradients of 0. The last network has half a
    batch.
    """
    batch = _Batch(tasks, recipe, architecture, dtype)
    found_MBE, grads = _on_device(batch, operations, architecture, recipe, device, dtype)
    forecasts: list[float] = []
    gradients: dict[str, float] = {}
    for at, num_valid in enumerate(batch.num_valid):
        expected_BE, expected = _by_autograd(batch, at, architecture, recipe)
        forecasts.append(_distance(found_MBE[at, :num_valid], expected_BE))
        for name, block in _blocks(expected):
            gradients[name] = max(gradients.get(name, 0.0), _distance(dict(_blocks(grads[at]))[name], block))
    return Distances(
        forecasts=max(forecasts),
        gradients=gradients,
        updates=_distance_of_updates(operations, recipe, architecture, device, dtype),
    )


class _Batch:
    """One batch of each network: its windows, weights and objective."""

    def __init__(
        self, tasks: Sequence[FitTask], recipe: TrainingConfig, architecture: ArchitectureConfig, dtype: torch.dtype
    ) -> None:
        self.tasks = tasks
        self.size = min(recipe.batch_size, *(len(task.training_rows) for task in tasks))
        self.num_valid = [self.size] * (len(tasks) - 1) + [self.size // 2 + 1]
        self.states = [_weights(architecture, seed, dtype) for seed in range(len(tasks))]
        """Weights that forecast."""
        self.decided = [_decided(state) for state in self.states]
        """Weights whose gradients are compared."""
        self.objectives: list[Objective] = [objective_of(task, recipe) for task in tasks]

    def rows(self, at: int) -> Rows:
        """The windows (B,) of a network's batch; padding repeats the last one, as in a training."""
        return self.tasks[at].training_rows[np.arange(self.size).clip(max=self.num_valid[at] - 1)]

    def by_horizon(self, name: str) -> Tensor:
        """The units or weights (M, E) of all objectives, float32."""
        return torch.as_tensor(np.stack([getattr(objective, name) for objective in self.objectives])).float()


def _weights(architecture: ArchitectureConfig, seed: int, dtype: torch.dtype) -> State:
    """Weights none of which is 0, rounded to a type, whose rounding is not what is asked about."""
    state = initial_state(architecture.replace(residual=False), torch.Generator().manual_seed(seed))
    return {name: tensor.to(dtype).float() for name, tensor in state.items()}


def _decided(state: State) -> State:
    """The same weights with inner biases of the heads of 0.5 or -0.5.

    Gradients jump where a unit of the heads passes 0: one that is near it would be cut by one rounding alone.
    """
    return {
        name: 0.5 * tensor.sign() if re.fullmatch(r"heads\.\d+\.0\.bias", name) else tensor
        for name, tensor in state.items()
    }


def _on_device(
    batch: _Batch,
    operations: Operations,
    architecture: ArchitectureConfig,
    recipe: TrainingConfig,
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[Tensor, list[State]]:
    """Moves (M, B, E) that the fused networks forecast, and the gradients of each; both float32 on the CPU."""
    M, window_sets = len(batch.tasks), distinct_windows(batch.tasks)
    network = FusedNetwork(
        architecture,
        operations,
        num_networks=M,
        batch_size=batch.size,
        window_sessions=window_sets[0].window_sessions,
        delta=recipe.huber_delta,
        dtype=dtype,
        device=device,
    )
    tables = tables_of(window_sets, device, recipe=recipe, architecture=architecture)
    rows_MB = torch.stack([tables.rows_of(task.windows, batch.rows(at)) for at, task in enumerate(batch.tasks)])
    rows_MB = rows_MB.to(device)
    network.units_ME.copy_(batch.by_horizon("units"))
    network.targets_MBE.copy_(tables.targets_WE[rows_MB.long()])
    for at, num_valid in enumerate(batch.num_valid):
        network.valid_MB[at, :num_valid] = True

    def weights(states: Sequence[State]) -> Tensor:
        flat_MP = torch.zeros(M, network.layout.num_elements)
        for row_P, state in zip(flat_MP, states, strict=True):
            network.layout.write(row_P, state)
        return flat_MP.to(device, dtype)

    operations.gather_windows(
        tables.bars_SI, tables.low_WI, tables.span_WI, tables.starts_W, rows_MB, network.inputs_MTBK
    )
    network.forward(weights(batch.states), M)
    moves_MBE = network.predictions_MBE.to("cpu", copy=True)
    flat_MP = weights(batch.decided)
    grads_MP = torch.zeros_like(flat_MP)
    scale = INITIAL_SCALE if dtype == torch.float16 else 1.0
    while True:  # an overflow halves the scale, as in a training
        network.forward(flat_MP, M)
        network.backward(flat_MP, grads_MP, M, scale * batch.by_horizon("weights").to(device))
        if bool(grads_MP.isfinite().all()) or scale <= 1:
            break
        scale /= 2
    grads_MP = grads_MP.float().cpu() / scale
    return moves_MBE, [network.layout.read(row_P) for row_P in grads_MP]


def _by_autograd(
    batch: _Batch, at: int, architecture: ArchitectureConfig, recipe: TrainingConfig
) -> tuple[Tensor, State]:
    """Moves (n, E) that the reference network forecasts in float32 on the CPU, and the gradients of its mean loss.

    `residual` is off since moves are what networks learn.
    """
    moves = architecture.replace(residual=False)
    windows, rows = batch.tasks[at].windows, batch.rows(at)[: batch.num_valid[at]]
    inputs, targets_BE = (torch.as_tensor(of) for of in (windows.gather(rows), learning_moves(windows, rows, recipe)))
    units_E, weights_E = batch.by_horizon("units")[at], batch.by_horizon("weights")[at]
    network = network_of(batch.decided[at], moves).requires_grad_()
    errors_BE: Tensor = (network(inputs) - targets_BE) / units_E
    losses_BE = 2 * huber_loss(errors_BE, torch.zeros_like(errors_BE), reduction="none", delta=recipe.huber_delta)
    torch.autograd.backward((losses_BE * weights_E).mean())
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    return network_of(batch.states[at], moves)(inputs).detach(), gradients


def _blocks(parameters: State) -> Iterator[tuple[str, Tensor]]:
    """The parameters of a network by block, those of an LSTM layer by gate."""
    for name, tensor in parameters.items():
        if name.startswith("lstm."):
            for gate, part in zip(GATES, tensor.chunk(len(GATES)), strict=True):
                yield f"{name} ({gate} gate)", part
        else:
            yield name, tensor


def _distance_of_updates(
    operations: Operations,
    recipe: TrainingConfig,
    architecture: ArchitectureConfig,
    device: torch.device,
    dtype: torch.dtype,
) -> float:
    """The distance of some steps of AdamW from the reference's, two networks with gradients drawn at random."""
    num_elements = FusedLayout(architecture).num_elements
    generator = torch.Generator().manual_seed(0)
    weights_MP = torch.randn(2, num_elements, generator=generator)
    grads = [torch.randn(2, num_elements, generator=generator).to(dtype) for _ in range(UPDATES)]

    def updated(operations: Operations, device: torch.device) -> Tensor:
        flat_MP = weights_MP.to(device, copy=True)
        momenta = [torch.zeros_like(flat_MP) for _ in range(2)]
        half_MP = flat_MP.half() if dtype == torch.float16 else None
        for step, grads_MP in enumerate(grads, 1):
            numbers = {
                "learning_rate_M": recipe.learning_rate,
                "bias_correction1_M": 1 - BETA1**step,
                "bias_correction2_sqrt_M": math.sqrt(1 - BETA2**step),
                "inverse_scale_M": 0.5,
            }
            operations.adamw(
                flat_MP,
                half_MP,
                grads_MP.to(device),
                *momenta,
                **{name: torch.full((2,), value, device=device) for name, value in numbers.items()},
                update_M=torch.ones(2, dtype=torch.bool, device=device),
                weight_decay=recipe.weight_decay,
                beta1=BETA1,
                beta2=BETA2,
                eps=EPS,
            )
        return flat_MP.cpu() - weights_MP

    return _distance(updated(operations, device), updated(REFERENCE, torch.device("cpu")))


def _distance(found: Tensor, expected: Tensor) -> float:
    """The distance of two tensors as a share of the norm of the second; not a number where the first holds none."""
    apart, size = (float(of.square().sum()) for of in (found.double() - expected.double(), expected.double()))
    return math.sqrt(apart / max(size, 1e-24))
