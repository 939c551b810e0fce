"""The network of one ticker in its plain form; every faster implementation is tested against it.

Two LSTM layers without biases read the window; one independent head per horizon reads the last hidden state and
predicts the move from the last close of the window. With the default shape that makes 227,203 parameters, and 23.40
million for 103 tickers.
"""

import math
from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor, nn

from ldtm_lib.features.inputs import CLOSE
from ldtm_lib.settings import ArchitectureConfig

State = dict[str, Tensor]
"""The parameters of one network by their names in `LdtmNetwork.state_dict()`, float32."""


class LdtmNetwork(nn.Module):
    """A network from scaled windows (batch, sessions, inputs) to scaled, unbounded prices (batch, horizons)."""

    def __init__(self, architecture: ArchitectureConfig) -> None:
        super().__init__()
        self.residual = architecture.residual
        self.lstm = nn.LSTM(
            architecture.num_inputs, architecture.hidden, architecture.num_layers, bias=False, batch_first=True
        )
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Linear(architecture.hidden, architecture.head_hidden),
                nn.ReLU(),
                nn.Linear(architecture.head_hidden, 1),
            )
            for _ in range(architecture.num_horizons)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Predictions (batch, horizons) of windows (batch, sessions, inputs)."""
        hidden: Tensor = self.lstm(inputs)[0][:, -1]
        outputs = torch.cat([head(hidden) for head in self.heads], dim=1)
        return outputs + inputs[:, -1, CLOSE, None] if self.residual else outputs


@cache
def parameter_shapes(architecture: ArchitectureConfig) -> Mapping[str, torch.Size]:
    """The shape of every parameter by its name, without allocating any."""
    with torch.device("meta"):
        return {name: tensor.shape for name, tensor in LdtmNetwork(architecture).state_dict().items()}


def initial_state(architecture: ArchitectureConfig, generator: torch.Generator) -> State:
    """Initial parameters drawn from the caller's generator, so that the process-wide one does not matter.

    The distributions are PyTorch's own: uniform in +-1/sqrt(hidden) for the LSTM and in +-1/sqrt(fan in) for the
    heads, biases included. With residual heads the last layer of each head is 0 instead, so that a fresh network
    predicts no change; all other parameters are the same with and without.
    """
    fan_in = {"lstm": architecture.hidden, "0": architecture.hidden, "2": architecture.head_hidden}

    def drawn(name: str, shape: torch.Size) -> Tensor:
        layer = "lstm" if name.startswith("lstm.") else name.split(".")[2]
        bound = 1 / math.sqrt(fan_in[layer])
        values = torch.empty(shape).uniform_(-bound, bound, generator=generator)
        return torch.zeros_like(values) if architecture.residual and layer == "2" else values

    return {name: drawn(name, shape) for name, shape in parameter_shapes(architecture).items()}


def network_of(state: Mapping[str, Tensor], architecture: ArchitectureConfig) -> LdtmNetwork:
    """The network whose parameters are the tensors of a state themselves, not copies of them."""
    with torch.device("meta"):
        network = LdtmNetwork(architecture)
    network.load_state_dict(state, assign=True)
    return network
