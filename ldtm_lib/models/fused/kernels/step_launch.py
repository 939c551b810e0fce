"""Launching of the kernels of a training step besides the recurrence; see `launch`.

Programs that overwrite what they have read have one warp, or no two warps that read the same; see `tiling.max_warps`.

Axes as in `interface`.
"""

import math

import torch
from torch import Tensor

from ldtm_lib.models.fused.kernels.heads import HEADS_BACKWARD, HEADS_FORWARD
from ldtm_lib.models.fused.kernels.step import ADAMW, FIND_OVERFLOWS, GATHER_WINDOWS, PLAN_UPDATES, TAKE_ROWS
from ldtm_lib.models.fused.kernels.tiling import max_warps

ADAMW_BLOCK, GATHER_BLOCK, ROWS_BLOCK, HEADS_ROWS, OVERFLOW_BLOCK, NETWORKS_BLOCK = 1024, 128, 128, 32, 4096, 32


def adamw(
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
    """As `reference.adamw`, in one pass over memory: 28 bytes per element, none for a network that is left out."""
    num_networks, num_elements = parameters_MP.shape
    half = half_MP if half_MP is not None else grads_MP
    with torch.cuda.device_of(parameters_MP):
        ADAMW[(math.ceil(num_elements / ADAMW_BLOCK), num_networks)](
            parameters_MP,
            half,
            grads_MP,
            exp_avg_MP,
            exp_avg_sq_MP,
            learning_rate_M,
            bias_correction1_M,
            bias_correction2_sqrt_M,
            inverse_scale_M,
            update_M,
            num_elements,
            parameters_MP.stride(0),
            half.stride(0),
            grads_MP.stride(0),
            exp_avg_MP.stride(0),
            exp_avg_sq_MP.stride(0),
            learning_rate_M.stride(0),
            bias_correction1_M.stride(0),
            bias_correction2_sqrt_M.stride(0),
            inverse_scale_M.stride(0),
            update_M.stride(0),
            WEIGHT_DECAY=weight_decay,
            BETA1=beta1,
            BETA2=beta2,
            EPS=eps,
            HALF=half_MP is not None,
            BLOCK=ADAMW_BLOCK,
            num_warps=4,
            enable_fp_fusion=True,
        )


def gather_windows(
    bars_SI: Tensor, low_WI: Tensor, span_WI: Tensor, starts_W: Tensor, rows_MB: Tensor, inputs_MTBK: Tensor
) -> None:
    """As `reference.gather_windows`: the same to the bit, then rounded to the buffer's type."""
    num_networks, num_sessions, num_windows, columns = inputs_MTBK.shape
    with torch.cuda.device_of(bars_SI):
        GATHER_WINDOWS[(math.ceil(num_windows * num_sessions / GATHER_BLOCK), num_networks)](
            bars_SI,
            low_WI,
            span_WI,
            starts_W,
            rows_MB,
            inputs_MTBK,
            num_sessions,
            num_windows,
            bars_SI.stride(0),
            low_WI.stride(0),
            span_WI.stride(0),
            rows_MB.stride(0),
            inputs_MTBK.stride(0),
            inputs_MTBK.stride(1),
            inputs_MTBK.stride(2),
            NUM_INPUTS=bars_SI.shape[1],
            K=columns,
            BLOCK=GATHER_BLOCK,
            num_warps=4,
            enable_fp_fusion=True,
        )


def take_rows(
    order_MR: Tensor,
    num_rows_M: Tensor,
    cursor_M: Tensor,
    valid_MB: Tensor,
    rows_MB: Tensor,
    *,
    targets_WE: Tensor | None = None,
    targets_MBE: Tensor | None = None,
) -> None:
    """As `reference.take_rows`, the same to the bit."""
    num_networks, num_windows = valid_MB.shape
    with_targets = targets_WE is not None and targets_MBE is not None
    table = targets_WE if targets_WE is not None else order_MR
    targets_MBE = targets_MBE if targets_MBE is not None else rows_MB[..., None]
    num_horizons = targets_MBE.shape[2]
    with torch.cuda.device_of(order_MR):
        TAKE_ROWS[(1, num_networks)](
            order_MR,
            num_rows_M,
            cursor_M,
            valid_MB,
            rows_MB,
            table,
            targets_MBE,
            num_windows,
            order_MR.stride(0),
            num_rows_M.stride(0),
            cursor_M.stride(0),
            valid_MB.stride(0),
            rows_MB.stride(0),
            table.stride(0),
            targets_MBE.stride(0),
            targets_MBE.stride(1),
            NUM_HORIZONS=num_horizons,
            E_BLOCK=_power_of_2(num_horizons),
            TARGETS=with_targets,
            BLOCK=ROWS_BLOCK,
            num_warps=1,
        )


def heads_forward(
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
    """As `reference.heads_forward`; networks without windows do not change."""
    num_networks, num_horizons, head_units = outer_MED.shape
    losses = losses_ME if losses_ME is not None else units_ME
    squares = squares_ME if squares_ME is not None else units_ME
    with torch.cuda.device_of(inner_MBF):
        HEADS_FORWARD[(num_horizons, num_networks)](
            inner_MBF,
            inner_bias_MF,
            outer_MED,
            outer_bias_ME,
            targets_MBE,
            units_ME,
            valid_MB,
            predictions_MBE,
            losses,
            squares,
            inner_MBF.shape[1],
            inner_MBF.stride(0),
            inner_bias_MF.stride(0),
            outer_MED.stride(0),
            outer_bias_ME.stride(0),
            targets_MBE.stride(0),
            units_ME.stride(0),
            valid_MB.stride(0),
            predictions_MBE.stride(0),
            losses.stride(0),
            squares.stride(0),
            INNER_B=inner_MBF.stride(1),
            TARGETS_B=targets_MBE.stride(1),
            PREDICTIONS_B=predictions_MBE.stride(1),
            DELTA=delta,
            D=head_units,
            D_BLOCK=_power_of_2(head_units),
            LOSSES=losses_ME is not None,
            SQUARES=squares_ME is not None,
            ROWS=HEADS_ROWS,
            num_warps=min(4, max_warps(HEADS_ROWS, _power_of_2(head_units))),
            enable_fp_fusion=True,
        )


def heads_backward(
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
    """As `reference.heads_backward`; networks without windows do not change."""
    num_networks, num_horizons, head_units = outer_MED.shape
    scale = scale_M if scale_M is not None else weight_ME
    with torch.cuda.device_of(inner_MBF):
        HEADS_BACKWARD[(num_horizons, num_networks)](
            inner_MBF,
            outer_MED,
            targets_MBE,
            units_ME,
            valid_MB,
            predictions_MBE,
            weight_ME,
            scale,
            grad_inner_bias_MF,
            grad_outer_MED,
            grad_outer_bias_ME,
            inner_MBF.shape[1],
            inner_MBF.stride(0),
            outer_MED.stride(0),
            targets_MBE.stride(0),
            units_ME.stride(0),
            valid_MB.stride(0),
            predictions_MBE.stride(0),
            weight_ME.stride(0),
            weight_ME.stride(1),
            scale.stride(0),
            grad_inner_bias_MF.stride(0),
            grad_outer_MED.stride(0),
            grad_outer_bias_ME.stride(0),
            INNER_B=inner_MBF.stride(1),
            TARGETS_B=targets_MBE.stride(1),
            PREDICTIONS_B=predictions_MBE.stride(1),
            NUM_HORIZONS=num_horizons,
            DELTA=delta,
            D=head_units,
            D_BLOCK=_power_of_2(head_units),
            SCALED=scale_M is not None,
            ROWS=HEADS_ROWS,
            num_warps=min(4, max_warps(HEADS_ROWS, _power_of_2(head_units))),
            enable_fp_fusion=True,
        )


def find_overflows(grads_MP: Tensor, active_M: Tensor, overflow_M: Tensor) -> None:
    """As `reference.find_overflows`."""
    num_networks, num_elements = grads_MP.shape
    with torch.cuda.device_of(grads_MP):
        FIND_OVERFLOWS[(math.ceil(num_elements / OVERFLOW_BLOCK), num_networks)](
            grads_MP,
            active_M,
            overflow_M,
            num_elements,
            grads_MP.stride(0),
            active_M.stride(0),
            overflow_M.stride(0),
            BLOCK=OVERFLOW_BLOCK,
            num_warps=4,
        )


def plan_updates(
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
    """As `reference.plan_updates`; all tensors but `active` are dense."""
    num_networks = len(active_M)
    with torch.cuda.device_of(active_M):
        PLAN_UPDATES[(math.ceil(num_networks / NETWORKS_BLOCK), 1)](
            active_M,
            num_steps_M,
            attempts_M,
            updates_M,
            streak_M,
            scale_M,
            overflow_M if overflow_M is not None else streak_M,
            learning_rate_M,
            bias_correction1_M,
            bias_correction2_sqrt_M,
            inverse_scale_M,
            update_M,
            num_networks,
            active_M.stride(0),
            INITIAL_RATE=learning_rate,
            LOG_BETA1=math.log(beta1),
            LOG_BETA2=math.log(beta2),
            PI=math.pi,
            BACKOFF=backoff,
            GROWTH=growth,
            GROWTH_INTERVAL=growth_interval,
            CHECKED=overflow_M is not None,
            BLOCK=NETWORKS_BLOCK,
            num_warps=1,
        )


def _power_of_2(number: int) -> int:
    """The smallest power of 2 that is not below a number."""
    return 1 << (number - 1).bit_length()
