"""What trained networks say: a whole universe at once in the evening, or one network over many windows.

Axes: N networks, T sessions of a window, I inputs, H horizons.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import linear, relu

from ldtm_lib.config import ArchitectureConfig
from ldtm_lib.features.window_set import Rows, WindowSet
from ldtm_lib.models.lstm import network_of
from ldtm_lib.models.threads import one_thread_each

Scaled = npt.NDArray[np.float32]
Predictions = npt.NDArray[np.float64]
Parameters = Mapping[str, Tensor]

PREDICT_BATCH = 1024
"""Windows a pass; 1,024 take about 150 MB of activations."""


def forecast(inputs: Scaled, states: Sequence[Parameters], architecture: ArchitectureConfig) -> Predictions:
    """One scaled prediction per network: inputs (N, T, I), N states, result (N, H).

    Each network runs by itself on one core, as many at once as there are cores: its weights stay in that core's
    cache, and a ticker's forecast is the same to the bit whichever others are asked beside it. Stacking all
    networks into batched matrix products reads every weight T times from main memory and is slower.
    """
    windows = _paired(inputs, states)
    with (
        one_thread_each() as num_cores,
        ThreadPoolExecutor(num_cores, initializer=torch.set_num_threads, initargs=(1,)) as cores,
    ):
        rows = list(cores.map(_forecast_alone, windows, states, repeat(architecture)))
    return _as_float64(rows, architecture)


def forecast_one_by_one(inputs: Scaled, states: Sequence[Parameters], architecture: ArchitectureConfig) -> Predictions:
    """The same through the reference network, one after the other."""
    windows = _paired(inputs, states)
    with torch.inference_mode():
        rows = [network_of(state, architecture)(window) for state, window in zip(states, windows, strict=True)]
    return _as_float64(rows, architecture)


def predict(
    state: Parameters, windows: WindowSet, rows: Rows, architecture: ArchitectureConfig, device: str | torch.device
) -> Predictions:
    """Prices that one network forecasts from many windows of its ticker: shape (len(rows), H), unscaled.

    On the CPU it runs on one core, so that a backtest does not depend on how many there are.
    """
    network = network_of(state, architecture).to(device)
    scaled = np.empty((len(rows), architecture.num_horizons), dtype=np.float64)
    with one_thread_each(), torch.inference_mode():
        for start in range(0, len(rows), PREDICT_BATCH):
            batch = slice(start, start + PREDICT_BATCH)
            inputs = torch.as_tensor(windows.gather(rows[batch]), device=device)
            scaled[batch] = network(inputs).cpu().numpy()
    return windows.unscale(scaled, rows)


def _paired(inputs: Scaled, states: Sequence[Parameters]) -> list[Tensor]:
    """One batch of a single window per network."""
    if len(inputs) != len(states):
        raise ValueError(f"{len(inputs)} windows for {len(states)} networks; give one window per network")
    together = torch.as_tensor(np.array(inputs, dtype=np.float32))
    return [together[n : n + 1] for n in range(len(states))]


def _forecast_alone(window: Tensor, state: Parameters, architecture: ArchitectureConfig) -> Tensor:
    """The reference network's forward pass on a state's own tensors, without building a module (1, H)."""
    names = [f"lstm.weight_{side}_l{layer}" for layer in range(architecture.num_layers) for side in ("ih", "hh")]
    with torch.inference_mode():
        start = window.new_zeros(architecture.num_layers, 1, architecture.hidden)
        steps = torch.lstm(
            window,
            (start, start),
            [state[name] for name in names],
            False,
            architecture.num_layers,
            0.0,
            False,
            False,
            True,
        )[0]
        hidden = steps[:, -1]
        return torch.cat([_head(hidden, state, f"heads.{at}") for at in range(architecture.num_horizons)], dim=1)


def _head(hidden: Tensor, state: Parameters, name: str) -> Tensor:
    inner = relu(linear(hidden, state[f"{name}.0.weight"], state[f"{name}.0.bias"]))
    return linear(inner, state[f"{name}.2.weight"], state[f"{name}.2.bias"])


def _as_float64(rows: Sequence[Tensor], architecture: ArchitectureConfig) -> Predictions:
    if not rows:
        return np.empty((0, architecture.num_horizons), dtype=np.float64)
    return torch.cat(list(rows)).numpy().astype(np.float64)
