"""Launching of the recurrence kernels, and all operations of `interface` for CUDA.

Importing this module needs Triton; `interface.operations_for` imports it only where the kernels run. The launches
allocate nothing and never wait for the device, so that a step can be captured in a CUDA graph. The programs of a
network that is left out return at once. With TRITON_INTERPRET=1 set before Triton is first imported, the same kernels
run on the CPU, slowly, in float16 or float32. Axes as in `interface`.
"""

import math
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from ldtm_lib.models.fused.kernels.interface import Operations
from ldtm_lib.models.fused.kernels.recurrence import INTERPRETED, LSTM_BACKWARD, LSTM_FORWARD
from ldtm_lib.models.fused.kernels.step_launch import (
    adamw,
    find_overflows,
    gather_windows,
    heads_backward,
    heads_forward,
    plan_updates,
    take_rows,
)
from ldtm_lib.models.fused.kernels.tiling import Tiling, Tilings, tilings_of

MANY_ROWS = 64
"""Smallest number of rows with which a backward pass has no registers to spare."""


def lstm_forward(
    gates_MTBG: Tensor,
    weight_hh_MGH: Tensor,
    hidden_MTBH: Tensor,
    cell_MTBH: Tensor,
    *,
    active_M: Tensor,
    inputs_MTBK: Tensor | None = None,
    weight_ih_MGI: Tensor | None = None,
    tiling: Tiling | None = None,
) -> None:
    """As `reference.lstm_forward`; with `inputs`, their share of the gates is never written to memory.

    All tensors may be strided except along their last axis. Columns of `inputs` beyond I must be finite.
    """
    num_networks, num_sessions, num_windows, hidden = cell_MTBH.shape
    tiling = tiling or tilings_of(gates_MTBG.device, hidden).forward
    fused = inputs_MTBK is not None and weight_ih_MGI is not None
    inputs = inputs_MTBK if inputs_MTBK is not None else gates_MTBG
    weight_ih = weight_ih_MGI if weight_ih_MGI is not None else weight_hh_MGH
    with torch.cuda.device_of(gates_MTBG):
        LSTM_FORWARD[(math.ceil(num_windows / tiling.rows), num_networks)](
            gates_MTBG,
            weight_hh_MGH,
            hidden_MTBH,
            cell_MTBH,
            inputs,
            weight_ih,
            active_M,
            num_sessions,
            num_windows,
            active_M.stride(0),
            gates_MTBG.stride(0),
            gates_MTBG.stride(1),
            weight_hh_MGH.stride(0),
            hidden_MTBH.stride(0),
            hidden_MTBH.stride(1),
            cell_MTBH.stride(0),
            cell_MTBH.stride(1),
            inputs.stride(0),
            inputs.stride(1),
            weight_ih.stride(0),
            GATES_B=gates_MTBG.stride(2),
            WEIGHT_HH_G=weight_hh_MGH.stride(1),
            HIDDEN_B=hidden_MTBH.stride(2),
            CELL_B=cell_MTBH.stride(2),
            INPUTS_B=inputs.stride(2),
            WEIGHT_IH_G=weight_ih.stride(1),
            NUM_INPUTS=weight_ih.shape[2],
            K=inputs.shape[3],
            H=hidden,
            FUSED=fused,
            **_constants(tiling, num_windows),
        )


def lstm_backward(
    gates_MTBG: Tensor,
    weight_hh_MGH: Tensor,
    cell_MTBH: Tensor,
    *,
    active_M: Tensor,
    grad_hidden_MTBH: Tensor | None = None,
    grad_last_MBH: Tensor | None = None,
    tiling: Tiling | None = None,
) -> None:
    """As `reference.lstm_backward`; the cell states of the last session are not read."""
    num_networks, num_sessions, num_windows, hidden = cell_MTBH.shape
    tiling = tiling or tilings_of(gates_MTBG.device, hidden).backward
    grad_hidden = grad_hidden_MTBH if grad_hidden_MTBH is not None else cell_MTBH
    grad_last = grad_last_MBH if grad_last_MBH is not None else cell_MTBH[:, 0]
    with torch.cuda.device_of(gates_MTBG):
        LSTM_BACKWARD[(math.ceil(num_windows / tiling.rows), num_networks)](
            gates_MTBG,
            weight_hh_MGH,
            cell_MTBH,
            grad_hidden,
            grad_last,
            active_M,
            num_sessions,
            num_windows,
            active_M.stride(0),
            gates_MTBG.stride(0),
            gates_MTBG.stride(1),
            weight_hh_MGH.stride(0),
            cell_MTBH.stride(0),
            cell_MTBH.stride(1),
            grad_hidden.stride(0),
            grad_hidden.stride(1),
            grad_last.stride(0),
            GATES_B=gates_MTBG.stride(2),
            WEIGHT_HH_G=weight_hh_MGH.stride(1),
            CELL_B=cell_MTBH.stride(2),
            GRAD_HIDDEN_B=grad_hidden.stride(2),
            GRAD_LAST_B=grad_last.stride(1),
            H=hidden,
            EVERY_SESSION=grad_hidden_MTBH is not None,
            LAST_SESSION=grad_last_MBH is not None,
            AGAIN=tiling.rows >= MANY_ROWS,
            **_constants(tiling, num_windows),
        )


def _constants(tiling: Tiling, num_windows: int) -> dict[str, int | bool]:
    """Compile-time constants of a recurrence kernel, besides strides."""
    return {
        "ROWS": tiling.rows,
        "FULL": num_windows % tiling.rows == 0,
        "RESIDENT": tiling.resident,
        "STAGES": tiling.stages,
        "FAST": not INTERPRETED,
        "num_warps": tiling.warps,
        "num_stages": 1,
        "enable_fp_fusion": True,
    }


def operations_with(tilings: Tilings) -> Operations:
    """The kernels under given tilings instead of those that `tilings_of` chooses."""
    return replace(
        TRITON,
        lstm_forward=partial(lstm_forward, tiling=tilings.forward),
        lstm_backward=partial(lstm_backward, tiling=tilings.backward),
    )


TRITON = Operations(
    lstm_forward=lstm_forward,
    lstm_backward=lstm_backward,
    adamw=adamw,
    gather_windows=gather_windows,
    take_rows=take_rows,
    heads_forward=heads_forward,
    heads_backward=heads_backward,
    find_overflows=find_overflows,
    plan_updates=plan_updates,
)
