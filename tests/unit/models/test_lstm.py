import numpy as np
import pytest
import torch

from ldtm_lib.models.lstm import LdtmNetwork, initial_state, network_of, parameter_shapes
from ldtm_lib.settings import ArchitectureConfig

SHAPE = ArchitectureConfig()
PLAIN = ArchitectureConfig(residual=False)


def state_of_seed(seed: int, architecture: ArchitectureConfig = SHAPE) -> dict[str, torch.Tensor]:
    return initial_state(architecture, torch.Generator().manual_seed(seed))


def test_a_network_has_227203_parameters_and_a_universe_23_4_million() -> None:
    num_parameters = sum(parameter.numel() for parameter in LdtmNetwork(SHAPE).parameters())
    assert num_parameters == 227_203
    assert f"{103 * num_parameters / 1e6:.2f}" == "23.40"


def test_the_recurrent_layers_have_no_bias_and_the_heads_do() -> None:
    names = set(parameter_shapes(SHAPE))
    assert {name for name in names if name.startswith("lstm.")} == {
        "lstm.weight_ih_l0",
        "lstm.weight_hh_l0",
        "lstm.weight_ih_l1",
        "lstm.weight_hh_l1",
    }
    assert {name for name in names if name.endswith("bias")} == {
        f"heads.{h}.{n}.bias" for h in range(3) for n in (0, 2)
    }


@pytest.mark.parametrize("architecture", [SHAPE, PLAIN])
def test_the_network_computes_the_equations_of_an_lstm(architecture: ArchitectureConfig) -> None:
    """Against Hochreiter and Schmidhuber's cell with forget gate in float64; 1e-6 is float32 over 30 steps."""
    state = state_of_seed(3, PLAIN)
    window = np.random.default_rng(5).random((1, 30, 11), dtype=np.float32)
    with torch.inference_mode():
        found = network_of(state, architecture)(torch.from_numpy(window))[0].numpy()
    last_close = window[0, -1, 3] if architecture.residual else 0.0
    np.testing.assert_allclose(found, written_out(state, window[0].astype(np.float64)) + last_close, atol=1e-6)


def test_a_fresh_residual_network_predicts_the_last_close() -> None:
    windows = torch.rand(5, 30, 11, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        predictions = network_of(state_of_seed(4), SHAPE)(windows)
    assert torch.equal(predictions, windows[:, -1, 3, None].expand(5, 3))


def test_fresh_weights_are_the_same_with_and_without_residual_heads_but_for_the_last_layers() -> None:
    residual, plain = state_of_seed(4), state_of_seed(4, PLAIN)
    same = {name for name in plain if torch.equal(residual[name], plain[name])}
    assert set(plain) - same == {f"heads.{h}.2.{kind}" for h in range(3) for kind in ("weight", "bias")}


def written_out(state: dict[str, torch.Tensor], steps: np.ndarray) -> np.ndarray:
    weights = {name: tensor.numpy().astype(np.float64) for name, tensor in state.items()}
    for layer in range(2):
        hidden, cell, outputs = np.zeros(128), np.zeros(128), []
        for step in steps:
            gates = weights[f"lstm.weight_ih_l{layer}"] @ step + weights[f"lstm.weight_hh_l{layer}"] @ hidden
            write, forget, candidate, read = np.split(gates, 4)
            cell = sigmoid(forget) * cell + sigmoid(write) * np.tanh(candidate)
            hidden = sigmoid(read) * np.tanh(cell)
            outputs.append(hidden)
        steps = np.array(outputs)
    heads = [
        {name: weights[f"heads.{h}.{name}"] for name in ("0.weight", "0.bias", "2.weight", "2.bias")} for h in range(3)
    ]
    inner = [np.maximum(head["0.weight"] @ steps[-1] + head["0.bias"], 0) for head in heads]
    return np.concatenate([head["2.weight"] @ i + head["2.bias"] for head, i in zip(heads, inner, strict=True)])


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("horizon", [0, 1, 2])
def test_a_head_forecasts_its_own_horizon_alone(horizon: int) -> None:
    state = state_of_seed(0, PLAIN)
    window = torch.rand(4, 30, 11, generator=torch.Generator().manual_seed(1))
    altered = {name: tensor + 1 if name.startswith(f"heads.{horizon}.") else tensor for name, tensor in state.items()}
    with torch.inference_mode():
        before, after = network_of(state, SHAPE)(window), network_of(altered, SHAPE)(window)
    changed = (before != after).all(dim=0)
    assert changed.tolist() == [h == horizon for h in range(3)]


def test_initial_weights_follow_from_the_generator_and_leave_the_process_wide_one_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = state_of_seed(7)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    second, other = state_of_seed(7), state_of_seed(8)
    drawn = [name for name in first if name.split(".")[2:3] != ["2"]]
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in drawn)


def test_initial_weights_are_drawn_as_pytorch_draws_them() -> None:
    """The standard deviation of each matrix against PyTorch's own; 5% is 3.5 deviations for its smallest (8,192)."""
    torch.manual_seed(0)
    own, theirs = state_of_seed(0, PLAIN), LdtmNetwork(PLAIN).state_dict()
    assert list(own) == list(theirs)
    for name in (name for name in own if own[name].numel() > 1000):
        assert own[name].std().item() == pytest.approx(theirs[name].std().item(), rel=0.05), name
        assert own[name].abs().max().item() == pytest.approx(theirs[name].abs().max().item(), rel=0.01), name


def test_the_network_of_a_state_holds_its_very_tensors() -> None:
    state = state_of_seed(0)
    network = network_of(state, SHAPE)
    assert network.lstm.weight_hh_l1.data_ptr() == state["lstm.weight_hh_l1"].data_ptr()
