"""Time a daily run's forecasts, 103 networks with one window each, by three methods; the minimum of several runs.

All methods run in this process. The stacked one exists only here: it was slower than `ldtm_lib.models.forecast`.
"""

import math
import time

import numpy as np
import torch
from torch import Tensor

from ldtm_lib.models.cpu import on_all_cores
from ldtm_lib.models.forecast import Predictions, forecast, forecast_by_reference
from ldtm_lib.models.lstm import State, initial_state
from ldtm_lib.settings import ArchitectureConfig

NUM_NETWORKS = 103
REPETITIONS = 7
GOAL_MS = 60


def main() -> None:
    shape = ArchitectureConfig()
    generator = torch.Generator().manual_seed(0)
    states = [initial_state(shape, generator) for _ in range(NUM_NETWORKS)]
    inputs = np.random.default_rng(0).random((NUM_NETWORKS, 30, shape.num_inputs), dtype=np.float32)
    milliseconds = dict.fromkeys(WAYS, math.inf)
    found: dict[str, Predictions] = {}
    for _ in range(REPETITIONS):
        for name, way in WAYS.items():
            start = time.perf_counter()
            found[name] = way(inputs, states, shape)
            milliseconds[name] = min(milliseconds[name], (time.perf_counter() - start) * 1e3)
    print(f"{NUM_NETWORKS} networks, one window each, {torch.get_num_threads()} cores, minimum of {REPETITIONS}")
    for name in WAYS:
        print(
            f"  {name:34} {milliseconds[name]:7.1f} ms   {milliseconds[PLAIN] / milliseconds[name]:4.1f} x one by one"
            f"   largest difference {np.abs(found[name] - found[PLAIN]).max():.1e}"
        )
    print(f"  goal {GOAL_MS} ms: {'reached' if milliseconds[OURS] <= GOAL_MS else 'MISSED'}")


def forecast_one_by_one(inputs: np.ndarray, states: list[State], shape: ArchitectureConfig) -> Predictions:
    return np.stack([forecast_by_reference(*pair, shape) for pair in zip(inputs, states, strict=True)])


def forecast_on_all_cores(inputs: np.ndarray, states: list[State], shape: ArchitectureConfig) -> Predictions:
    pairs = list(zip(inputs, states, strict=True))
    return np.stack(on_all_cores(lambda pair: forecast(*pair, shape), pairs))


@torch.inference_mode()
def forecast_stacked(inputs: np.ndarray, states: list[State], shape: ArchitectureConfig) -> Predictions:
    """Compute all networks as one batch of matrix products; the measured time includes building the stack."""
    weights = {name: torch.stack([state[name] for state in states]).transpose(1, -1) for name in states[0]}
    steps = torch.from_numpy(inputs)
    for layer in range(shape.num_layers):
        gates = torch.bmm(steps, weights[f"lstm.weight_ih_l{layer}"])
        recurrent = weights[f"lstm.weight_hh_l{layer}"]
        cell = hidden = steps.new_zeros(len(states), 1, shape.hidden)
        outputs: list[Tensor] = []
        for at in range(steps.shape[1]):
            i, f, g, o = (gates[:, at : at + 1] + torch.bmm(hidden, recurrent)).chunk(4, 2)
            cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
            hidden = torch.sigmoid(o) * torch.tanh(cell)
            outputs.append(hidden)
        steps = torch.cat(outputs, 1)
    last = steps[:, -1:]
    heads: list[Tensor] = []
    for at in range(shape.num_horizons):
        inner = torch.relu(torch.bmm(last, weights[f"heads.{at}.0.weight"]) + weights[f"heads.{at}.0.bias"][:, None])
        heads.append(torch.bmm(inner, weights[f"heads.{at}.2.weight"])[:, 0] + weights[f"heads.{at}.2.bias"])
    return torch.cat(heads, 1).numpy().astype(np.float64)


PLAIN, OURS = "one by one, nn.LSTM", "one network per core (forecast)"
WAYS = {PLAIN: forecast_one_by_one, "stacked, batched matrix products": forecast_stacked, OURS: forecast_on_all_cores}

if __name__ == "__main__":
    main()
