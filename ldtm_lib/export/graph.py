"""The ONNX graph of one network, written node by node: a branch of the graph of a file.

Equal parameters give equal bytes, whatever the versions of torch and onnx are. A branch reads one input and writes one
output, and all of its names start with its own prefix, so that one graph can hold branches of several networks.

    window (batch, sessions, inputs)
      Transpose          (sessions, batch, inputs), since ONNX Runtime has no LSTM with the batch first
      LSTM, Squeeze      one pair per layer; the last one gives its last hidden state alone
      Gemm, Relu, Gemm   all heads at once: the second matrix is block-diagonal, so no head reads another one
      Slice, Squeeze, Add   the last scaled close, for residual heads alone
    scaled prices (batch, horizons)
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ldtm_lib.export.extras import onnx_package
from ldtm_lib.features.inputs import CLOSE
from ldtm_lib.models.parameters import NetworkParameters

Array = npt.NDArray[Any]

SHARED = "_shared."
"""The prefix of constants that all branches read; no ticker has it, see `branch_names`."""
FLOAT = 1
"""`onnx.TensorProto.FLOAT`."""
BATCH = "batch"
"""The name of the dynamic dimension."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchNames:
    """The names that one network has in the graph of a file."""

    prefix: str
    """Such as "BRK_2DB."; starts the names of nodes, constants and values."""
    window: str
    """The name of the input, such as "window_BRK_2DB"."""
    prices: str
    """The name of the output, such as "scaled_prices_BRK_2DB"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """The part of a graph that belongs to one network, as protocol buffers of onnx."""

    nodes: list[Any]
    constants: list[Any]
    window: Any
    prices: Any


def branch_names(ticker: str) -> BranchNames:
    """The names of a ticker's branch: identifiers of C, as ONNX demands, and different for different tickers.

    Letters and digits stay; every other byte of the ticker becomes `_` and two hexadecimal digits.
    """
    kept = "".join(c if c.isascii() and c.isalnum() else "".join(f"_{b:02X}" for b in c.encode()) for c in ticker)
    return BranchNames(prefix=f"{kept}.", window=f"window_{kept}", prices=f"scaled_prices_{kept}")


def branch_constants(parameters: NetworkParameters) -> dict[str, Array]:
    """The arrays of one network in the layout of ONNX, by their names without a prefix.

    PyTorch stacks the gates of an LSTM as input, forget, cell, output; ONNX as input, output, forget, cell.
    """
    architecture, arrays = parameters.architecture, parameters.arrays
    constants: dict[str, Array] = {}
    for layer in range(architecture.num_layers):
        constants[f"lstm_{layer}.input"] = _reordered(arrays[f"lstm.weight_ih_l{layer}"])
        constants[f"lstm_{layer}.recurrence"] = _reordered(arrays[f"lstm.weight_hh_l{layer}"])
    heads = [f"heads.{at}" for at in range(architecture.num_horizons)]
    width = architecture.head_hidden
    last = np.zeros((len(heads), len(heads) * width), dtype=np.float32)
    for at, head in enumerate(heads):
        last[at, at * width : (at + 1) * width] = arrays[f"{head}.2.weight"][0]
    constants["heads.0.weight"] = np.concatenate([arrays[f"{head}.0.weight"] for head in heads])
    constants["heads.0.bias"] = np.concatenate([arrays[f"{head}.0.bias"] for head in heads])
    constants["heads.2.weight"] = last
    constants["heads.2.bias"] = np.concatenate([arrays[f"{head}.2.bias"] for head in heads])
    return constants


def shared_constants(window_sessions: int) -> list[Any]:
    """The constants that branches share: axes, and the place of the last close in a window."""
    values = {
        "axis_0": [0],
        "axis_1": [1],
        "axis_2": [2],
        "close_axes": [1, 2],
        "close_start": [window_sessions - 1, CLOSE],
        "close_end": [window_sessions, CLOSE + 1],
    }
    return [_constant(f"{SHARED}{name}", np.array(value, dtype=np.int64)) for name, value in values.items()]


def branch_of(parameters: NetworkParameters, names: BranchNames, window_sessions: int) -> Branch:
    """The nodes and constants of one network."""
    helper, architecture, own = onnx_package().helper, parameters.architecture, names.prefix
    nodes: list[Any] = []

    def add(operator: str, inputs: list[str], output: str, *, unused_outputs: int = 0, **attributes: Any) -> str:
        outputs = [*[""] * unused_outputs, output]
        nodes.append(helper.make_node(operator, inputs, outputs, name=f"{own}node_{len(nodes)}", **attributes))
        return output

    hidden = add("Transpose", [names.window], f"{own}steps", perm=[1, 0, 2])
    for layer in range(architecture.num_layers):
        is_last = layer == architecture.num_layers - 1
        weights = [f"{own}lstm_{layer}.input", f"{own}lstm_{layer}.recurrence"]
        states = add(
            "LSTM",
            [hidden, *weights],
            f"{own}states_{layer}",
            unused_outputs=1 if is_last else 0,
            hidden_size=architecture.hidden,
        )
        axis = "axis_0" if is_last else "axis_1"  # the axis of directions, of which a forward LSTM has one
        hidden = add("Squeeze", [states, f"{SHARED}{axis}"], f"{own}hidden_{layer}")
    inner = add("Gemm", [hidden, f"{own}heads.0.weight", f"{own}heads.0.bias"], f"{own}inner", transB=1)
    inner = add("Relu", [inner], f"{own}rectified")
    moves = names.prices if not architecture.residual else f"{own}moves"
    add("Gemm", [inner, f"{own}heads.2.weight", f"{own}heads.2.bias"], moves, transB=1)
    if architecture.residual:
        place = [f"{SHARED}{name}" for name in ("close_start", "close_end", "close_axes")]
        close = add("Slice", [names.window, *place], f"{own}last_close")
        close = add("Squeeze", [close, f"{SHARED}axis_2"], f"{own}close")
        add("Add", [moves, close], names.prices)
    return Branch(
        nodes=nodes,
        constants=[_constant(f"{own}{name}", array) for name, array in branch_constants(parameters).items()],
        window=helper.make_tensor_value_info(names.window, FLOAT, [BATCH, window_sessions, architecture.num_inputs]),
        prices=helper.make_tensor_value_info(names.prices, FLOAT, [BATCH, architecture.num_horizons]),
    )


def _reordered(weight: Array) -> Array:
    """An LSTM weight (4 x hidden, columns) as (1, 4 x hidden, columns), the gates in the order of ONNX."""
    gates_i, gates_f, gates_g, gates_o = np.split(weight, 4)
    return np.concatenate([gates_i, gates_o, gates_f, gates_g])[None]


def _constant(name: str, array: Array) -> Any:
    return onnx_package().numpy_helper.from_array(np.ascontiguousarray(array), name)
