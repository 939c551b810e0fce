# pyright: basic, reportArgumentType=false, reportGeneralTypeIssues=false, reportOperatorIssue=false
"""The batch and the update of a training step as Triton programs: one pass over memory each.

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
    """One block of one network's row. The constants are Python floats, as 1 - 0.999 in float32 is off by 5e-5 of it."""
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


@triton.jit
def take_rows(
    order,
    num_rows,
    cursor,
    valid,
    rows,
    table,
    targets,
    num_windows,
    order_m,
    num_rows_m,
    cursor_m,
    valid_m,
    rows_m,
    table_w,
    targets_m,
    targets_b,
    NUM_HORIZONS: tl.constexpr,
    E_BLOCK: tl.constexpr,
    TARGETS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The whole batch of one network, so that its cursor advances after all have read it."""
    m = tl.program_id(1).to(tl.int64)
    count = tl.load(num_rows + m * num_rows_m)
    taken = tl.load(cursor + m * cursor_m)
    e = tl.arange(0, E_BLOCK)[None, :]
    for first in range(0, num_windows, BLOCK):
        b = first + tl.arange(0, BLOCK)
        inside = b < num_windows
        at = taken * num_windows + b
        own = tl.maximum(tl.minimum(at, count - 1), 0)
        row = tl.load(order + m * order_m + own, mask=inside, other=0)
        tl.store(valid + m * valid_m + b, at < count, mask=inside)
        tl.store(rows + m * rows_m + b, row, mask=inside)
        if TARGETS:
            mask = inside[:, None] & (e < NUM_HORIZONS)
            target = tl.load(table + row.to(tl.int64)[:, None] * table_w + e, mask=mask, other=0.0)
            tl.store(targets + m * targets_m + b[:, None] * targets_b + e, target, mask=mask)
    tl.store(cursor + m * cursor_m, taken + 1)


@triton.jit
def find_overflows(grads, active, overflow, num_elements, grads_m, active_m, overflow_m, BLOCK: tl.constexpr):
    """One block of one network's row; all programs that find an overflow write the same value."""
    m = tl.program_id(1).to(tl.int64)
    if tl.load(active + m * active_m) != 0:
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        grad = tl.load(grads + m * grads_m + at, mask=at < num_elements, other=0.0).to(tl.float32)
        is_finite = tl.abs(grad) < float("inf")
        overflows = tl.max(tl.where(is_finite, 0, 1), axis=0)
        tl.store(overflow + m * overflow_m, overflows, mask=overflows != 0)


@triton.jit
def plan_updates(
    active,
    num_steps,
    attempts,
    updates,
    streak,
    scale,
    overflow,
    learning_rate,
    bias_correction1,
    bias_correction2_sqrt,
    inverse_scale,
    update,
    num_networks,
    active_m,
    INITIAL_RATE: tl.constexpr,
    LOG_BETA1: tl.constexpr,
    LOG_BETA2: tl.constexpr,
    PI: tl.constexpr,
    BACKOFF: tl.constexpr,
    GROWTH: tl.constexpr,
    GROWTH_INTERVAL: tl.constexpr,
    CHECKED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Some networks, one per lane; float64 where a count of a million would leave float32 no digits."""
    m = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = m < num_networks
    is_active = tl.load(active + m.to(tl.int64) * active_m, mask=mask, other=0) != 0
    takes_part = is_active
    before = tl.load(scale + m, mask=mask, other=1.0)
    if CHECKED:
        takes_part = is_active & (tl.load(overflow + m, mask=mask, other=0) == 0)
        tl.store(overflow + m, tl.zeros((BLOCK,), tl.int32), mask=mask)
        run = tl.load(streak + m, mask=mask, other=0)
        run = tl.where(is_active, tl.where(takes_part, run + 1, 0), run)
        grows = run == GROWTH_INTERVAL
        factor = tl.where(is_active & (takes_part == 0), BACKOFF, tl.where(grows, GROWTH, 1.0))
        tl.store(scale + m, before * factor, mask=mask)
        tl.store(streak + m, tl.where(grows, 0, run), mask=mask)
    attempt = tl.load(attempts + m, mask=mask, other=0)
    steps = tl.maximum(tl.load(num_steps + m, mask=mask, other=1), 1)
    progress = attempt.to(tl.float64) / steps.to(tl.float64)
    rate = (1.0 + tl.cos(progress * PI)) * (0.5 * INITIAL_RATE)
    count = tl.load(updates + m, mask=mask, other=0) + takes_part.to(tl.int64)
    power = tl.maximum(count, 1).to(tl.float64)
    tl.store(attempts + m, attempt + is_active.to(tl.int64), mask=mask)
    tl.store(updates + m, count, mask=mask)
    tl.store(update + m, takes_part, mask=mask)
    tl.store(learning_rate + m, rate.to(tl.float32), mask=mask)
    tl.store(bias_correction1 + m, (1.0 - tl.exp(power * LOG_BETA1)).to(tl.float32), mask=mask)
    tl.store(bias_correction2_sqrt + m, tl.sqrt(1.0 - tl.exp(power * LOG_BETA2)).to(tl.float32), mask=mask)
    tl.store(inverse_scale + m, 1.0 / before, mask=mask)


ADAMW: Kernel = adamw
GATHER_WINDOWS: Kernel = gather_windows
TAKE_ROWS: Kernel = take_rows
FIND_OVERFLOWS: Kernel = find_overflows
PLAN_UPDATES: Kernel = plan_updates
