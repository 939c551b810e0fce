"""The reference operations against nn.LSTM, autograd and PyTorch's AdamW, one network at a time."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ldtm_lib.models.fused.kernels.reference import adamw, lstm_backward, lstm_forward

pytestmark = pytest.mark.slow

NUM_INPUTS, COLUMNS = 11, 16
WEIGHT_DECAY, BETA1, BETA2, EPS = 0.1, 0.9, 0.999, 1e-8


@given(
    num_networks=st.integers(1, 4),
    num_sessions=st.integers(1, 6),
    num_windows=st.integers(1, 5),
    hidden=st.integers(1, 9),
    every_session=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_fused_layer_computes_and_differentiates_what_each_network_alone_does(
    num_networks: int, num_sessions: int, num_windows: int, hidden: int, every_session: bool, seed: int
) -> None:
    """1e-12: float64 in another order of summation."""
    torch.manual_seed(seed)
    M, T, B, H = num_networks, num_sessions, num_windows, hidden
    alone = [nn.LSTM(NUM_INPUTS, H, bias=False, batch_first=True).double() for _ in range(M)]
    windows_MBTI = torch.rand(M, B, T, NUM_INPUTS, dtype=torch.float64)
    inputs_MTBK = torch.full((M, T, B, COLUMNS), torch.nan, dtype=torch.float64)  # padding is not read
    inputs_MTBK[..., :NUM_INPUTS] = windows_MBTI.transpose(1, 2)
    weight_ih = torch.stack([lstm.weight_ih_l0.detach() for lstm in alone])
    weight_hh = torch.stack([lstm.weight_hh_l0.detach() for lstm in alone])
    gates = torch.full((M, T, B, 4 * H), torch.nan, dtype=torch.float64)
    states = torch.zeros(M, T + 1, B, 2 * H, dtype=torch.float64)
    hidden_MTBH, cell = states[:, 1:, :, H:], torch.empty(M, T, B, H, dtype=torch.float64)
    active = torch.ones(M, dtype=torch.bool)

    lstm_forward(gates, weight_hh, hidden_MTBH, cell, active_M=active, inputs_MTBK=inputs_MTBK, weight_ih_MGI=weight_ih)
    outputs = [lstm(windows_MBTI[at])[0] for at, lstm in enumerate(alone)]
    for at, output in enumerate(outputs):
        torch.testing.assert_close(hidden_MTBH[at].transpose(0, 1), output.detach(), rtol=0, atol=1e-12)
    assert not states[:, 0].any(), "only its own half of the buffer, from session 1 on, is written"
    assert not states[..., :H].any()

    grad_MTBH, grad_last = torch.randn(M, T, B, H, dtype=torch.float64), torch.randn(M, B, H, dtype=torch.float64)
    lstm_backward(
        gates,
        weight_hh,
        cell,
        active_M=active,
        grad_hidden_MTBH=grad_MTBH if every_session else None,
        grad_last_MBH=grad_last,
    )
    for at, (lstm, output) in enumerate(zip(alone, outputs, strict=True)):
        upstream = torch.zeros_like(output)
        upstream[:, -1] += grad_last[at]
        if every_session:
            upstream += grad_MTBH[at].transpose(0, 1)
        output.backward(upstream)
        found_ih = gates[at].flatten(0, 1).T @ windows_MBTI[at].transpose(0, 1).flatten(0, 1)
        found_hh = gates[at, 1:].flatten(0, 1).T @ hidden_MTBH[at, :-1].flatten(0, 1)
        torch.testing.assert_close(found_ih, lstm.weight_ih_l0.grad, rtol=0, atol=1e-12)
        torch.testing.assert_close(found_hh, lstm.weight_hh_l0.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("hidden", [1, 16])
def test_the_share_of_the_inputs_may_lie_in_the_gates_already(hidden: int) -> None:
    torch.manual_seed(0)
    M, T, B, H = 2, 4, 3, hidden
    inputs, weight_ih = torch.rand(M, T, B, COLUMNS), torch.rand(M, 4 * H, COLUMNS)
    weight_hh, active = torch.rand(M, 4 * H, H), torch.ones(M, dtype=torch.bool)
    inside, outside = torch.empty(M, T, B, 4 * H), torch.einsum("mtbk,mgk->mtbg", inputs, weight_ih)
    hidden_inside, hidden_outside, cell = (torch.empty(M, T, B, H) for _ in range(3))
    lstm_forward(inside, weight_hh, hidden_inside, cell, active_M=active, inputs_MTBK=inputs, weight_ih_MGI=weight_ih)
    lstm_forward(outside, weight_hh, hidden_outside, cell, active_M=active)
    torch.testing.assert_close(hidden_inside, hidden_outside, rtol=0, atol=1e-6)


def step(
    matrices: list[torch.Tensor],
    grads: torch.Tensor,
    half: torch.Tensor | None,
    rates: list[float],
    updates: torch.Tensor,
    update: torch.Tensor,
    scale: float,
) -> None:
    counts = updates.clamp(min=1).double()
    adamw(
        matrices[0],
        half,
        grads,
        *matrices[1:],
        learning_rate_M=torch.tensor(rates),
        bias_correction1_M=(1 - BETA1**counts).float(),
        bias_correction2_sqrt_M=(1 - BETA2**counts).sqrt().float(),
        inverse_scale_M=torch.full((len(grads),), 1 / scale),
        update_M=update,
        weight_decay=WEIGHT_DECAY,
        beta1=BETA1,
        beta2=BETA2,
        eps=EPS,
    )


@given(
    steps=st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=8),
    scale=st.sampled_from([1.0, 512.0]),
    seed=st.integers(0, 99),
)
def test_each_network_walks_as_under_an_optimizer_of_its_own_and_stands_still_when_left_out(
    steps: list[list[bool]], scale: float, seed: int
) -> None:
    """2e-6 of weights of size 1 after eight steps of at most 0.02 each: float32's rounding."""
    torch.manual_seed(seed)
    parameters = torch.randn(3, 20)
    alone = [row.clone().requires_grad_() for row in parameters]
    optimizers = [torch.optim.AdamW([row], weight_decay=WEIGHT_DECAY) for row in alone]
    matrices = [parameters, torch.zeros(3, 20), torch.zeros(3, 20)]
    half = parameters.half()
    updates = torch.zeros(3, dtype=torch.int64)
    for at, chosen in enumerate(steps):
        grads = torch.randn(3, 20)
        rates = [0.01 * (1 + math.cos(at + network)) for network in range(3)]
        before = [matrix.clone() for matrix in matrices]
        update = torch.tensor(chosen)
        updates += update
        step(matrices, torch.where(update[:, None], grads * scale, torch.nan), half, rates, updates, update, scale)
        for network in range(3):
            if not chosen[network]:
                assert all(torch.equal(m[network], b[network]) for m, b in zip(matrices, before, strict=True))
                continue
            optimizers[network].param_groups[0]["lr"] = rates[network]
            alone[network].grad = grads[network].clone()
            optimizers[network].step()
        for network in range(3):
            torch.testing.assert_close(parameters[network], alone[network].detach(), rtol=0, atol=2e-6)
    assert torch.equal(half, parameters.half())


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_gradients_that_are_no_numbers_do_not_reach_a_network_that_is_left_out(poison: float) -> None:
    matrices = [torch.ones(2, 4), torch.full((2, 4), 0.5), torch.full((2, 4), 0.25)]
    grads = torch.full((2, 4), poison)
    step(matrices, grads, None, [0.1, 0.1], torch.tensor([3, 3]), torch.tensor([False, False]), 1.0)
    assert [matrix.unique().tolist() for matrix in matrices] == [[1.0], [0.5], [0.25]]
