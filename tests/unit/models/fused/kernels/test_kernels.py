"""The Triton kernels against nn.LSTM with autograd, torch.optim.AdamW and WindowSet, one network at a time.

Without a GPU Triton's interpreter runs them on the CPU. It must be asked for before Triton is first imported, which
is here: nothing else in the tests' process imports Triton, and `test_kernels_compile` starts a process of its own.
With a GPU the same tests run there, in float16.
"""

import math
import os
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.models.fit import FitTask
from ldtm_lib.models.fused.kernels.interface import REFERENCE
from ldtm_lib.models.fused.kernels.tiling import HIDDEN_UNITS, Tiling, obstacle, smaller_tilings, tilings_for
from ldtm_lib.models.fused.layout import FusedLayout
from ldtm_lib.models.fused.network import FusedNetwork
from ldtm_lib.models.fused.state import FusedState
from ldtm_lib.models.fused.windows import tables_of
from ldtm_lib.models.lstm import initial_state
from ldtm_lib.models.objective import objective_of
from ldtm_lib.settings import ArchitectureConfig, TrainingConfig

ON_GPU = torch.cuda.is_available()
if not ON_GPU:
    assert "triton" not in sys.modules, "who imports Triton before this module must set TRITON_INTERPRET=1"
    os.environ["TRITON_INTERPRET"] = "1"
pytest.importorskip("triton", reason="kernels need Triton")
from ldtm_lib.models.fused.kernels import launch as kernels  # noqa: E402
from ldtm_lib.models.fused.kernels.launch import operations_with  # noqa: E402

pytestmark = pytest.mark.slow

DEVICE = torch.device("cuda" if ON_GPU else "cpu")
FLOATS = [torch.float16] if ON_GPU else [torch.float16, torch.float32]
NUM_INPUTS, COLUMNS = 11, 16
SMALL = Tiling(rows=16, warps=4, stages=2, resident=True)
TILINGS = [
    SMALL,
    Tiling(rows=16, warps=4, stages=1, resident=False),
    Tiling(rows=32, warps=8, stages=2, resident=True),
    Tiling(rows=64, warps=8, stages=2, resident=True),
]


def tolerance(dtype: torch.dtype) -> float:
    """Of a result's norm: float32's rounding over some sums; float16's 2^-11 over some steps, and on a GPU the hardware
    tangent's 2^-11 in every activation."""
    return 2e-6 if dtype == torch.float32 else 1e-2 if ON_GPU else 2e-3


def assert_near(found: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    found, expected = found.double().cpu(), expected.double().cpu()
    distance = (found - expected).norm() / expected.norm().clamp(min=1e-3)
    assert distance < tolerance(dtype), f"{distance:.2e} of the norm apart"


class Layer:
    """Layers of many networks as the trainer lays them out, beside the same layers as nn.LSTM in float64."""

    def __init__(self, M: int, T: int, B: int, H: int, dtype: torch.dtype) -> None:
        self.T, self.H, self.dtype = T, H, dtype
        self.alone = [nn.LSTM(NUM_INPUTS, H, bias=False, batch_first=True).double() for _ in range(M)]
        ih, hh, padded = 4 * H * NUM_INPUTS, 4 * H * 2 * H, 4 * H * (2 * H + NUM_INPUTS) + 128
        rows = torch.full((M, padded), torch.nan)
        self.weight_ih = rows[:, :ih].view(M, 4 * H, NUM_INPUTS)
        self.weight_hh = rows[:, ih : ih + hh].view(M, 4 * H, 2 * H)[..., H:]
        for at, lstm in enumerate(self.alone):
            self.weight_ih[at], self.weight_hh[at] = lstm.weight_ih_l0.detach(), lstm.weight_hh_l0.detach()
        rows = rows.to(DEVICE, dtype)
        self.weight_ih = rows[:, :ih].view(M, 4 * H, NUM_INPUTS)
        self.weight_hh = rows[:, ih : ih + hh].view(M, 4 * H, 2 * H)[..., H:]
        for at, lstm in enumerate(self.alone):
            lstm.weight_ih_l0.data.copy_(self.weight_ih[at])
            lstm.weight_hh_l0.data.copy_(self.weight_hh[at])
        self.windows_MBTI = torch.rand(M, B, T, NUM_INPUTS).to(dtype)
        self.inputs = torch.zeros(M, T, B, COLUMNS, dtype=dtype, device=DEVICE)
        self.inputs[..., :NUM_INPUTS] = self.windows_MBTI.transpose(1, 2)
        self.gates = torch.full((M, T, B, 4 * H), torch.nan, dtype=dtype, device=DEVICE)
        self.states = torch.zeros(M, T + 1, B, 2 * H, dtype=dtype, device=DEVICE)
        self.hidden = self.states[:, 1:, :, H:]
        self.cell = torch.full((M, T, B, H), torch.nan, dtype=dtype, device=DEVICE)
        self.active = torch.ones(M, B, dtype=torch.bool, device=DEVICE)[:, 0]

    def project(self) -> None:
        """Put the share of the inputs into the gates, as a second layer has it."""
        share = self.inputs[..., :NUM_INPUTS].flatten(1, 2).float() @ self.weight_ih.transpose(1, 2).float()
        self.gates.copy_(share.view_as(self.gates))

    def forward(self, tiling: Tiling | None, *, fused: bool) -> None:
        if not fused:
            self.project()
        kernels.lstm_forward(
            self.gates,
            self.weight_hh,
            self.hidden,
            self.cell,
            active_M=self.active,
            inputs_MTBK=self.inputs if fused else None,
            weight_ih_MGI=self.weight_ih if fused else None,
            tiling=tiling,
        )

    def outputs(self) -> list[Tensor]:
        """What each network alone computes, (B, T, H)."""
        return [lstm(windows.double())[0] for lstm, windows in zip(self.alone, self.windows_MBTI, strict=True)]


@pytest.mark.parametrize("tiling", TILINGS)
def test_memory_beyond_the_last_window_is_not_touched(tiling: Tiling) -> None:
    """First, because a program that writes too far elsewhere would take the tests' process with it."""
    torch.manual_seed(0)
    M, T, B, H = 2, 2, 10, 16
    layer = Layer(M, T, tiling.rows, H, FLOATS[-1])
    layer.gates.fill_(5.0)
    layer.hidden.fill_(5.0)
    layer.cell.fill_(5.0)
    few = {"active_M": layer.active, "tiling": tiling}
    gates, hidden, cell = layer.gates[:, :, :B], layer.hidden[:, :, :B], layer.cell[:, :, :B]
    kernels.lstm_forward(
        gates, layer.weight_hh, hidden, cell, inputs_MTBK=layer.inputs[:, :, :B], weight_ih_MGI=layer.weight_ih, **few
    )
    assert (gates.abs() < 1).all()
    kernels.lstm_backward(gates, layer.weight_hh, cell, grad_last_MBH=torch.rand_like(cell[:, 0]), **few)
    for tensor in (layer.gates, layer.hidden, layer.cell):
        assert (tensor[:, :, B:] == 5.0).all()


@settings(max_examples=25)
@given(
    num_networks=st.integers(1, 3),
    num_sessions=st.integers(1, 5),
    num_windows=st.integers(1, 40),
    hidden=st.sampled_from([16, 32]),
    dtype=st.sampled_from(FLOATS),
    tiling=st.sampled_from(TILINGS),
    fused=st.booleans(),
    every_session=st.booleans(),
    last_session=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_fused_layer_computes_and_differentiates_what_each_network_alone_does(
    num_networks: int,
    num_sessions: int,
    num_windows: int,
    hidden: int,
    dtype: torch.dtype,
    tiling: Tiling,
    fused: bool,
    every_session: bool,
    last_session: bool,
    seed: int,
) -> None:
    compare(num_networks, num_sessions, num_windows, hidden, dtype, tiling, fused, every_session, last_session, seed)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("first_layer", [True, False])
def test_both_layers_of_the_real_width_are_right_under_the_tiling_that_is_chosen(
    dtype: torch.dtype, first_layer: bool
) -> None:
    num_sessions = 30 if ON_GPU else 3
    compare(2, num_sessions, 70, 128, dtype, None, first_layer, first_layer, not first_layer, seed=1)


def compare(
    M: int,
    T: int,
    B: int,
    H: int,
    dtype: torch.dtype,
    tiling: Tiling | None,
    fused: bool,
    every_session: bool,
    last_session: bool,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    layer = Layer(M, T, B, H, dtype)
    layer.forward(tiling, fused=fused)
    outputs = layer.outputs()
    for at, output in enumerate(outputs):
        assert_near(layer.hidden[at].transpose(0, 1), output.detach(), dtype)
    assert not layer.states[:, 0].any(), "only its own half of the buffer, from session 1 on, is written"
    assert not layer.states[..., :H].any()

    grad_MTBH, grad_last = (torch.randn(shape).to(DEVICE, dtype) for shape in ((M, T, B, H), (M, B, H)))
    kernels.lstm_backward(
        layer.gates,
        layer.weight_hh,
        layer.cell,
        active_M=layer.active,
        grad_hidden_MTBH=grad_MTBH if every_session else None,
        grad_last_MBH=grad_last if last_session else None,
        tiling=tiling,
    )
    for at, (lstm, output) in enumerate(zip(layer.alone, outputs, strict=True)):
        upstream = torch.zeros_like(output)
        if last_session:
            upstream[:, -1] += grad_last[at].cpu()
        if every_session:
            upstream += grad_MTBH[at].transpose(0, 1).cpu()
        output.backward(upstream)
        gates, hidden = layer.gates[at].double().cpu(), layer.hidden[at].double().cpu()
        found_ih = gates.flatten(0, 1).T @ layer.windows_MBTI[at].transpose(0, 1).flatten(0, 1).double()
        found_hh = gates[1:].flatten(0, 1).T @ hidden[:-1].flatten(0, 1)
        assert_near(found_ih, lstm.weight_ih_l0.grad, dtype)
        assert_near(found_hh, lstm.weight_hh_l0.grad, dtype)


@pytest.mark.parametrize("fused", [True, False])
def test_the_kernels_leave_in_every_buffer_what_the_reference_leaves(fused: bool) -> None:
    """1e-6 in float32, 2e-3 in float16: gates of the size of 1, rounded once more in the reference."""
    dtype = FLOATS[-1]
    atol = 1e-6 if dtype == torch.float32 else 2e-3
    torch.manual_seed(2)
    layer = Layer(2, 4, 19, 16, dtype)
    layer.forward(SMALL, fused=fused)
    gates, hidden, cell = (torch.empty_like(tensor) for tensor in (layer.gates, layer.hidden, layer.cell))
    REFERENCE.lstm_forward(
        gates,
        layer.weight_hh,
        hidden,
        cell,
        active_M=layer.active,
        inputs_MTBK=layer.inputs,
        weight_ih_MGI=layer.weight_ih,
    )
    for found, expected in ((layer.gates, gates), (layer.hidden, hidden), (layer.cell, cell)):
        torch.testing.assert_close(found, expected, rtol=0, atol=atol)
    grad_last = torch.randn(2, 19, 16).to(DEVICE, dtype)
    kernels.lstm_backward(
        layer.gates, layer.weight_hh, layer.cell, active_M=layer.active, grad_last_MBH=grad_last, tiling=SMALL
    )
    REFERENCE.lstm_backward(gates, layer.weight_hh, cell, active_M=layer.active, grad_last_MBH=grad_last)
    torch.testing.assert_close(layer.gates, gates, rtol=0, atol=atol)


def test_a_network_without_windows_is_neither_read_nor_written() -> None:
    torch.manual_seed(3)
    layer, whole = Layer(3, 3, 16, 16, FLOATS[-1]), Layer(3, 3, 16, 16, FLOATS[-1])
    for name in ("weight_hh", "weight_ih", "inputs"):
        getattr(whole, name).copy_(getattr(layer, name))
    layer.active = torch.tensor([True, False, True], device=DEVICE)
    layer.weight_hh[1], layer.hidden[1], layer.cell[1] = torch.nan, 7.0, 8.0
    grad_last = torch.randn(3, 16, 16).to(DEVICE, layer.dtype)
    for each in (layer, whole):
        each.forward(SMALL, fused=True)
        if each is layer:
            assert layer.gates[1].isnan().all()
            layer.gates[1] = 9.0
        kernels.lstm_backward(
            each.gates, each.weight_hh, each.cell, active_M=each.active, grad_last_MBH=grad_last, tiling=SMALL
        )
    assert [tensor[1].unique().tolist() for tensor in (layer.hidden, layer.cell, layer.gates)] == [[7.0], [8.0], [9.0]]
    for at in (0, 2):
        assert torch.equal(layer.gates[at], whole.gates[at])
        assert torch.equal(layer.hidden[at], whole.hidden[at])


@settings(max_examples=8)
@given(
    steps=st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=6),
    scale=st.sampled_from([1.0, 512.0]),
    num_elements=st.sampled_from([128, 1152]),
    seed=st.integers(0, 99),
)
def test_each_network_walks_as_under_an_optimizer_of_its_own_and_stands_still_when_left_out(
    steps: list[list[bool]], scale: float, num_elements: int, seed: int
) -> None:
    """2e-6 of weights of size 1 after six steps of at most 0.02 each: float32's rounding."""
    torch.manual_seed(seed)
    parameters = torch.randn(3, num_elements)
    alone = [row.clone().requires_grad_() for row in parameters]
    optimizers = [torch.optim.AdamW([row], weight_decay=0.1) for row in alone]
    matrices = [parameters.to(DEVICE), *(torch.zeros(3, num_elements, device=DEVICE) for _ in range(2))]
    half = matrices[0].half()
    reference, reference_half = [matrix.clone() for matrix in matrices], half.clone()
    updates = torch.zeros(3, dtype=torch.int64)
    for at, chosen in enumerate(steps):
        grads = torch.randn(3, num_elements).half()
        rates = [0.01 * (1 + math.cos(at + network)) for network in range(3)]
        before, half_before = [matrix.clone() for matrix in matrices], half.clone()
        update = torch.tensor(chosen)
        updates += update
        scaled = torch.where(update[:, None], grads * scale, torch.nan).to(DEVICE)
        for adamw, own, own_half in (
            (kernels.adamw, matrices, half),
            (REFERENCE.adamw, reference, reference_half),
        ):
            adamw(own[0], own_half, scaled, *own[1:], **constants(rates, updates, update, scale))
        for network in range(3):
            if not chosen[network]:
                assert all(torch.equal(m[network], b[network]) for m, b in zip(matrices, before, strict=True))
                assert torch.equal(half[network], half_before[network])
                continue
            optimizers[network].param_groups[0]["lr"] = rates[network]
            alone[network].grad = grads[network].float()
            optimizers[network].step()
            torch.testing.assert_close(matrices[0][network].cpu(), alone[network].detach(), rtol=0, atol=2e-6)
        for found, expected in zip(matrices, reference, strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)
    assert torch.equal(half, matrices[0].half())


def test_the_optimizer_needs_no_half_precision_copy() -> None:
    matrices = [torch.ones(2, 128, device=DEVICE), *(torch.zeros(2, 128, device=DEVICE) for _ in range(2))]
    grads = torch.ones(2, 128, device=DEVICE)
    update = torch.tensor([True, False])
    kernels.adamw(matrices[0], None, grads, *matrices[1:], **constants([0.1, 0.1], torch.tensor([1, 1]), update, 1.0))
    torch.testing.assert_close(matrices[0][0].cpu(), torch.full((128,), 0.89))
    assert (matrices[0][1] == 1).all()


def constants(rates: list[float], updates: Tensor, update: Tensor, scale: float) -> dict[str, Tensor | float]:
    counts = updates.clamp(min=1).double()
    return {
        "learning_rate_M": torch.tensor(rates, device=DEVICE),
        "bias_correction1_M": (1 - 0.9**counts).float().to(DEVICE),
        "bias_correction2_sqrt_M": (1 - 0.999**counts).sqrt().float().to(DEVICE),
        "inverse_scale_M": torch.full((len(rates),), 1 / scale, device=DEVICE),
        "update_M": torch.stack([update, ~update], dim=1).to(DEVICE)[:, 0],
        "weight_decay": 0.1,
        "beta1": 0.9,
        "beta2": 0.999,
        "eps": 1e-8,
    }


@settings(max_examples=10)
@given(
    num_windows=st.sampled_from([5, 64, 150]),
    num_rows=st.lists(st.integers(0, 320), min_size=3, max_size=3),
    with_targets=st.booleans(),
)
def test_batches_are_taken_as_by_the_reference(num_windows: int, num_rows: list[int], with_targets: bool) -> None:
    """To the bit, over all batches of the longest network and one more."""
    M, B, E = 3, num_windows, 3
    choice = torch.Generator().manual_seed(0)
    order = torch.randint(400, (M, 320), dtype=torch.int32, generator=choice).to(DEVICE)
    table = torch.rand(400, E, generator=choice).to(DEVICE)
    found: list[list[Tensor]] = []
    for operations in (kernels.TRITON, REFERENCE):
        counts = torch.tensor(num_rows, device=DEVICE)
        cursor = torch.zeros(M, dtype=torch.int64, device=DEVICE)
        valid = torch.zeros(M, B, dtype=torch.bool, device=DEVICE)
        rows = torch.zeros(M, B, dtype=torch.int32, device=DEVICE)
        targets = torch.zeros(M, B, E, device=DEVICE)
        batches: list[Tensor] = []
        for _ in range(320 // B + 2):
            operations.take_rows(
                *(order, counts, cursor, valid, rows),
                targets_WE=table if with_targets else None,
                targets_MBE=targets if with_targets else None,
            )
            batches += [valid.clone(), rows.clone(), targets.clone()]
        found.append([*batches, cursor])
    for batch, expected in zip(*found, strict=True):
        assert torch.equal(batch, expected)


@settings(max_examples=10)
@given(
    num_windows=st.sampled_from([7, 32, 75]),
    head_units=st.sampled_from([8, 12, 64]),
    dtype=st.sampled_from(FLOATS),
    scaled=st.booleans(),
    seed=st.integers(0, 99),
)
def test_heads_compute_and_differentiate_what_the_reference_does(
    num_windows: int, head_units: int, dtype: torch.dtype, scaled: bool, seed: int
) -> None:
    """Of a result's norm 1e-5 in float32, for the order of summation, and 2e-3 in float16, where the reference rounds a
    product before the bias is added. A network without windows is neither read nor written."""
    torch.manual_seed(seed)
    M, B, E, D = 3, num_windows, 3, head_units
    bounds = 1e-5 if dtype == torch.float32 else 2e-3
    products, bias, outer = torch.randn(M, B, E * D), torch.randn(M, E * D), torch.randn(M, E, D)
    constant, targets, weight = torch.randn(M, E), torch.randn(M, B, E), torch.rand(1, E)
    units, scale = 0.5 + torch.rand(M, E), torch.tensor([64.0, 1024.0, 2.0])
    valid = torch.arange(B) < torch.tensor([[B], [0], [B // 2]])
    targets[~valid] = torch.nan
    bias[1], products[1] = torch.nan, 7.0
    found: list[list[Tensor]] = []
    for operations in (kernels.TRITON, REFERENCE):
        inner = products.to(DEVICE, dtype, copy=True)
        losses, squares = torch.ones(M, E, device=DEVICE), torch.ones(M, E, device=DEVICE)
        predictions = torch.zeros(M, B, E, device=DEVICE)
        batch = (targets.to(DEVICE), units.to(DEVICE), valid.to(DEVICE), predictions)
        outers = outer.to(DEVICE, dtype)
        operations.heads_forward(
            *(inner, bias.to(DEVICE, dtype), outers, constant.to(DEVICE, dtype), *batch),
            delta=0.7,
            losses_ME=losses,
            squares_ME=squares,
        )
        activated = inner.clone()
        grads = [torch.zeros(shape, dtype=dtype, device=DEVICE) for shape in ((M, E * D), (M, E, D), (M, E))]
        operations.heads_backward(
            *(inner, outers, *batch),
            delta=0.7,
            weight_ME=weight.expand(M, E).to(DEVICE),
            scale_M=scale.to(DEVICE) if scaled else None,
            grad_inner_bias_MF=grads[0],
            grad_outer_MED=grads[1],
            grad_outer_bias_ME=grads[2],
        )
        found.append([activated, predictions, losses, squares, inner, *grads])
    for result, expected in zip(*found, strict=True):
        for at in (0, 2):
            distance = (result[at].double() - expected[at].double()).norm() / expected[at].double().norm()
            assert distance < bounds, f"{distance:.2e} of the norm apart"
    activated, _, losses, squares, inner, *grads = (result[1] for result in found[0])
    assert (activated == 7).all()
    assert (inner == 7).all()
    assert (losses == 1).all()
    assert (squares == 1).all()
    assert not any(grad.any() for grad in grads)


def test_what_is_no_number_passes_through_the_heads() -> None:
    """A network that diverges must show it in its losses and in its gradients."""
    M, B, E, D = 1, 4, 1, 8
    inner, outer = torch.ones(M, B, D, device=DEVICE), torch.ones(M, E, D, device=DEVICE)
    inner[0, 1, 3] = torch.nan
    ones = torch.ones(M, E, device=DEVICE)
    losses, predictions = torch.zeros(M, E, device=DEVICE), torch.zeros(M, B, E, device=DEVICE)
    batch = (torch.zeros(M, B, E, device=DEVICE), ones, torch.ones(M, B, dtype=torch.bool, device=DEVICE), predictions)
    kernels.heads_forward(inner, torch.zeros(M, D, device=DEVICE), outer, ones, *batch, delta=1.0, losses_ME=losses)
    assert losses.isnan().all()
    assert predictions.isnan().sum() == 1
    of_bias, of_outer, of_constant = torch.zeros(M, D), torch.zeros(M, E, D), torch.zeros(M, E)
    grads = [tensor.to(DEVICE) for tensor in (of_bias, of_outer, of_constant)]
    kernels.heads_backward(
        *(inner, outer, *batch),
        delta=1.0,
        weight_ME=ones,
        scale_M=None,
        grad_inner_bias_MF=grads[0],
        grad_outer_MED=grads[1],
        grad_outer_bias_ME=grads[2],
    )
    assert all(grad.isnan().any() for grad in grads)


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_an_overflow_is_found_wherever_it_is(dtype: torch.dtype, poison: float) -> None:
    for operations in (kernels.TRITON, REFERENCE):
        grads = torch.full((4, 9000), 65504.0, dtype=dtype, device=DEVICE)
        grads[0, 8999] = grads[1, 0] = grads[2, 5000] = poison
        active = torch.tensor([True, True, False, True], device=DEVICE)
        overflow = torch.zeros(4, dtype=torch.int32, device=DEVICE)
        operations.find_overflows(grads, active, overflow)
        assert overflow.tolist() == [1, 1, 0, 0]


@settings(max_examples=10)
@given(
    steps=st.lists(st.lists(st.sampled_from("uoi"), min_size=3, max_size=3), min_size=1, max_size=12),
    checked=st.booleans(),
    first_count=st.sampled_from([0, 3, 100_000]),
)
def test_books_are_kept_as_by_the_reference(steps: list[list[str]], checked: bool, first_count: int) -> None:
    """In each step a network is updated (u), overflows (o) or is inactive (i). Counts and scales are the same to the
    bit, the other numbers to 2e-7 of themselves: one rounding to float32 of a float64."""
    found: list[list[Tensor]] = []
    for operations in (kernels.TRITON, REFERENCE):
        attempts, updates, streak = (torch.full((3,), first_count, device=DEVICE) for _ in range(3))
        streak.fill_(2)
        scale = torch.full((3,), 1024.0, device=DEVICE)
        overflow = torch.zeros(3, dtype=torch.int32, device=DEVICE)
        numbers = [torch.zeros(3, device=DEVICE) for _ in range(4)]
        update = torch.zeros(3, dtype=torch.bool, device=DEVICE)
        results: list[Tensor] = []
        for of_step in steps:
            if checked:
                overflow.copy_(torch.tensor([of == "o" for of in of_step]))
            active = torch.tensor([[of != "i"] * 2 for of in of_step], device=DEVICE)[:, 0]
            operations.plan_updates(
                active_M=active,
                num_steps_M=torch.tensor([12, 100, 200_000], device=DEVICE),
                attempts_M=attempts,
                updates_M=updates,
                streak_M=streak,
                scale_M=scale,
                overflow_M=overflow if checked else None,
                learning_rate_M=numbers[0],
                bias_correction1_M=numbers[1],
                bias_correction2_sqrt_M=numbers[2],
                inverse_scale_M=numbers[3],
                update_M=update,
                learning_rate=1e-3,
                beta1=0.9,
                beta2=0.999,
                backoff=0.5,
                growth=2.0,
                growth_interval=5,
            )
            assert not overflow.any()
            results += [of.clone() for of in (attempts, updates, streak, scale, update, *numbers)]
        found.append(results)
    for result, expected in zip(*found, strict=True):
        torch.testing.assert_close(result, expected, rtol=2e-7 if result.is_floating_point() else 0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_gathered_windows_are_those_of_the_ticker_to_the_bit(windows: dict[str, WindowSet], dtype: torch.dtype) -> None:
    """In float32; in float16 they are those rounded."""
    sets = list(windows.values())
    tables = tables_of(sets, DEVICE, recipe=TrainingConfig(), architecture=ArchitectureConfig())
    flat = 123
    tables.span_WI[flat] = 0
    choice = np.random.default_rng(4)
    rows = [np.append(choice.integers(len(of_ticker), size=30), [flat, 0, len(of_ticker) - 1]) for of_ticker in sets]
    rows_MB = torch.stack([tables.rows_of(of_ticker, r) for of_ticker, r in zip(sets, rows, strict=True)]).to(DEVICE)
    inputs = torch.full((len(sets), 30, 33, COLUMNS), 9.0, dtype=dtype, device=DEVICE)
    kernels.gather_windows(tables.bars_SI, tables.low_WI, tables.span_WI, tables.starts_W, rows_MB, inputs)
    for at, (of_ticker, r) in enumerate(zip(sets, rows, strict=True)):
        expected = torch.from_numpy(of_ticker.gather(r)).to(dtype)
        found = inputs[at, ..., :NUM_INPUTS].transpose(0, 1).cpu()
        at_flat = at == 0
        assert torch.equal(found[:30], expected[:30])
        assert torch.equal(found[31:], expected[31:])
        assert found[30].any() != at_flat, "a column without a range is 0"
    assert (inputs[..., NUM_INPUTS:] == 9.0).all(), "padding is left alone"


def test_a_whole_fused_step_finds_the_same_gradients_with_kernels_as_without(small: ArchitectureConfig) -> None:
    """One network has no windows in the step; another one a batch with padding."""
    dtype, M, B = FLOATS[-1], 3, 20
    torch.manual_seed(5)
    inputs, targets = torch.rand(M, 6, B, NUM_INPUTS), torch.rand(M, B, small.num_horizons)
    valid = torch.arange(B) < torch.tensor([[B], [0], [7]])
    layout = FusedLayout(small)
    weights = torch.zeros(M, layout.num_elements)
    for row in weights:
        layout.write(row, initial_state(small.replace(residual=False), torch.Generator().manual_seed(6)))
    weights = weights.to(DEVICE, dtype)
    predictions, grads = [], []
    for operations in (kernels.TRITON, REFERENCE):
        network = FusedNetwork(
            small, operations, num_networks=M, batch_size=B, window_sessions=6, delta=1.0, dtype=dtype, device=DEVICE
        )
        network.inputs_MTBK[..., :NUM_INPUTS] = inputs
        network.targets_MBE.copy_(targets)
        network.valid_MB.copy_(valid)
        network.forward(weights, M)
        grads.append(torch.zeros_like(weights))
        network.backward(weights, grads[-1], M, torch.full((M, small.num_horizons), 64.0, device=DEVICE))
        predictions.append(network.predictions_MBE)
    for at in (0, 2):
        assert_near(predictions[0][at], predictions[1][at], dtype)
        assert_near(grads[0][at], grads[1][at], dtype)
        assert grads[0][at].norm() > 1


@pytest.mark.parametrize("dtype", FLOATS)
def test_whole_steps_with_kernels_train_as_without(
    dtype: torch.dtype, windows: dict[str, WindowSet], small: ArchitectureConfig
) -> None:
    """Three steps, of which the second network has one and the third none. Counts are equal; losses are so to 1e-5, in
    float16 to 1%; moves of the weights to 1e-3 of their norm, in float16 to 10%: the first steps of AdamW are the signs
    of gradients, of which some are next to 0."""
    of_losses, of_moves = (1e-5, 1e-3) if dtype == torch.float32 else (1e-2, 1e-1)
    recipe, ibm = TrainingConfig(batch_size=16, max_epochs=2), windows["IBM"]
    counts = (40, 10, 0)
    tasks = [
        FitTask(ticker="IBM", fold=at, windows=ibm, training_rows=np.arange(n), validation_rows=np.arange(60, 60 + n))
        for at, n in enumerate(counts)
    ]
    states: list[FusedState] = []
    for operations in (kernels.TRITON, REFERENCE):
        network = FusedNetwork(
            small, operations, num_networks=3, batch_size=16, window_sessions=30, delta=1.0, dtype=dtype, device=DEVICE
        )
        tables = tables_of([ibm], DEVICE, recipe=recipe, architecture=small)
        state = FusedState(
            network, tables, recipe, windows_on_device=True, max_training_rows=40, max_validation_rows=40
        )
        for slot, task in enumerate(tasks[:2]):
            weights = torch.empty(network.layout.num_elements)
            initial = initial_state(small.replace(residual=False), torch.Generator().manual_seed(slot))
            network.layout.write(weights, initial)
            rows = tables.rows_of(ibm, task.validation_rows)
            state.place(slot, weights, rows, num_rows=counts[slot], objective=objective_of(task, recipe))
            state.order_MR[slot, : counts[slot]] = tables.rows_of(ibm, task.training_rows).to(DEVICE)
        state.scale_M.fill_(256.0)
        state.best_MP.copy_(state.parameters_MP)
        state.begin_epoch()
        for _ in range(3):
            state.training_step(3)
            state.validation_step(3)
        states.append(state)
    found, expected = states
    for name in ("attempts_M", "updates_M", "streak_M", "scale_M", "cursor_M", "validation_cursor_M"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    assert found.updates_M.tolist() == [3, 1, 0]
    torch.testing.assert_close(found.means(), expected.means(), rtol=of_losses, atol=of_losses)
    for slot in range(2):
        moves = [(state.parameters_MP[slot] - state.best_MP[slot]).double() for state in states]
        assert (moves[0] - moves[1]).norm() < of_moves * moves[1].norm()
    assert not found.parameters_MP[2].any()


def test_the_kernels_do_not_offer_themselves_to_a_cpu() -> None:
    assert obstacle(torch.device("cpu"), 128) == "cpu is not a CUDA device"


def test_operations_with_given_tilings_are_those_of_the_kernels_and_smaller_ones_compute_the_same() -> None:
    """1e-6 in float32, 2e-3 in float16: the order of summation."""
    tilings = smaller_tilings((9, 0), 32)
    smaller = operations_with(tilings)
    assert smaller.adamw is kernels.TRITON.adamw
    torch.manual_seed(8)
    found: list[Layer] = []
    for operations in (kernels.TRITON, smaller):
        torch.manual_seed(8)
        layer = Layer(2, 3, 21, 32, FLOATS[-1])
        operations.lstm_forward(
            layer.gates,
            layer.weight_hh,
            layer.hidden,
            layer.cell,
            active_M=layer.active,
            inputs_MTBK=layer.inputs,
            weight_ih_MGI=layer.weight_ih,
        )
        operations.lstm_backward(
            layer.gates, layer.weight_hh, layer.cell, active_M=layer.active, grad_last_MBH=layer.hidden[:, -1]
        )
        found.append(layer)
    atol = 1e-6 if FLOATS[-1] == torch.float32 else 2e-3
    torch.testing.assert_close(found[1].states, found[0].states, rtol=0, atol=atol)
    torch.testing.assert_close(found[1].gates, found[0].gates, rtol=0, atol=atol)


def test_small_weights_stay_in_shared_memory_everywhere() -> None:
    assert tilings_for((8, 9), 64).backward.resident
    assert not tilings_for((8, 9), 128).backward.resident
    assert tilings_for((9, 0), 128).backward.resident
    assert tilings_for((7, 5), 128) == tilings_for((12, 1), 128)


@pytest.mark.parametrize("hidden", HIDDEN_UNITS)
@pytest.mark.parametrize("capability", [(8, 0), (8, 9), (9, 0), (10, 0), (12, 1)])
def test_no_two_warps_read_what_one_of_them_overwrites(capability: tuple[int, int], hidden: int) -> None:
    for tilings in (tilings_for(capability, hidden), smaller_tilings(capability, hidden)):
        for tiling in (tilings.forward, tilings.backward):
            assert 32 * 8 * tiling.warps <= tiling.rows * hidden, "a thread reads 8 values at once"
