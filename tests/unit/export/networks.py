"""Networks with weights that matter, of a size that exports in a blink, and windows for them."""

from collections.abc import Sequence

import numpy as np
import torch

from ldtm_lib.models.lstm import State, initial_state
from ldtm_lib.models.parameters import NetworkParameters, parameters_of
from ldtm_lib.settings import ArchitectureConfig

SMALL = ArchitectureConfig(hidden=16, head_hidden=8)
TICKERS = ("AAPL", "BRK-B", "BRK_B", "^GSPC")


def state_of(architecture: ArchitectureConfig, seed: int = 0) -> State:
    """Initial weights, and last layers that are not zero, as after a training."""
    generator = torch.Generator().manual_seed(seed)
    state = initial_state(architecture, generator)
    return {name: tensor + 0.1 * torch.randn(tensor.shape, generator=generator) for name, tensor in state.items()}


def network(architecture: ArchitectureConfig = SMALL, seed: int = 0) -> NetworkParameters:
    return parameters_of(state_of(architecture, seed), architecture, checkpoint_sha256=f"{seed:064x}")


def networks(tickers: Sequence[str] = TICKERS) -> dict[str, NetworkParameters]:
    return {ticker: network(seed=at) for at, ticker in enumerate(tickers)}


def windows(num_rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((num_rows, 30, 11), dtype=np.float32)
