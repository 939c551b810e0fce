"""Many networks that forecast and learn in one go: buffers, forward pass, loss and gradients.

Everything is written out, in buffers that are made once: a training step allocates next to nothing, can be captured
in a CUDA graph, and what it needs is known beforehand (`memory`). The gradients are those that autograd finds
for the reference network; a test compares them. Predictions and targets of residual networks are the moves from the
last close here, so that the recurrence and the heads are the same for both kinds.

Axes: M fused networks, of which the first m are computed, T sessions of a window, B windows of a batch, K
columns of the buffer of inputs, I inputs, H hidden units, G = 4 H gates, J = 2 H, F inner units of all heads,
E horizons, D inner units of a head, P elements of a network's row.
"""

import torch
from torch import Tensor

from ldtm_lib.models.fused.kernels.interface import INPUT_COLUMNS, Operations
from ldtm_lib.models.fused.layout import FusedLayout, FusedWeights
from ldtm_lib.settings import ArchitectureConfig


class FusedNetwork:
    """The buffers of one step of up to M networks with B windows each, and what is computed in them."""

    def __init__(
        self,
        architecture: ArchitectureConfig,
        operations: Operations,
        *,
        num_networks: int,
        batch_size: int,
        window_sessions: int,
        delta: float,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.layout, self.operations = FusedLayout(architecture), operations
        self.hidden, self.head_hidden = architecture.hidden, architecture.head_hidden
        M, T, B, H = num_networks, window_sessions, batch_size, architecture.hidden
        self.window_sessions = T

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        self.inputs_MTBK = zeros(M, T, B, INPUT_COLUMNS)
        self.targets_MBE = torch.zeros(M, B, architecture.num_horizons, device=device)
        self.units_ME = torch.ones(M, architecture.num_horizons, device=device)
        """The unit of each network's errors by horizon; see `Objective`."""
        self.delta = delta
        self.valid_MB = torch.zeros(M, B, dtype=torch.bool, device=device)
        self.first_gates_MTBG, self.second_gates_MTBG = zeros(M, T, B, 4 * H), zeros(M, T, B, 4 * H)
        self.first_cell_MTBH, self.second_cell_MTBH = zeros(M, T, B, H), zeros(M, T, B, H)
        self.states_MUBJ = zeros(M, T + 1, B, 2 * H)
        """U = T + 1: first layer's hidden state of a session beside the second layer's of the session before it, which
        is what the second layer reads then; one product with it gives the gradients of both its matrices."""
        self.inner_MBF = zeros(M, B, architecture.num_horizons * architecture.head_hidden)
        self.predictions_MBE = torch.zeros_like(self.targets_MBE)

    def forward(self, flat_MP: Tensor, m: int) -> None:
        """Forecast the gathered windows of the first m networks with the weights in a matrix (at least m, P)."""
        weights, T, H = self.layout.weights(flat_MP[:m]), self.window_sessions, self.hidden
        active_M = self.valid_MB[:m, 0]
        states = self.states_MUBJ[:m]
        self.operations.lstm_forward(
            self.first_gates_MTBG[:m],
            weights.first_hh_MGH,
            states[:, :T, :, :H],
            self.first_cell_MTBH[:m],
            active_M=active_M,
            inputs_MTBK=self.inputs_MTBK[:m],
            weight_ih_MGI=weights.first_ih_MGI,
        )
        torch.bmm(
            states[:, :T].flatten(1, 2)[..., :H],
            weights.second_ih_MGH.transpose(1, 2),
            out=self.second_gates_MTBG[:m].flatten(1, 2),
        )
        self.operations.lstm_forward(
            self.second_gates_MTBG[:m],
            weights.second_hh_MGH,
            states[:, 1:, :, H:],
            self.second_cell_MTBH[:m],
            active_M=active_M,
        )
        inner_MBF = self.inner_MBF[:m]
        torch.baddbmm(
            weights.inner_bias_MF[:, None], states[:, T, :, H:], weights.inner_MFH.transpose(1, 2), out=inner_MBF
        ).relu_()
        by_head_MBED = self._by_head(inner_MBF).float()
        torch.add(
            (by_head_MBED * weights.outer_MED[:, None].float()).sum(3),
            weights.outer_bias_ME[:, None],
            out=self.predictions_MBE[:m],
        )

    def losses(self, m: int) -> Tensor:
        """Sums over the batch of `huber(error / unit)` (m, E); padding counts nothing."""
        errors_MBE = self._errors(m)
        held_MBE = errors_MBE.clamp(-self.delta, self.delta)
        return (held_MBE * (2 * errors_MBE - held_MBE)).sum(1)

    def squared_errors(self, m: int) -> Tensor:
        """Sums over the batch of squared errors (m, E); padding counts nothing."""
        return self._errors(m).square().sum(1) * self.units_ME[:m].square()

    def backward(self, flat_MP: Tensor, grads_MP: Tensor, m: int, loss_scale_ME: Tensor) -> None:
        """Put the gradients of the mean losses, times a scale by horizon, into a matrix (at least m, P).

        Needs what the forward pass left in the buffers, and uses it up.
        """
        weights, grads = self.layout.weights(flat_MP[:m]), self.layout.weights(grads_MP[:m])
        T, B, H = self.window_sessions, self.valid_MB.shape[1], self.hidden
        active_M, states = self.valid_MB[:m, 0], self.states_MUBJ[:m]
        second_gates, first_gates = self.second_gates_MTBG[:m], self.first_gates_MTBG[:m]
        grad_last_MBH = self._heads_backward(weights, grads, m, loss_scale_ME)

        self.operations.lstm_backward(
            second_gates,
            weights.second_hh_MGH,
            self.second_cell_MTBH[:m],
            active_M=active_M,
            grad_last_MBH=grad_last_MBH,
        )
        grad_second = second_gates.flatten(1, 2)
        torch.bmm(grad_second.transpose(1, 2), states[:, :T].flatten(1, 2), out=grads.second_MGJ)
        grad_hidden_MTBH = self.second_cell_MTBH[:m]  # nobody reads the second layer's cells any more
        torch.bmm(grad_second, weights.second_ih_MGH, out=grad_hidden_MTBH.flatten(1, 2))

        self.operations.lstm_backward(
            first_gates,
            weights.first_hh_MGH,
            self.first_cell_MTBH[:m],
            active_M=active_M,
            grad_hidden_MTBH=grad_hidden_MTBH,
        )
        grad_first = first_gates.flatten(1, 2)
        inputs = self.inputs_MTBK[:m].flatten(1, 2)[..., : weights.first_ih_MGI.shape[2]]
        torch.bmm(grad_first.transpose(1, 2), inputs, out=grads.first_ih_MGI)
        before = states[:, : T - 1].flatten(1, 2)[..., :H]
        torch.bmm(grad_first[:, B:].transpose(1, 2), before, out=grads.first_hh_MGH)

    def _heads_backward(self, weights: FusedWeights, grads: FusedWeights, m: int, loss_scale_ME: Tensor) -> Tensor:
        """Gradients of the heads; returns that of the last hidden state (m, B, H)."""
        inner_MBF, last_MBH = self.inner_MBF[:m], self.states_MUBJ[:m, -1, :, self.hidden :]
        num_valid_M = self.valid_MB[:m].sum(1).clamp(min=1)
        factor_ME = 2 * loss_scale_ME / (num_valid_M * self.targets_MBE.shape[2])[:, None] / self.units_ME[:m]
        grad_MBE = self._errors(m).clamp(-self.delta, self.delta) * factor_ME.float()[:, None]
        by_head_MBED = self._by_head(inner_MBF)
        grads.outer_bias_ME.copy_(grad_MBE.sum(1))
        grads.outer_MED.copy_((grad_MBE[..., None] * by_head_MBED).sum(1))
        spread_MBF = (grad_MBE[..., None] * weights.outer_MED[:, None]).flatten(2)
        grad_inner_MBF = (spread_MBF * (inner_MBF > 0)).to(inner_MBF.dtype)
        grads.inner_bias_MF.copy_(grad_inner_MBF.sum(1))
        torch.bmm(grad_inner_MBF.transpose(1, 2), last_MBH, out=grads.inner_MFH)
        return torch.bmm(grad_inner_MBF, weights.inner_MFH)

    def _by_head(self, inner_MBF: Tensor) -> Tensor:
        return inner_MBF.view(*inner_MBF.shape[:2], -1, self.head_hidden)

    def _errors(self, m: int) -> Tensor:
        """Errors (m, B, E) in the units of their horizons; 0 for padding."""
        errors_MBE = (self.predictions_MBE[:m] - self.targets_MBE[:m]) / self.units_ME[:m, None]
        return torch.where(self.valid_MB[:m, :, None], errors_MBE, 0.0)
