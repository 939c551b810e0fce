"""Forecasts and gradients of fused networks against the reference network and autograd, one network at a time."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import huber_loss

from ldtm_lib.models.fused.kernels.interface import REFERENCE
from ldtm_lib.models.fused.layout import ALIGNMENT, FusedLayout
from ldtm_lib.models.fused.network import FusedNetwork
from ldtm_lib.models.lstm import State, initial_state, network_of
from ldtm_lib.settings import ArchitectureConfig

CPU = torch.device("cpu")
DELTA = 0.7
SMALL = ArchitectureConfig(hidden=16, head_hidden=8)
DEFAULT = ArchitectureConfig()


@pytest.mark.parametrize("architecture", [SMALL, DEFAULT, ArchitectureConfig(hidden=7, head_hidden=5)])
def test_a_row_holds_every_parameter_once_and_gives_it_back(architecture: ArchitectureConfig) -> None:
    layout = FusedLayout(architecture)
    state = moving_state(architecture, 1)
    rows = torch.full((3, layout.num_elements), torch.nan)
    layout.write(rows[1], state)
    found = layout.read(rows[1])
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)
    assert rows[1].count_nonzero() == sum(tensor.count_nonzero() for tensor in state.values())
    assert layout.num_elements % ALIGNMENT == 0
    assert rows[0].isnan().all()
    assert rows[2].isnan().all()


def test_only_networks_of_two_layers_can_be_fused() -> None:
    assert FusedLayout.supports(DEFAULT)
    assert not FusedLayout.supports(ArchitectureConfig(num_layers=1))
    assert not FusedLayout.supports(ArchitectureConfig(num_layers=3))


def moving_state(architecture: ArchitectureConfig, seed: int) -> State:
    """Parameters none of which is 0, so that every gradient has something to be."""
    return initial_state(architecture.replace(residual=False), torch.Generator().manual_seed(seed))


def fused_network_of(num_networks: int, batch_size: int, num_sessions: int) -> FusedNetwork:
    return FusedNetwork(
        SMALL,
        REFERENCE,
        num_networks=num_networks,
        batch_size=batch_size,
        window_sessions=num_sessions,
        delta=DELTA,
        dtype=torch.float32,
        device=CPU,
    )


@given(
    num_networks=st.integers(1, 4),
    num_computed=st.integers(1, 4),
    num_windows=st.lists(st.integers(1, 6), min_size=4, max_size=4),
    scale=st.sampled_from([1.0, 1024.0]),
    residual=st.booleans(),
    seed=st.integers(0, 99),
)
def test_forecasts_and_gradients_are_those_of_each_network_alone(
    num_networks: int, num_computed: int, num_windows: list[int], scale: float, residual: bool, seed: int
) -> None:
    """Gradients at 2e-6 of their size: float32 in another order of summation. Padding rows weigh nothing."""
    torch.manual_seed(seed)
    m = min(num_computed, num_networks)
    fused = fused_network_of(num_networks, batch_size=6, num_sessions=5)
    states = [moving_state(SMALL, at) for at in range(num_networks)]
    flat, grads = (torch.full((num_networks, fused.layout.num_elements), torch.nan) for _ in range(2))
    for row, state in zip(flat, states, strict=True):
        fused.layout.write(row, state)
    windows, targets = torch.rand(num_networks, 6, 5, 11), torch.randn(num_networks, 6, 3)
    fused.inputs_MTBK[..., :11] = windows.transpose(1, 2)
    last = windows[:, :, -1, 3, None] if residual else torch.zeros(num_networks, 6, 1)
    fused.targets_MBE.copy_(targets - last)
    for at in range(num_networks):
        fused.valid_MB[at, : num_windows[at]] = True
        fused.targets_MBE[at, num_windows[at] :] = torch.nan

    weights = torch.tensor([[1.0, 0.25, 3.0]]).expand(num_networks, 3)
    units = torch.tensor([0.5, 1.0, 2.0])
    fused.units_ME[:] = units
    losses, squares = torch.zeros(m, 3), torch.zeros(m, 3)
    fused.forward(flat, m, losses_ME=losses, squares_ME=squares)
    fused.backward(flat, grads, m, scale * weights[:m])

    assert grads[m:].isnan().all(), "who is not computed is not touched"
    assert not fused.layout.weights(grads[:m]).first_ih_MGK[..., 11:].any(), "columns of no input learn nothing"
    for at in range(m):
        network = network_of(states[at], SMALL.replace(residual=residual)).requires_grad_()
        predictions = network(windows[at, : num_windows[at]])
        torch.testing.assert_close(
            (fused.predictions_MBE + last)[at, : num_windows[at]], predictions.detach(), rtol=0, atol=2e-6
        )
        errors = predictions - targets[at, : num_windows[at]]
        by_row = 2 * huber_loss(errors / units, torch.zeros_like(errors), reduction="none", delta=DELTA)
        torch.testing.assert_close(losses[at], by_row.sum(0).detach(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(squares[at], errors.square().sum(0).detach(), rtol=1e-5, atol=1e-6)
        loss = (by_row * weights[at]).mean()
        loss.backward()
        found = fused.layout.read(grads[at])
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None
            largest = parameter.grad.abs().max().item()
            torch.testing.assert_close(found[name] / scale, parameter.grad, rtol=0, atol=2e-6 * max(1.0, largest))


def test_a_network_of_nan_leaves_the_others_as_they_are() -> None:
    torch.manual_seed(0)
    results: list[tuple[torch.Tensor, torch.Tensor]] = []
    for poison in (0.0, torch.nan):
        fused = fused_network_of(3, batch_size=4, num_sessions=5)
        flat, grads = (torch.zeros(3, fused.layout.num_elements) for _ in range(2))
        for at, row in enumerate(flat):
            fused.layout.write(row, moving_state(SMALL, at))
        flat[1] += poison
        fused.inputs_MTBK[..., :11] = torch.linspace(0, 1, 3 * 5 * 4 * 11).view(3, 5, 4, 11)
        fused.valid_MB[:] = True
        fused.forward(flat, 3)
        fused.backward(flat, grads, 3, torch.ones(3, 3))
        results.append((fused.predictions_MBE[[0, 2]], grads[[0, 2]]))
        assert fused.predictions_MBE[1].isnan().all() == bool(poison)
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
