"""The fused AdamW against PyTorch's, one optimizer a network."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ldtm_lib.models.fused.optimizer import adamw

WEIGHT_DECAY, BETA1, BETA2, EPS = 0.1, 0.9, 0.999, 1e-8


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
