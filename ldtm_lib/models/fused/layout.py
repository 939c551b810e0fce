"""Layout of the parameters of a network in one row of numbers, so that many networks make one matrix.

Each block begins at a multiple of 128 elements, as fast matrix products require. Parts that one product can compute are
adjacent: the two matrices of a layer side by side, the three heads one below the other. The first layer's weights of
the inputs have 16 columns, as the inputs themselves have in memory; columns that belong to no input are 0 and stay 0,
since their inputs are 0.

Axes: M fused networks, P elements of a row, K columns of inputs, H hidden units, X = K + H, J = 2 H, G = 4 H gates,
E horizons, D hidden units of a head.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ldtm_lib.models.fused.kernels.interface import INPUT_COLUMNS
from ldtm_lib.models.lstm import State
from ldtm_lib.settings import ArchitectureConfig

ALIGNMENT = 128
FUSED_LAYERS = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FusedWeights:
    """The parameters of fused networks by role, or their gradients: views of one matrix (M, P)."""

    first_MGX: Tensor
    """Input and recurrent weights of the first layer side by side."""
    second_MGJ: Tensor
    """Input and recurrent weights of the second layer side by side."""
    inner_MFH: Tensor
    """The first linear layers of all heads, one below the other: F = E D rows."""
    inner_bias_MF: Tensor
    outer_MED: Tensor
    outer_bias_ME: Tensor

    @property
    def first_ih_MGK(self) -> Tensor:
        """The first layer's weights of the inputs."""
        return self.first_MGX[..., :INPUT_COLUMNS]

    @property
    def first_hh_MGH(self) -> Tensor:
        """The first layer's weights of its own hidden states."""
        return self.first_MGX[..., INPUT_COLUMNS:]

    @property
    def second_ih_MGH(self) -> Tensor:
        """The second layer's weights of the first layer's hidden states."""
        return self.second_MGJ[..., : self.second_MGJ.shape[2] // 2]

    @property
    def second_hh_MGH(self) -> Tensor:
        """The second layer's weights of its own hidden states."""
        return self.second_MGJ[..., self.second_MGJ.shape[2] // 2 :]


class FusedLayout:
    """The order of the parameters of one architecture."""

    def __init__(self, architecture: ArchitectureConfig) -> None:
        hidden, heads = architecture.hidden, architecture.num_horizons * architecture.head_hidden
        shapes = {
            "first": (4 * hidden, INPUT_COLUMNS + hidden),
            "second": (4 * hidden, 2 * hidden),
            "inner": (heads, hidden),
            "inner_bias": (heads,),
            "outer": (architecture.num_horizons, architecture.head_hidden),
            "outer_bias": (architecture.num_horizons,),
        }
        self.architecture = architecture
        self._blocks: dict[str, tuple[int, tuple[int, ...]]] = {}
        self.num_elements = 0
        """Elements of a row, padding included: a multiple of 128."""
        for name, shape in shapes.items():
            self._blocks[name] = (self.num_elements, shape)
            self.num_elements += math.ceil(math.prod(shape) / ALIGNMENT) * ALIGNMENT

    @staticmethod
    def supports(architecture: ArchitectureConfig) -> bool:
        """True if networks of this architecture can be fused: it has two layers."""
        return architecture.num_layers == FUSED_LAYERS

    def weights(self, flat_MP: Tensor) -> FusedWeights:
        """Views of the matrix (M, P) of all parameters by role."""
        block = {name: self._view(flat_MP, name) for name in self._blocks}
        return FusedWeights(
            first_MGX=block["first"],
            second_MGJ=block["second"],
            inner_MFH=block["inner"],
            inner_bias_MF=block["inner_bias"],
            outer_MED=block["outer"],
            outer_bias_ME=block["outer_bias"],
        )

    def write(self, flat_P: Tensor, state: Mapping[str, Tensor]) -> None:
        """Put the parameters of one network into its row; the padding becomes 0."""
        flat_P.zero_()
        for name, view in self._named(flat_P).items():
            view.copy_(state[name])

    def read(self, flat_P: Tensor) -> State:
        """The parameters in the row of one network, as tensors of their own."""
        return {name: view.clone() for name, view in self._named(flat_P).items()}

    def _named(self, flat_P: Tensor) -> dict[str, Tensor]:
        """Views of one row under the names that the parameters have in a network's state."""
        hidden, head = self.architecture.hidden, self.architecture.head_hidden
        first, second = self._view(flat_P, "first"), self._view(flat_P, "second")
        named = {
            "lstm.weight_ih_l0": first[:, : self.architecture.num_inputs],
            "lstm.weight_hh_l0": first[:, INPUT_COLUMNS:],
            "lstm.weight_ih_l1": second[:, :hidden],
            "lstm.weight_hh_l1": second[:, hidden:],
        }
        for at in range(self.architecture.num_horizons):
            rows = slice(at * head, (at + 1) * head)
            named[f"heads.{at}.0.weight"] = self._view(flat_P, "inner")[rows]
            named[f"heads.{at}.0.bias"] = self._view(flat_P, "inner_bias")[rows]
            named[f"heads.{at}.2.weight"] = self._view(flat_P, "outer")[at : at + 1]
            named[f"heads.{at}.2.bias"] = self._view(flat_P, "outer_bias")[at : at + 1]
        return named

    def _view(self, flat: Tensor, name: str) -> Tensor:
        start, shape = self._blocks[name]
        return flat[..., start : start + math.prod(shape)].view(*flat.shape[:-1], *shape)
