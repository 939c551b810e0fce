"""The parameters of a checkpoint as plain arrays, for code that must not import torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ldtm_lib.models import checkpoint
from ldtm_lib.models.cpu import one_thread_each
from ldtm_lib.models.forecast import Predictions, Scaled
from ldtm_lib.models.lstm import State, network_of
from ldtm_lib.settings import ArchitectureConfig


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NetworkParameters:
    """The parameters of one network, with its architecture and the SHA-256 of its checkpoint."""

    architecture: ArchitectureConfig
    arrays: Mapping[str, npt.NDArray[np.float32]]
    """Every parameter by its name in `LdtmNetwork.state_dict()`."""
    checkpoint_sha256: str


def read_parameters(path: Path, *, sha256: str) -> NetworkParameters:
    """The network in a checkpoint file, whose architecture is the one that the file states.

    Raises CheckpointRefused when the file does not have the SHA-256 or is not one that LDTM writes.
    """
    architecture = checkpoint.read_architecture(path, sha256=sha256)
    return parameters_of(
        checkpoint.load(path, sha256=sha256, architecture=architecture), architecture, checkpoint_sha256=sha256
    )


def parameters_of(state: State, architecture: ArchitectureConfig, *, checkpoint_sha256: str) -> NetworkParameters:
    """The parameters of a network in memory; the arrays share its memory."""
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in state.items()}
    return NetworkParameters(architecture=architecture, arrays=arrays, checkpoint_sha256=checkpoint_sha256)


def forecast_windows(windows: Scaled, parameters: NetworkParameters) -> Predictions:
    """Scaled predictions (n, H) of one network from many windows (n, T, I), by the reference network on one core."""
    state = {name: torch.as_tensor(array) for name, array in parameters.arrays.items()}
    network = network_of(state, parameters.architecture)
    with one_thread_each(), torch.inference_mode():
        return network(torch.tensor(windows, dtype=torch.float32)).numpy().astype(np.float64)
