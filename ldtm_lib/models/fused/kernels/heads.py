# pyright: basic, reportArgumentType=false, reportGeneralTypeIssues=false, reportOperatorIssue=false
"""The heads as Triton programs, forward with the losses and backward: one program per head of a network.

A program walks through the windows of the batch, so that sums over them need no second pass and come out the same
every time. Products with the hidden state of the LSTM are not made here. Comparisons are written such that NaN passes
through them, as in PyTorch. A sum is added to that of an epoch atomically, since every warp of a program would read it.

Triton's language is not Python's: types are known when a kernel is compiled, hence no strict type check here.

Axes as in `interface`.
"""

import triton
import triton.language as tl

from ldtm_lib.models.fused.kernels.interface import Kernel


@triton.jit
def _error(prediction, targets, valid, b, inside, unit, TARGETS_B: tl.constexpr):
    """Errors of some windows in the unit of their horizon; 0 for padding, whatever its target is."""
    is_valid = tl.load(valid + b, mask=inside, other=0) != 0
    target = tl.load(targets + b * TARGETS_B, mask=inside, other=0.0)
    return tl.where(is_valid, (prediction - target) / unit, 0.0)


@triton.jit
def _held(error, DELTA: tl.constexpr):
    """Errors within -DELTA and DELTA."""
    return tl.where(error > DELTA, DELTA, tl.where(error < -DELTA, -DELTA, error))


@triton.jit
def heads_forward(
    inner,
    inner_bias,
    outer,
    outer_bias,
    targets,
    units,
    valid,
    predictions,
    losses,
    squares,
    num_windows,
    inner_m,
    inner_bias_m,
    outer_m,
    outer_bias_m,
    targets_m,
    units_m,
    valid_m,
    predictions_m,
    losses_m,
    squares_m,
    INNER_B: tl.constexpr,
    TARGETS_B: tl.constexpr,
    PREDICTIONS_B: tl.constexpr,
    DELTA: tl.constexpr,
    D: tl.constexpr,
    D_BLOCK: tl.constexpr,
    LOSSES: tl.constexpr,
    SQUARES: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Products to activated inner units and predictions; adds the sums of losses and squared errors."""
    e, m = tl.program_id(0), tl.program_id(1).to(tl.int64)
    valid += m * valid_m
    if tl.load(valid) != 0:
        d = tl.arange(0, D_BLOCK)
        is_unit = d < D
        bias = tl.load(inner_bias + m * inner_bias_m + e * D + d, mask=is_unit, other=0.0).to(tl.float32)
        weight = tl.load(outer + m * outer_m + e * D + d, mask=is_unit, other=0.0).to(tl.float32)
        constant = tl.load(outer_bias + m * outer_bias_m + e).to(tl.float32)
        unit = tl.load(units + m * units_m + e)
        inner += m * inner_m + e * D
        targets += m * targets_m + e
        predictions += m * predictions_m + e
        loss = tl.zeros((ROWS,), tl.float32)
        square = tl.zeros((ROWS,), tl.float32)
        for first in range(0, num_windows, ROWS):
            b = first + tl.arange(0, ROWS)
            inside = b < num_windows
            mask = inside[:, None] & is_unit[None, :]
            here = inner + b[:, None] * INNER_B + d[None, :]
            x = tl.load(here, mask=mask, other=0.0).to(tl.float32) + bias[None, :]
            x = tl.where(x < 0, 0.0, x).to(inner.dtype.element_ty)
            tl.store(here, x, mask=mask)
            prediction = tl.sum(x.to(tl.float32) * weight[None, :], axis=1) + constant
            tl.store(predictions + b * PREDICTIONS_B, prediction, mask=inside)
            if LOSSES or SQUARES:
                error = _error(prediction, targets, valid, b, inside, unit, TARGETS_B)
                held = _held(error, DELTA)
                loss += held * (2 * error - held)
                square += error * error
        if LOSSES:
            tl.atomic_add(losses + m * losses_m + e, tl.sum(loss, axis=0))
        if SQUARES:
            tl.atomic_add(squares + m * squares_m + e, tl.sum(square, axis=0) * unit * unit)


@triton.jit
def heads_backward(
    inner,
    outer,
    targets,
    units,
    valid,
    predictions,
    weight,
    scale,
    grad_inner_bias,
    grad_outer,
    grad_outer_bias,
    num_windows,
    inner_m,
    outer_m,
    targets_m,
    units_m,
    valid_m,
    predictions_m,
    weight_m,
    weight_e,
    scale_m,
    grad_inner_bias_m,
    grad_outer_m,
    grad_outer_bias_m,
    INNER_B: tl.constexpr,
    TARGETS_B: tl.constexpr,
    PREDICTIONS_B: tl.constexpr,
    NUM_HORIZONS: tl.constexpr,
    DELTA: tl.constexpr,
    D: tl.constexpr,
    D_BLOCK: tl.constexpr,
    SCALED: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Activated inner units to the gradients of their inputs; sums of the other gradients over the batch."""
    e, m = tl.program_id(0), tl.program_id(1).to(tl.int64)
    valid += m * valid_m
    if tl.load(valid) != 0:
        d = tl.arange(0, D_BLOCK)
        is_unit = d < D
        storage: tl.constexpr = inner.dtype.element_ty
        outer_weight = tl.load(outer + m * outer_m + e * D + d, mask=is_unit, other=0.0).to(tl.float32)
        unit = tl.load(units + m * units_m + e)
        num_valid = tl.zeros((ROWS,), tl.int32)
        for first in range(0, num_windows, ROWS):
            b = first + tl.arange(0, ROWS)
            num_valid += (tl.load(valid + b, mask=b < num_windows, other=0) != 0).to(tl.int32)
        factor = 2.0 * tl.load(weight + m * weight_m + e * weight_e)
        if SCALED:
            factor *= tl.load(scale + m * scale_m)
        factor = factor / (tl.sum(num_valid, axis=0) * NUM_HORIZONS).to(tl.float32) / unit
        inner += m * inner_m + e * D
        targets += m * targets_m + e
        predictions += m * predictions_m + e
        of_constant = tl.zeros((ROWS,), tl.float32)
        of_outer = tl.zeros((D_BLOCK,), tl.float32)
        of_bias = tl.zeros((D_BLOCK,), tl.float32)
        for first in range(0, num_windows, ROWS):
            b = first + tl.arange(0, ROWS)
            inside = b < num_windows
            mask = inside[:, None] & is_unit[None, :]
            here = inner + b[:, None] * INNER_B + d[None, :]
            x = tl.load(here, mask=mask, other=0.0).to(tl.float32)
            prediction = tl.load(predictions + b * PREDICTIONS_B, mask=inside, other=0.0)
            grad = _held(_error(prediction, targets, valid, b, inside, unit, TARGETS_B), DELTA) * factor
            of_constant += grad
            of_outer += tl.sum(grad[:, None] * x, axis=0)
            grad_x = tl.where(x > 0, grad[:, None] * outer_weight[None, :], 0.0).to(storage)
            tl.store(here, grad_x, mask=mask)
            of_bias += tl.sum(grad_x.to(tl.float32), axis=0)
        tl.store(grad_outer_bias + m * grad_outer_bias_m + e, tl.sum(of_constant, axis=0).to(storage))
        tl.store(grad_outer + m * grad_outer_m + e * D + d, of_outer.to(storage), mask=is_unit)
        tl.store(grad_inner_bias + m * grad_inner_bias_m + e * D + d, of_bias.to(storage), mask=is_unit)


HEADS_FORWARD: Kernel = heads_forward
HEADS_BACKWARD: Kernel = heads_backward
