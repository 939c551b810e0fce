"""The operations of a training step that exist twice, the buffers that they work in, and the choice between the two.

`reference` implements the operations in plain PyTorch, `launch` as Triton kernels for CUDA; tests compare them.
All buffers belong to the caller: float16 on CUDA, float32 or float16 on the CPU, except where a type is named below.
Buffers may be strided except along their last axis. Results of networks that are inactive in a step are undefined.

Axes: M networks, T sessions of a window, B windows of a batch, K columns of the buffer of inputs (the I inputs, then
zeros), H hidden units, G = 4 H gates in the order of `nn.LSTM` (input, forget, cell, output), P elements of a network's
row of parameters, S bars and W windows of all tickers, R rows of an epoch, E horizons, D inner units of a head,
F = E D.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ldtm_lib.models.fused.kernels import reference
from ldtm_lib.models.fused.kernels.tiling import obstacle
from ldtm_lib.settings import ArchitectureConfig

INPUT_COLUMNS = 16
"""K: matrix units read inputs in groups of 16; the 11 inputs are followed by zeros."""


class LstmForward(Protocol):
    """Runs one layer over all sessions, from a hidden and a cell state of 0."""

    def __call__(
        self,
        gates_MTBG: Tensor,
        weight_hh_MGH: Tensor,
        hidden_MTBH: Tensor,
        cell_MTBH: Tensor,
        *,
        active_M: Tensor,
        inputs_MTBK: Tensor | None = None,
        weight_ih_MGI: Tensor | None = None,
    ) -> None:
        """Fill `gates` with the activated gates, `hidden` and `cell` with the states after every session.

        On entry `gates` holds the share of the layer's inputs, unless `inputs` and their weights are given; columns of
        `inputs` beyond I must be finite. `active` (bool) marks the networks that have windows in this step.
        """
        ...


class LstmBackward(Protocol):
    """Differentiates one layer over all sessions."""

    def __call__(
        self,
        gates_MTBG: Tensor,
        weight_hh_MGH: Tensor,
        cell_MTBH: Tensor,
        *,
        active_M: Tensor,
        grad_hidden_MTBH: Tensor | None = None,
        grad_last_MBH: Tensor | None = None,
    ) -> None:
        """Turn the activated gates into the gradients of their inputs.

        The gradient of the hidden states is given for every session, for the last one, or both.
        """
        ...


class AdamW(Protocol):
    """Takes one step of AdamW."""

    def __call__(
        self,
        parameters_MP: Tensor,
        half_MP: Tensor | None,
        grads_MP: Tensor,
        exp_avg_MP: Tensor,
        exp_avg_sq_MP: Tensor,
        *,
        learning_rate_M: Tensor,
        bias_correction1_M: Tensor,
        bias_correction2_sqrt_M: Tensor,
        inverse_scale_M: Tensor,
        update_M: Tensor,
        weight_decay: float,
        beta1: float,
        beta2: float,
        eps: float,
    ) -> None:
        """Update parameters and momenta, all float32, in place.

        The gradients are `grads`, which may be float16, times `inverse_scale`; `half` (float16) receives a copy of the
        parameters. Networks that `update` (bool) leaves out keep parameters and momenta, whatever their gradients are.
        """
        ...


class GatherWindows(Protocol):
    """Gathers the windows of a batch, scaled."""

    def __call__(
        self,
        bars_SI: Tensor,
        low_WI: Tensor,
        span_WI: Tensor,
        starts_W: Tensor,
        rows_MB: Tensor,
        inputs_MTBK: Tensor,
    ) -> None:
        """Put the windows `rows` (int32) of the float32 tables into `inputs`; columns beyond I do not change.

        In float32 the result is the same to the bit as that of `WindowSet.gather`. `starts` (int64) is the bar that
        each window begins with.
        """
        ...


class TakeRows(Protocol):
    """Takes the next batch of each network's rows."""

    def __call__(
        self,
        order_MR: Tensor,
        num_rows_M: Tensor,
        cursor_M: Tensor,
        valid_MB: Tensor,
        rows_MB: Tensor,
        *,
        targets_WE: Tensor | None = None,
        targets_MBE: Tensor | None = None,
    ) -> None:
        """Fill `valid` (bool) and `rows` (int32), and `targets` from a table if it is given; advance the `cursor`.

        The first `num_rows` of `order` (int32) are a network's rows. Padding is not valid and repeats the last of them.
        """
        ...


class HeadsForward(Protocol):
    """Finishes the heads and sums up losses."""

    def __call__(
        self,
        inner_MBF: Tensor,
        inner_bias_MF: Tensor,
        outer_MED: Tensor,
        outer_bias_ME: Tensor,
        targets_MBE: Tensor,
        units_ME: Tensor,
        valid_MB: Tensor,
        predictions_MBE: Tensor,
        *,
        delta: float,
        losses_ME: Tensor | None = None,
        squares_ME: Tensor | None = None,
    ) -> None:
        """Turn `inner` from products into activations and fill `predictions` (float32).

        Adds the sums over valid windows of `huber(error / unit)` to `losses`, those of squared errors to `squares`.
        """
        ...


class HeadsBackward(Protocol):
    """Differentiates the heads down to the inputs of their inner units."""

    def __call__(
        self,
        inner_MBF: Tensor,
        outer_MED: Tensor,
        targets_MBE: Tensor,
        units_ME: Tensor,
        valid_MB: Tensor,
        predictions_MBE: Tensor,
        *,
        delta: float,
        weight_ME: Tensor,
        scale_M: Tensor | None,
        grad_inner_bias_MF: Tensor,
        grad_outer_MED: Tensor,
        grad_outer_bias_ME: Tensor,
    ) -> None:
        """Turn `inner` from activations into the gradients of their inputs, and fill the other gradients.

        They are those of the mean losses, times `weight` by horizon and `scale` by network.
        """
        ...


class FindOverflows(Protocol):
    """Looks for gradients that are not finite."""

    def __call__(self, grads_MP: Tensor, active_M: Tensor, overflow_M: Tensor) -> None:
        """Set `overflow` (int32) to 1 for the active networks that have one; that of others does not change."""
        ...


class PlanUpdates(Protocol):
    """Decides which networks a step updates and at which rate, and keeps the counts and the scales of losses."""

    def __call__(
        self,
        *,
        active_M: Tensor,
        num_steps_M: Tensor,
        attempts_M: Tensor,
        updates_M: Tensor,
        streak_M: Tensor,
        scale_M: Tensor,
        overflow_M: Tensor | None,
        learning_rate_M: Tensor,
        bias_correction1_M: Tensor,
        bias_correction2_sqrt_M: Tensor,
        inverse_scale_M: Tensor,
        update_M: Tensor,
        learning_rate: float,
        beta1: float,
        beta2: float,
        backoff: float,
        growth: float,
        growth_interval: int,
    ) -> None:
        """Fill the five numbers of `AdamW`, then count the attempt and the update (int64) and adjust `scale`.

        The rate follows a cosine over `num_steps`. With `overflow`, which becomes 0, networks that it marks are left
        out; their scale is multiplied by `backoff`, and that of others by `growth` after a streak of updates.
        """
        ...


class Kernel(Protocol):
    """A Triton program that runs on a grid: `kernel[programs of a network, networks](arguments)`."""

    def __getitem__(self, grid: tuple[int, int], /) -> Callable[..., None]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """One implementation of all operations."""

    lstm_forward: LstmForward
    lstm_backward: LstmBackward
    adamw: AdamW
    gather_windows: GatherWindows
    take_rows: TakeRows
    heads_forward: HeadsForward
    heads_backward: HeadsBackward
    find_overflows: FindOverflows
    plan_updates: PlanUpdates


REFERENCE = Operations(
    lstm_forward=reference.lstm_forward,
    lstm_backward=reference.lstm_backward,
    adamw=reference.adamw,
    gather_windows=reference.gather_windows,
    take_rows=reference.take_rows,
    heads_forward=reference.heads_forward,
    heads_backward=reference.heads_backward,
    find_overflows=reference.find_overflows,
    plan_updates=reference.plan_updates,
)


def operations_for(device: torch.device, architecture: ArchitectureConfig) -> Operations:
    """The kernels where they run on the device with the architecture, else the reference."""
    if obstacle(device, architecture.hidden) is None:
        from ldtm_lib.models.fused.kernels.launch import TRITON

        return TRITON
    return REFERENCE
