"""Forecasts of a trained network, from the one window of a session or from many.

Axes: T sessions of a window, I inputs, H horizons.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import linear, relu

from ldtm_lib.features.inputs import CLOSE
from ldtm_lib.features.window_set import Rows, WindowSet
from ldtm_lib.models.cpu import one_thread_each
from ldtm_lib.models.lstm import network_of
from ldtm_lib.settings import ArchitectureConfig

Scaled = npt.NDArray[np.float32]
Predictions = npt.NDArray[np.float64]
Parameters = Mapping[str, Tensor]

PREDICT_BATCH = 1024
"""Number of windows per pass; 1,024 take about 150 MB of activations."""


def forecast(window: Scaled, state: Parameters, architecture: ArchitectureConfig) -> Predictions:
    """One network's scaled prediction (H,) from one window (T, I).

    The reference network's forward pass on a state's own tensors, without building a module. A daily run computes its
    networks in parallel, each on one core (`on_all_cores`): the weights stay in that core's cache, and a ticker's
    forecast is the same to the bit whichever others are forecast at the same time. Fusing all networks into batched
    matrix products reads every weight T times from main memory and is slower.
    """
    names = [f"lstm.weight_{side}_l{layer}" for layer in range(architecture.num_layers) for side in ("ih", "hh")]
    with torch.inference_mode():
        inputs = _batch_of(window)
        start = inputs.new_zeros(architecture.num_layers, 1, architecture.hidden)
        steps = torch.lstm(
            inputs,
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
        heads = [_head(hidden, state, f"heads.{at}") for at in range(architecture.num_horizons)]
        outputs = torch.cat(heads, dim=1)
        if architecture.residual:
            outputs = outputs + inputs[:, -1, CLOSE, None]
        return outputs[0].numpy().astype(np.float64)


def forecast_by_reference(window: Scaled, state: Parameters, architecture: ArchitectureConfig) -> Predictions:
    """Like `forecast`, but by the reference network."""
    with torch.inference_mode():
        return network_of(state, architecture)(_batch_of(window))[0].numpy().astype(np.float64)


def predict(
    state: Parameters, windows: WindowSet, rows: Rows, architecture: ArchitectureConfig, device: str | torch.device
) -> Predictions:
    """Prices that one network forecasts from many windows of its ticker: shape (len(rows), H), unscaled.

    On the CPU it runs on one core, so that a backtest does not depend on the number of cores.
    """
    network = network_of(state, architecture).to(device)
    scaled = np.empty((len(rows), architecture.num_horizons), dtype=np.float64)
    with one_thread_each(), torch.inference_mode():
        for start in range(0, len(rows), PREDICT_BATCH):
            batch = slice(start, start + PREDICT_BATCH)
            inputs = torch.as_tensor(windows.gather(rows[batch]), device=device)
            scaled[batch] = network(inputs).cpu().numpy()
    return windows.unscale(scaled, rows)


def _batch_of(window: Scaled) -> Tensor:
    """A batch of a single window in aligned memory of its own, so that the result is always the same to the bit."""
    return torch.tensor(window, dtype=torch.float32)[None]


def _head(hidden: Tensor, state: Parameters, name: str) -> Tensor:
    inner = relu(linear(hidden, state[f"{name}.0.weight"], state[f"{name}.0.bias"]))
    return linear(inner, state[f"{name}.2.weight"], state[f"{name}.2.bias"])
