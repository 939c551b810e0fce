"""The state of many networks in training, and one step of training or validation of all of them.

Every network has its own order of rows, place in its epoch, learning rate, loss scale and count of updates, all of them
tensors: a step needs nothing from the host, so that it can be captured in a CUDA graph, unless the windows are on the
host. The first m networks are computed; those of them that have no rows left in their epoch do not change.

Axes: M fused networks, P elements of a network's row, B windows of a batch, R training rows, V validation rows.
"""

import math
from functools import partial

import torch
from torch import Tensor

from ldtm_lib.models.fused.kernels.interface import REFERENCE
from ldtm_lib.models.fused.network import FusedNetwork
from ldtm_lib.models.fused.windows import WindowTables
from ldtm_lib.models.objective import Objective
from ldtm_lib.settings import TrainingConfig

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8
"""Constants of AdamW, as in PyTorch."""
INITIAL_SCALE, BACKOFF, GROWTH, GROWTH_INTERVAL = 65536.0, 0.5, 2.0, 2000
"""Constants of the loss scale under float16, as in PyTorch's GradScaler."""


class FusedState:
    """Weights, momenta, best weights and places of as many networks as there are buffers for, on their device."""

    def __init__(
        self,
        network: FusedNetwork,
        tables: WindowTables,
        recipe: TrainingConfig,
        *,
        windows_on_device: bool,
        max_training_rows: int,
        max_validation_rows: int,
    ) -> None:
        M, P, device = len(network.inputs_MTBK), network.layout.num_elements, network.inputs_MTBK.device
        self.network, self.tables, self.recipe = network, tables, recipe
        self.windows_on_device = windows_on_device
        self.half_precision = network.inputs_MTBK.dtype == torch.float16

        def floats(*shape: int) -> Tensor:
            return torch.zeros(shape, device=device)

        def counts(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        self.parameters_MP, self.exp_avg_MP, self.exp_avg_sq_MP, self.best_MP = (floats(M, P) for _ in range(4))
        self.half_MP = torch.zeros(M, P, dtype=torch.float16, device=device) if self.half_precision else None
        self.grads_MP = torch.zeros(M, P, dtype=network.inputs_MTBK.dtype, device=device)
        self.order_MR = counts(M, max_training_rows, dtype=torch.int32)
        self.validation_MV = counts(M, max_validation_rows, dtype=torch.int32)
        self.num_rows_M, self.num_validation_M, self.num_steps_M = counts(M), counts(M), counts(M)
        self.cursor_M, self.validation_cursor_M = counts(M), counts(M)
        self.attempts_M, self.updates_M, self.streak_M = counts(M), counts(M), counts(M)
        self.scale_M = torch.full((M,), INITIAL_SCALE if self.half_precision else 1.0, device=device)
        E = network.targets_MBE.shape[2]
        self.weight_ME = floats(M, E)
        self.training_losses_ME, self.validation_losses_ME = floats(M, E), floats(M, E)
        self.validation_squares_ME = floats(M, E)
        self.rows_MB = counts(M, recipe.batch_size, dtype=torch.int32)
        self.overflow_M = counts(M, dtype=torch.int32) if self.half_precision else None
        self.update_M = counts(M, dtype=torch.bool)
        self.learning_rate_M, self.inverse_scale_M = floats(M), floats(M)
        self.bias_correction1_M, self.bias_correction2_sqrt_M = floats(M), floats(M)

    @property
    def weights_MP(self) -> Tensor:
        """The weights that forward and backward passes read."""
        return self.parameters_MP if self.half_MP is None else self.half_MP

    def training_step(self, m: int) -> None:
        """One batch of each of the first m networks: forecast, gradients, update."""
        network = self.network
        self._take_batch(self.order_MR, self.num_rows_M, self.cursor_M, m)
        network.forward(self.weights_MP, m, losses_ME=self.training_losses_ME[:m])
        network.backward(self.weights_MP, self.grads_MP, m, self.weight_ME[:m], scale_M=self.scale_M[:m])
        self._update(network.valid_MB[:m, 0], m)

    def validation_step(self, m: int) -> None:
        """Add the losses and squared errors of one batch of validation rows of each of the first m networks."""
        self._take_batch(self.validation_MV, self.num_validation_M, self.validation_cursor_M, m)
        losses_ME, squares_ME = self.validation_losses_ME[:m], self.validation_squares_ME[:m]
        self.network.forward(self.weights_MP, m, losses_ME=losses_ME, squares_ME=squares_ME)

    def begin_epoch(self) -> None:
        """Put every network at the beginning of its rows."""
        self.cursor_M.zero_()
        self.validation_cursor_M.zero_()
        for sums_ME in (self.training_losses_ME, self.validation_losses_ME, self.validation_squares_ME):
            sums_ME.zero_()

    def means(self) -> Tensor:
        """Means of the epoch, (3, M, E) on the CPU: losses of training and of validation, squared errors of validation.

        Waits for the device.
        """
        training_ME = self.training_losses_ME / self.num_rows_M.clamp(min=1)[:, None]
        num_validation_M1 = self.num_validation_M.clamp(min=1)[:, None]
        validation_ME, squares_ME = (
            sums_ME / num_validation_M1 for sums_ME in (self.validation_losses_ME, self.validation_squares_ME)
        )
        return torch.stack([training_ME, validation_ME, squares_ME]).cpu()

    def keep_best(self, improved_M: Tensor) -> None:
        """Keep the weights of the networks that improved (M,) as their best."""
        improved_M1 = improved_M.to(self.best_MP.device)[:, None]
        torch.where(improved_M1, self.parameters_MP, self.best_MP, out=self.best_MP)

    def place(
        self, slot: int, weights_P: Tensor, validation_rows_V: Tensor, *, num_rows: int, objective: Objective
    ) -> None:
        """Begin a network in a slot with its initial weights; nothing of the slot's previous network remains."""
        for tensor in self._of_a_network():
            tensor[slot].zero_()
        self.parameters_MP[slot] = weights_P
        if self.half_MP is not None:
            self.half_MP[slot] = self.parameters_MP[slot]
        self.validation_MV[slot, : len(validation_rows_V)] = validation_rows_V
        self.num_rows_M[slot], self.num_validation_M[slot] = num_rows, len(validation_rows_V)
        self.weight_ME[slot] = torch.as_tensor(objective.weights)
        self.network.units_ME[slot] = torch.as_tensor(objective.units)
        self.num_steps_M[slot] = self.recipe.max_epochs * math.ceil(num_rows / self.recipe.batch_size)
        self.scale_M[slot] = INITIAL_SCALE if self.half_precision else 1.0

    def move(self, slot: int, to: int) -> None:
        """Move a network to another slot, overwriting the network there."""
        for tensor in self._of_a_network():
            tensor[to] = tensor[slot]

    def clear(self, slot: int) -> None:
        """Leave a slot without a network."""
        self.num_rows_M[slot], self.num_validation_M[slot] = 0, 0

    def _of_a_network(self) -> list[Tensor]:
        """All tensors that have a row per network, by slot."""
        half = [] if self.half_MP is None else [self.half_MP]
        return [
            *(self.parameters_MP, self.exp_avg_MP, self.exp_avg_sq_MP, self.best_MP, *half),
            *(self.order_MR, self.validation_MV, self.num_rows_M, self.num_validation_M, self.num_steps_M),
            *(self.attempts_M, self.updates_M, self.streak_M, self.scale_M, self.weight_ME, self.network.units_ME),
        ]

    def _take_batch(self, order: Tensor, num_rows_M: Tensor, cursor_M: Tensor, m: int) -> None:
        """Gather the next batch of each network and mark its windows; the rest is padding."""
        network, tables = self.network, self.tables
        rows_MB, targets_MBE, inputs_MTBK = self.rows_MB[:m], network.targets_MBE[:m], network.inputs_MTBK[:m]
        take_rows = partial(
            network.operations.take_rows, order[:m], num_rows_M[:m], cursor_M[:m], network.valid_MB[:m], rows_MB
        )
        windows = (tables.bars_SI, tables.low_WI, tables.span_WI, tables.starts_W)
        if self.windows_on_device:
            take_rows(targets_WE=tables.targets_WE, targets_MBE=targets_MBE)
            network.operations.gather_windows(*windows, rows_MB, inputs_MTBK)
        else:
            take_rows()
            on_host_MB, gathered_MTBK = rows_MB.cpu(), torch.zeros(inputs_MTBK.shape)
            REFERENCE.gather_windows(*windows, on_host_MB, gathered_MTBK)
            inputs_MTBK.copy_(gathered_MTBK)
            targets_MBE.copy_(tables.targets_WE[on_host_MB.long()])

    def _update(self, active_M: Tensor, m: int) -> None:
        """AdamW for the networks that had rows; under float16 only where all gradients are finite."""
        operations, overflow_M = self.network.operations, None
        if self.overflow_M is not None:
            overflow_M = self.overflow_M[:m]
            operations.find_overflows(self.grads_MP[:m], active_M, overflow_M)
        numbers = {
            "learning_rate_M": self.learning_rate_M[:m],
            "bias_correction1_M": self.bias_correction1_M[:m],
            "bias_correction2_sqrt_M": self.bias_correction2_sqrt_M[:m],
            "inverse_scale_M": self.inverse_scale_M[:m],
            "update_M": self.update_M[:m],
        }
        operations.plan_updates(
            active_M=active_M,
            num_steps_M=self.num_steps_M[:m],
            attempts_M=self.attempts_M[:m],
            updates_M=self.updates_M[:m],
            streak_M=self.streak_M[:m],
            scale_M=self.scale_M[:m],
            overflow_M=overflow_M,
            **numbers,
            learning_rate=self.recipe.learning_rate,
            beta1=BETA1,
            beta2=BETA2,
            backoff=BACKOFF,
            growth=GROWTH,
            growth_interval=GROWTH_INTERVAL,
        )
        operations.adamw(
            self.parameters_MP[:m],
            None if self.half_MP is None else self.half_MP[:m],
            self.grads_MP[:m],
            self.exp_avg_MP[:m],
            self.exp_avg_sq_MP[:m],
            **numbers,
            weight_decay=self.recipe.weight_decay,
            beta1=BETA1,
            beta2=BETA2,
            eps=EPS,
        )
