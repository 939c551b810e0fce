# pyright: basic, reportArgumentType=false, reportGeneralTypeIssues=false, reportOperatorIssue=false
"""The recurrence of one LSTM layer as Triton programs: each walks through all sessions with some windows of a network.

A program keeps the state of its windows in registers, and the recurrent weights in shared memory where those are large
enough (`RESIDENT`); the loads of the next session are under way while it computes this one (`STAGES`). Everything is
read before the same program overwrites it. Storage is of any floating type, sums and states are float32.

Triton's language is not Python's: types are known when a kernel is compiled, hence no strict type check here.

Axes as in `interface`; ROWS windows of a program. The strides of a row are constants, so that the compiler folds
them into addresses; otherwise registers would spill.
"""

import triton
import triton.language as tl
from triton import knobs

from ldtm_lib.models.fused.kernels.interface import Kernel

INTERPRETED: bool = knobs.runtime.interpret
"""True if the kernels run in Triton's interpreter, which has no hardware instructions."""


@triton.jit
def _tanh(x, FAST: tl.constexpr):
    """Hyperbolic tangent; the hardware's own has a relative error of at most 2^-11, that of rounding to float16."""
    if FAST:
        return tl.inline_asm_elementwise("tanh.approx.f32 $0, $1;", "=r,r", [x], dtype=tl.float32, is_pure=True, pack=1)
    return 1.0 - 2.0 / (1.0 + tl.exp(2.0 * x))


@triton.jit
def _sigmoid(x, FAST: tl.constexpr):
    """Logistic function, in one hardware instruction too."""
    if FAST:
        return 0.5 * _tanh(0.5 * x, FAST) + 0.5
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def _single(x):
    """Convert a value to float32 where it is needed: in its storage type it takes half a register until then."""
    return x.to(tl.float32)


@triton.jit
def _product(a, b, sum_, num_windows):
    """a @ b + sum, where the sum is the result of another product or the input of one.

    For products that feed each other, Triton may place all warps along the rows, of which there are too few: everything
    is computed several times, and registers spill. A branch that is always taken keeps the products apart.
    """
    if num_windows > 0:
        sum_ = tl.dot(a, b, sum_, input_precision="ieee")
    return sum_


@triton.jit
def lstm_forward(
    gates,
    weight_hh,
    hidden,
    cell,
    inputs,
    weight_ih,
    active,
    num_sessions,
    num_windows,
    active_m,
    gates_m,
    gates_t,
    weight_hh_m,
    hidden_m,
    hidden_t,
    cell_m,
    cell_t,
    inputs_m,
    inputs_t,
    weight_ih_m,
    GATES_B: tl.constexpr,
    WEIGHT_HH_G: tl.constexpr,
    HIDDEN_B: tl.constexpr,
    CELL_B: tl.constexpr,
    INPUTS_B: tl.constexpr,
    WEIGHT_IH_G: tl.constexpr,
    NUM_INPUTS: tl.constexpr,
    K: tl.constexpr,
    H: tl.constexpr,
    ROWS: tl.constexpr,
    FULL: tl.constexpr,
    FUSED: tl.constexpr,
    RESIDENT: tl.constexpr,
    STAGES: tl.constexpr,
    FAST: tl.constexpr,
):
    """Gates to activated gates, hidden and cell states; with FUSED the share of the inputs is computed here."""
    m = tl.program_id(1).to(tl.int64)
    if tl.load(active + m * active_m) != 0:
        first = tl.program_id(0) * ROWS
        rows, units = tl.arange(0, ROWS)[:, None], tl.arange(0, H)[None, :]
        before = tl.arange(0, H)[:, None]
        if FULL:
            mask = None
            other = None
        else:
            mask = first + rows < num_windows
            other = 0.0
        storage: tl.constexpr = gates.dtype.element_ty
        weight = weight_hh + m * weight_hh_m + units * WEIGHT_HH_G + before
        if RESIDENT:
            w_i = tl.load(weight)
            w_f = tl.load(weight + H * WEIGHT_HH_G)
            w_g = tl.load(weight + 2 * H * WEIGHT_HH_G)
            w_o = tl.load(weight + 3 * H * WEIGHT_HH_G)
        if FUSED:
            columns = tl.arange(0, K)
            from_input = weight_ih + m * weight_ih_m + units * WEIGHT_IH_G + columns[:, None]
            is_input = columns[:, None] < NUM_INPUTS
            v_i = tl.load(from_input, mask=is_input, other=0.0)
            v_f = tl.load(from_input + H * WEIGHT_IH_G, mask=is_input, other=0.0)
            v_g = tl.load(from_input + 2 * H * WEIGHT_IH_G, mask=is_input, other=0.0)
            v_o = tl.load(from_input + 3 * H * WEIGHT_IH_G, mask=is_input, other=0.0)
            inputs += m * inputs_m + first * INPUTS_B
        gates += m * gates_m + first * GATES_B
        hidden += m * hidden_m + first * HIDDEN_B
        cell += m * cell_m + first * CELL_B
        h = tl.zeros((ROWS, H), storage)
        c = tl.zeros((ROWS, H), tl.float32)
        for t in tl.range(0, num_sessions, num_stages=STAGES):
            here = gates + t * gates_t.to(tl.int64) + rows * GATES_B + units
            if FUSED:
                x = tl.load(
                    inputs + t * inputs_t.to(tl.int64) + rows * INPUTS_B + columns[None, :], mask=mask, other=other
                )
                nothing = tl.zeros((ROWS, H), tl.float32)
                i = _product(x, v_i, nothing, num_windows)
                g = _product(x, v_g, nothing, num_windows)
                f = _product(x, v_f, nothing, num_windows)
                o = _product(x, v_o, nothing, num_windows)
            else:
                i = tl.load(here, mask=mask, other=other).to(tl.float32)
                f = tl.load(here + H, mask=mask, other=other).to(tl.float32)
                g = tl.load(here + 2 * H, mask=mask, other=other).to(tl.float32)
                o = tl.load(here + 3 * H, mask=mask, other=other).to(tl.float32)
            if not RESIDENT:
                w_i = tl.load(weight)
            i = _sigmoid(tl.dot(h, w_i, i, input_precision="ieee"), FAST)
            if not RESIDENT:
                w_g = tl.load(weight + 2 * H * WEIGHT_HH_G)
            g = _tanh(tl.dot(h, w_g, g, input_precision="ieee"), FAST)
            if not RESIDENT:
                w_f = tl.load(weight + H * WEIGHT_HH_G)
            f = _sigmoid(tl.dot(h, w_f, f, input_precision="ieee"), FAST)
            if not RESIDENT:
                w_o = tl.load(weight + 3 * H * WEIGHT_HH_G)
            o = _sigmoid(tl.dot(h, w_o, o, input_precision="ieee"), FAST)
            c = f * c + i * g
            h = (o * _tanh(c, FAST)).to(storage)
            tl.store(here, i.to(storage), mask=mask)
            tl.store(here + 2 * H, g.to(storage), mask=mask)
            tl.store(here + H, f.to(storage), mask=mask)
            tl.store(here + 3 * H, o.to(storage), mask=mask)
            tl.store(hidden + t * hidden_t.to(tl.int64) + rows * HIDDEN_B + units, h, mask=mask)
            tl.store(cell + t * cell_t.to(tl.int64) + rows * CELL_B + units, c.to(storage), mask=mask)


@triton.jit
def lstm_backward(
    gates,
    weight_hh,
    cell,
    grad_hidden,
    grad_last,
    active,
    num_sessions,
    num_windows,
    active_m,
    gates_m,
    gates_t,
    weight_hh_m,
    cell_m,
    cell_t,
    grad_hidden_m,
    grad_hidden_t,
    grad_last_m,
    GATES_B: tl.constexpr,
    WEIGHT_HH_G: tl.constexpr,
    CELL_B: tl.constexpr,
    GRAD_HIDDEN_B: tl.constexpr,
    GRAD_LAST_B: tl.constexpr,
    H: tl.constexpr,
    ROWS: tl.constexpr,
    FULL: tl.constexpr,
    EVERY_SESSION: tl.constexpr,
    LAST_SESSION: tl.constexpr,
    RESIDENT: tl.constexpr,
    STAGES: tl.constexpr,
    FAST: tl.constexpr,
    AGAIN: tl.constexpr,
):
    """Activated gates to the gradients of their inputs, from the last session to the first.

    A session's cell state is computed again from its gates and the state before it, which is thus loaded once. Each
    gate's gradient goes into its product before the next one is computed: four of them at once would spill with 64
    rows, and take 48 KiB more of shared memory on compute capability 9.0. With AGAIN, values that only the last
    gradient needs are loaded a second time, from the cache, instead of being kept in registers.
    """
    m = tl.program_id(1).to(tl.int64)
    if tl.load(active + m * active_m) != 0:
        first = tl.program_id(0) * ROWS
        rows, units = tl.arange(0, ROWS)[:, None], tl.arange(0, H)[None, :]
        if FULL:
            mask = None
            other = None
        else:
            mask = first + rows < num_windows
            other = 0.0
        storage: tl.constexpr = gates.dtype.element_ty
        weight = weight_hh + m * weight_hh_m + tl.arange(0, H)[:, None] * WEIGHT_HH_G + units
        if RESIDENT:
            w_i = tl.load(weight)
            w_f = tl.load(weight + H * WEIGHT_HH_G)
            w_g = tl.load(weight + 2 * H * WEIGHT_HH_G)
            w_o = tl.load(weight + 3 * H * WEIGHT_HH_G)
        gates += m * gates_m + first * GATES_B
        cell += m * cell_m + first * CELL_B
        grad_c = tl.zeros((ROWS, H), tl.float32)
        grad_h = tl.zeros((ROWS, H), tl.float32)
        if LAST_SESSION:
            grad_last += m * grad_last_m + first * GRAD_LAST_B
            grad_h += tl.load(grad_last + rows * GRAD_LAST_B + units, mask=mask, other=other).to(tl.float32)
        if EVERY_SESSION:
            grad_hidden += m * grad_hidden_m + first * GRAD_HIDDEN_B
        for step in tl.range(0, num_sessions, num_stages=STAGES):
            t = (num_sessions - 1 - step).to(tl.int64)
            here = gates + t * gates_t + rows * GATES_B + units
            if EVERY_SESSION:
                of_session = grad_hidden + t * grad_hidden_t + rows * GRAD_HIDDEN_B + units
                grad_h += tl.load(of_session, mask=mask, other=other).to(tl.float32)
            i = tl.load(here, mask=mask, other=other)
            f = tl.load(here + H, mask=mask, other=other)
            g = tl.load(here + 2 * H, mask=mask, other=other)
            o = tl.load(here + 3 * H, mask=mask, other=other)
            earlier = cell + tl.maximum(t - 1, 0) * cell_t + rows * CELL_B + units
            c_before = tl.load(earlier, mask=mask, other=other)
            c_before = tl.where(t > 0, c_before, 0.0)

            tanh_c = _tanh(_single(f) * _single(c_before) + _single(i) * _single(g), FAST)
            through_o = grad_h * _single(o)
            grad_o = (through_o * tanh_c * (1.0 - _single(o))).to(storage)
            grad_c += through_o * (1.0 - tanh_c * tanh_c)
            tl.store(here + 3 * H, grad_o, mask=mask)
            if not RESIDENT:
                w_o = tl.load(weight + 3 * H * WEIGHT_HH_G)
            grad_h = _product(grad_o, w_o, tl.zeros((ROWS, H), tl.float32), num_windows)

            grad_i = (grad_c * _single(g) * _single(i) * (1.0 - _single(i))).to(storage)
            tl.store(here, grad_i, mask=mask)
            if not RESIDENT:
                w_i = tl.load(weight)
            grad_h = _product(grad_i, w_i, grad_h, num_windows)

            grad_g = (grad_c * _single(i) * (1.0 - _single(g) * _single(g))).to(storage)
            tl.store(here + 2 * H, grad_g, mask=mask)
            if not RESIDENT:
                w_g = tl.load(weight + 2 * H * WEIGHT_HH_G)
            grad_h = _product(grad_g, w_g, grad_h, num_windows)

            if AGAIN:
                f = tl.load(here + H, mask=mask, other=other)
                c_before = tl.load(earlier, mask=mask, other=other)
                c_before = tl.where(t > 0, c_before, 0.0)
            grad_f = (grad_c * _single(c_before) * _single(f) * (1.0 - _single(f))).to(storage)
            tl.store(here + H, grad_f, mask=mask)
            if not RESIDENT:
                w_f = tl.load(weight + H * WEIGHT_HH_G)
            grad_h = tl.dot(grad_f, w_f, grad_h, input_precision="ieee")
            grad_c *= _single(f)


LSTM_FORWARD: Kernel = lstm_forward
LSTM_BACKWARD: Kernel = lstm_backward
