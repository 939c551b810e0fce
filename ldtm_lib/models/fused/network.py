"""Many networks that forecast and learn at once: buffers, forward pass, loss and gradients.

All computations are written out, in buffers that are made once: with kernels, a training step allocates nothing and can
be captured in a CUDA graph, and its memory is known beforehand (`memory`). The gradients are those that autograd finds
for the reference network; a test compares them. Predictions and targets of residual networks are the moves from the
last close here, so that the recurrence and the heads are the same for both kinds.

Axes: M fused networks, of which the first m are computed, T sessions of a window, U = T + 2, B windows of a batch,
K columns of inputs, H hidden units, N = K + 2 H, G = 4 H gates, F inner units of all heads, E horizons, D inner
units of a head, P elements of a network's row.
"""

import torch
from torch import Tensor

from ldtm_lib.models.fused.kernels.interface import INPUT_COLUMNS, Operations
from ldtm_lib.models.fused.layout import FusedLayout
from ldtm_lib.settings import ArchitectureConfig


class FusedNetwork:
    """The buffers of one step of up to M networks with B windows each, and the computations in them."""

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
        self.hidden = architecture.hidden
        M, T, B, H = num_networks, window_sessions, batch_size, architecture.hidden
        self.window_sessions = T

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        self.targets_MBE = torch.zeros(M, B, architecture.num_horizons, device=device)
        self.units_ME = torch.ones(M, architecture.num_horizons, device=device)
        """The unit of each network's errors by horizon; see `Objective`."""
        self.delta = delta
        self.valid_MB = torch.zeros(M, B, dtype=torch.bool, device=device)
        self.first_gates_MTBG, self.second_gates_MTBG = zeros(M, T, B, 4 * H), zeros(M, T, B, 4 * H)
        self.first_cell_MTBH, self.second_cell_MTBH = zeros(M, T, B, H), zeros(M, T, B, H)
        self.states_MUBN = zeros(M, T + 2, B, INPUT_COLUMNS + 2 * H)
        """Side by side: the inputs of a session, the first layer's hidden state of the session before it, and the
        second layer's of the session before that. The first layer reads the first two in a session, and the second
        layer reads the last two a session earlier. One product gives the gradients of both matrices of a layer."""
        self.inputs_MTBK = self.states_MUBN[:, :T, :, :INPUT_COLUMNS]
        self.first_hidden_MTBH = self.states_MUBN[:, 1 : T + 1, :, INPUT_COLUMNS : INPUT_COLUMNS + H]
        self.second_hidden_MTBH = self.states_MUBN[:, 2:, :, INPUT_COLUMNS + H :]
        self.inner_MBF = zeros(M, B, architecture.num_horizons * architecture.head_hidden)
        self.grad_last_MBH = zeros(M, B, H)
        """The gradient of the second layer's last hidden state."""
        self.predictions_MBE = torch.zeros_like(self.targets_MBE)

    def forward(
        self, flat_MP: Tensor, m: int, *, losses_ME: Tensor | None = None, squares_ME: Tensor | None = None
    ) -> None:
        """Forecast the gathered windows of the first m networks with the weights in a matrix (at least m, P).

        Adds sums over the batch to two tensors (m, E): of `huber(error / unit)`, and of squared errors.
        """
        weights, active_M = self.layout.weights(flat_MP[:m]), self.valid_MB[:m, 0]
        first_hidden, second_hidden = self.first_hidden_MTBH[:m], self.second_hidden_MTBH[:m]
        self.operations.lstm_forward(
            self.first_gates_MTBG[:m],
            weights.first_hh_MGH,
            first_hidden,
            self.first_cell_MTBH[:m],
            active_M=active_M,
            inputs_MTBK=self.inputs_MTBK[:m],
            weight_ih_MGI=weights.first_ih_MGK,
        )
        torch.bmm(
            first_hidden.flatten(1, 2),
            weights.second_ih_MGH.transpose(1, 2),
            out=self.second_gates_MTBG[:m].flatten(1, 2),
        )
        self.operations.lstm_forward(
            self.second_gates_MTBG[:m],
            weights.second_hh_MGH,
            second_hidden,
            self.second_cell_MTBH[:m],
            active_M=active_M,
        )
        inner_MBF = self.inner_MBF[:m]
        torch.bmm(second_hidden[:, -1], weights.inner_MFH.transpose(1, 2), out=inner_MBF)
        self.operations.heads_forward(
            inner_MBF,
            weights.inner_bias_MF,
            weights.outer_MED,
            weights.outer_bias_ME,
            self.targets_MBE[:m],
            self.units_ME[:m],
            self.valid_MB[:m],
            self.predictions_MBE[:m],
            delta=self.delta,
            losses_ME=losses_ME,
            squares_ME=squares_ME,
        )

    def backward(
        self, flat_MP: Tensor, grads_MP: Tensor, m: int, weight_ME: Tensor, *, scale_M: Tensor | None = None
    ) -> None:
        """Put the gradients of the mean losses, times weight and scale, into a matrix (at least m, P).

        Reads the results of the forward pass in the buffers, and overwrites them.
        """
        weights, grads = self.layout.weights(flat_MP[:m]), self.layout.weights(grads_MP[:m])
        T, active_M, states = self.window_sessions, self.valid_MB[:m, 0], self.states_MUBN[:m]
        second_gates, first_gates = self.second_gates_MTBG[:m], self.first_gates_MTBG[:m]
        inner_MBF, grad_last_MBH = self.inner_MBF[:m], self.grad_last_MBH[:m]
        self.operations.heads_backward(
            inner_MBF,
            weights.outer_MED,
            self.targets_MBE[:m],
            self.units_ME[:m],
            self.valid_MB[:m],
            self.predictions_MBE[:m],
            delta=self.delta,
            weight_ME=weight_ME,
            scale_M=scale_M,
            grad_inner_bias_MF=grads.inner_bias_MF,
            grad_outer_MED=grads.outer_MED,
            grad_outer_bias_ME=grads.outer_bias_ME,
        )
        torch.bmm(inner_MBF.transpose(1, 2), self.second_hidden_MTBH[:m, -1], out=grads.inner_MFH)
        torch.bmm(inner_MBF, weights.inner_MFH, out=grad_last_MBH)

        self.operations.lstm_backward(
            second_gates,
            weights.second_hh_MGH,
            self.second_cell_MTBH[:m],
            active_M=active_M,
            grad_last_MBH=grad_last_MBH,
        )
        grad_second = second_gates.flatten(1, 2)
        torch.bmm(
            grad_second.transpose(1, 2), states[:, 1 : T + 1, :, INPUT_COLUMNS:].flatten(1, 2), out=grads.second_MGJ
        )
        grad_hidden_MTBH = self.second_cell_MTBH[:m]  # the second layer's cells are no longer needed
        torch.bmm(grad_second, weights.second_ih_MGH, out=grad_hidden_MTBH.flatten(1, 2))

        self.operations.lstm_backward(
            first_gates,
            weights.first_hh_MGH,
            self.first_cell_MTBH[:m],
            active_M=active_M,
            grad_hidden_MTBH=grad_hidden_MTBH,
        )
        grad_first = first_gates.flatten(1, 2)
        read = states[:, :T, :, : INPUT_COLUMNS + self.hidden].flatten(1, 2)
        torch.bmm(grad_first.transpose(1, 2), read, out=grads.first_MGX)
