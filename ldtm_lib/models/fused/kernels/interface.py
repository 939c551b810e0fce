"""The operations of a training step that exist twice, the buffers that they work in, and the choice between the two.

`reference` implements the four operations in plain PyTorch, `launch` as Triton kernels for CUDA; tests compare them.
All buffers belong to the caller: float16 on CUDA, float32 or float16 on the CPU, except where a type is named below.
Buffers may be strided but for their last axis. Networks that are inactive in a step leave results without a meaning.

Axes: M networks, T sessions of a window, B windows of a batch, K columns of the buffer of inputs (the I inputs, then
zeros), H hidden units, G = 4 H gates in the order of `nn.LSTM` (input, forget, cell, output), P elements of a network's
row of parameters, S bars and W windows of all tickers.
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
"""K: matrix units take inputs in sixteens; the 11 inputs are followed by zeros."""


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
        """Turn the activated gates into the gradients of what went into them.

        The gradient of the hidden states comes as that of every session, of the last one, or both.
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

        `grads` times `inverse_scale` are the gradients, and may be float16; `half` (float16) receives a copy of the
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
        """Put the windows `rows` (int32) of the float32 tables into `inputs`; columns beyond I are left alone.

        In float32 the result is the same to the bit as that of `WindowSet.gather`. `starts` (int64) is the bar that
        each window begins with.
        """
        ...


class Kernel(Protocol):
    """A Triton program that runs on a grid: `kernel[programs of a network, networks](arguments)`."""

    def __getitem__(self, grid: tuple[int, int], /) -> Callable[..., None]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """One implementation of the four operations."""

    lstm_forward: LstmForward
    lstm_backward: LstmBackward
    adamw: AdamW
    gather_windows: GatherWindows


REFERENCE = Operations(
    lstm_forward=reference.lstm_forward,
    lstm_backward=reference.lstm_backward,
    adamw=reference.adamw,
    gather_windows=reference.gather_windows,
)


def operations_for(device: torch.device, architecture: ArchitectureConfig) -> Operations:
    """The kernels where they run on the device with the architecture, else the reference."""
    if obstacle(device, architecture.hidden) is None:
        from ldtm_lib.models.fused.kernels.launch import TRITON

        return TRITON
    return REFERENCE
