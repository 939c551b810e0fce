import numpy as np
import pytest
import torch

from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.models.cpu import on_all_cores
from ldtm_lib.models.forecast import PREDICT_BATCH, Predictions, forecast, forecast_by_reference, predict
from ldtm_lib.models.lstm import State, initial_state, network_of
from ldtm_lib.settings import ArchitectureConfig

SHAPE = ArchitectureConfig()


def states_of(num_networks: int, architecture: ArchitectureConfig = SHAPE) -> list[State]:
    generator = torch.Generator().manual_seed(0)
    return [initial_state(architecture, generator) for _ in range(num_networks)]


def windows_for(num_networks: int) -> np.ndarray:
    return np.random.default_rng(1).random((num_networks, 30, 11), dtype=np.float32)


def forecasts(inputs: np.ndarray, states: list[State], architecture: ArchitectureConfig = SHAPE) -> Predictions:
    """All forecasts of a session, as the ledger asks for them: shape (networks, horizons)."""
    pairs = list(zip(inputs, states, strict=True))
    return np.stack(on_all_cores(lambda pair: forecast(*pair, architecture), pairs))


def references(inputs: np.ndarray, states: list[State], architecture: ArchitectureConfig = SHAPE) -> Predictions:
    return np.stack([forecast_by_reference(*pair, architecture) for pair in zip(inputs, states, strict=True)])


def test_a_universe_at_once_agrees_with_the_reference_one_by_one() -> None:
    """1e-6: float32 sums of 128 products in another order; predictions are of the size of 0.1."""
    states, inputs = states_of(20), windows_for(20)
    found, reference = forecasts(inputs, states), references(inputs, states)
    assert found.shape == (20, 3)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, reference, rtol=0, atol=1e-6)
    assert np.ptp(found, axis=0).min() > 0.01


@pytest.mark.parametrize("architecture", [ArchitectureConfig(hidden=8, head_hidden=4, num_layers=n) for n in (1, 3)])
def test_any_number_of_layers_agrees_with_the_reference(architecture: ArchitectureConfig) -> None:
    states, inputs = states_of(4, architecture), windows_for(4)
    reference = references(inputs, states, architecture)
    np.testing.assert_allclose(forecasts(inputs, states, architecture), reference, rtol=0, atol=1e-6)


def test_a_forecast_is_the_same_to_the_bit_whoever_is_asked_beside_it() -> None:
    states, inputs = states_of(12), windows_for(12)
    together = forecasts(inputs, states)
    alone = [forecasts(inputs[n : n + 1], states[n : n + 1])[0] for n in range(12)]
    backwards = forecasts(inputs[::-1], states[::-1])[::-1]
    assert np.array_equal(together, alone)
    assert np.array_equal(together, backwards)


def test_a_forecast_is_the_same_to_the_bit_on_any_number_of_cores() -> None:
    states, inputs = states_of(6), windows_for(6)
    expected = forecasts(inputs, states)
    num_cores = torch.get_num_threads()
    try:
        for given in (1, 3):
            torch.set_num_threads(given)
            assert np.array_equal(forecasts(inputs, states), expected)
            assert torch.get_num_threads() == given
    finally:
        torch.set_num_threads(num_cores)


def test_inputs_may_be_read_only_as_they_come_from_a_database() -> None:
    states, inputs = states_of(2), windows_for(2)
    stored = np.frombuffer(inputs.astype("<f4").tobytes(), dtype="<f4").reshape(2, 30, 11)
    assert np.array_equal(forecasts(stored, states), forecasts(inputs, states))


def test_a_network_that_is_not_finite_spoils_only_its_own_row() -> None:
    states, inputs = states_of(3), windows_for(3)
    broken = [states[0], {name: tensor * float("nan") for name, tensor in states[1].items()}, states[2]]
    found = forecasts(inputs, broken)
    assert np.isnan(found[1]).all()
    assert np.array_equal(found[[0, 2]], forecasts(inputs, states)[[0, 2]])


def test_predictions_are_prices_on_the_scale_of_each_window(
    windows: dict[str, WindowSet], small: ArchitectureConfig
) -> None:
    """Against the formula written out, in batches of one: 1e-4 dollars, float32 over a close range of some dollars."""
    (state,) = states_of(1, small)
    ibm = windows["IBM"]
    rows = np.arange(0, 3000, 2)
    assert len(rows) > PREDICT_BATCH
    prices = predict(state, ibm, rows, small, "cpu")
    assert prices.shape == (1500, 3)
    assert prices.dtype == np.float64
    for at in (0, 700, PREDICT_BATCH, 1499):
        row = rows[at]
        last = ibm.ends[row]
        raw = ibm.inputs[last - 29 : last + 1]
        low, high = raw.min(axis=0), raw.max(axis=0)
        with torch.inference_mode():
            scaled = network_of(state, small)(torch.from_numpy((raw - low) / (high - low))[None])[0].numpy()
        closes = raw[:, 3].astype(np.float64)
        expected = closes.min() + scaled * (closes.max() - closes.min())
        np.testing.assert_allclose(prices[at], expected, rtol=0, atol=1e-4)


def test_no_rows_give_no_predictions(windows: dict[str, WindowSet], small: ArchitectureConfig) -> None:
    (state,) = states_of(1, small)
    assert predict(state, windows["IBM"], np.empty(0, dtype=np.int64), small, "cpu").shape == (0, 3)
