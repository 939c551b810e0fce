# pyright: basic, reportArgumentType=false, reportGeneralTypeIssues=false, reportOperatorIssue=false
"""AdamW and the gathering of windows as Triton programs: one pass over memory each.

Triton's language is not Python's: types are known when a kernel is compiled, hence no strict type check here.

Axes as in `interface`.
"""

import triton
import triton.language as tl

from ldtm_lib.models.fused.kernels.interface import Kernel


@triton.jit
def adamw(
    parameters,
    half,
    grads,
    exp_avg,
    exp_avg_sq,
    learning_rate,
    bias_correction1,
    bias_correction2_sqrt,
    inverse_scale,
    update,
    num_elements,
    parameters_m,
    half_m,
    grads_m,
    exp_avg_m,
    exp_avg_sq_m,
    learning_rate_m,
    bias_correction1_m,
    bias_correction2_sqrt_m,
    inverse_scale_m,
    update_m,
    WEIGHT_DECAY: tl.constexpr,
    BETA1: tl.constexpr,
    BETA2: tl.constexpr,
    EPS: tl.constexpr,
    HALF: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One block of one network's row. The constants are Python's: 1 - 0.999 in float32 would be off by 5e-5 of it."""
    m = tl.program_id(1).to(tl.int64)
    if tl.load(update + m * update_m) != 0:
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        mask = at < num_elements
        rate = tl.load(learning_rate + m * learning_rate_m).to(tl.float32)
        step_size = rate / tl.load(bias_correction1 + m * bias_correction1_m).to(tl.float32)
        correction = tl.load(bias_correction2_sqrt + m * bias_correction2_sqrt_m).to(tl.float32)
        scale = tl.load(inverse_scale + m * inverse_scale_m).to(tl.float32)
        grad = tl.load(grads + m * grads_m + at, mask=mask, other=0.0).to(tl.float32) * scale
        mean = tl.load(exp_avg + m * exp_avg_m + at, mask=mask, other=0.0)
        square = tl.load(exp_avg_sq + m * exp_avg_sq_m + at, mask=mask, other=0.0)
        weight = tl.load(parameters + m * parameters_m + at, mask=mask, other=0.0)
        mean += (1 - BETA1) * (grad - mean)
        square = BETA2 * square + (1 - BETA2) * grad * grad
        denominator = tl.div_rn(tl.sqrt_rn(square), correction) + EPS
        weight = weight * (1.0 - rate * WEIGHT_DECAY) - step_size * tl.div_rn(mean, denominator)
        tl.store(exp_avg + m * exp_avg_m + at, mean, mask=mask)
        tl.store(exp_avg_sq + m * exp_avg_sq_m + at, square, mask=mask)
        tl.store(parameters + m * parameters_m + at, weight, mask=mask)
        if HALF:
            tl.store(half + m * half_m + at, weight.to(half.dtype.element_ty), mask=mask)


@triton.jit
def gather_windows(
    bars,
    low,
    span,
    starts,
    rows,
    inputs,
    num_sessions,
    num_windows,
    bars_s,
    low_w,
    span_w,
    rows_m,
    inputs_m,
    inputs_t,
    inputs_b,
    NUM_INPUTS: tl.constexpr,
    K: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Some sessions of some windows of one network; those of one window follow each other, as its bars do."""
    m = tl.program_id(1).to(tl.int64)
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    b, t = at // num_sessions, at % num_sessions
    inside = b < num_windows
    columns = tl.arange(0, K)[None, :]
    mask = inside[:, None] & (columns < NUM_INPUTS)
    row = tl.load(rows + m * rows_m + b, mask=inside, other=0).to(tl.int64)
    bar = tl.load(starts + row, mask=inside, other=0).to(tl.int64) + t
    value = tl.load(bars + bar[:, None] * bars_s + columns, mask=mask, other=0.0)
    lowest = tl.load(low + row[:, None] * low_w + columns, mask=mask, other=0.0)
    divisor = tl.load(span + row[:, None] * span_w + columns, mask=mask, other=1.0)
    divisor = tl.where(divisor > 0, divisor, float("inf"))
    scaled = tl.div_rn(value - lowest, divisor)
    to = inputs + m * inputs_m + (t * inputs_t + b * inputs_b).to(tl.int64)[:, None] + columns
    tl.store(to, scaled.to(inputs.dtype.element_ty), mask=mask)


ADAMW: Kernel = adamw
GATHER_WINDOWS: Kernel = gather_windows
