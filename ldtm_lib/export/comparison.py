"""Comparison of an exported network with its checkpoint: differences by horizon, directions, and parameters.

Axes: n windows, H horizons.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ldtm_lib.export.edge_cases import BATCH_SIZES, PricedWindows
from ldtm_lib.export.extras import onnx_package
from ldtm_lib.export.graph import branch_constants, branch_names
from ldtm_lib.export.onnx_file import OnnxFile, encode
from ldtm_lib.features.scaling import unscale_prices
from ldtm_lib.models.forecast import Predictions, Scaled
from ldtm_lib.models.parameters import NetworkParameters
from ldtm_lib.settings import WindowConfig

EDGE_TOLERANCE = 1e-5
"""Distance of a predicted return from an edge of its neutral band within which a different direction is not an error: a
hundredth of the default band, and far above the float32 rounding error of a return."""
Predictor = Callable[[Scaled], Predictions]
"""Scaled predictions (n, H) of one ticker from its windows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """Differences of one implementation from torch on the windows of one ticker."""

    largest: tuple[float, ...]
    """By horizon, |found - torch| / max(1, |torch|) in units of the window's close range; infinite if not finite."""
    changed_directions: int
    """Number of next-day directions that differ outside the tolerance about the band's edges."""
    changed_at_edges: int
    """Number of next-day directions that differ within it."""


def compare(windows: PricedWindows, expected: Predictions, predictor: Predictor) -> Differences:
    """The differences of a predictor's results for the windows in batches of every size of `BATCH_SIZES`.

    `expected` are torch's predictions (n, H). A small set of windows is repeated to fill a batch.
    """
    largest = np.zeros(expected.shape[1])
    changed = at_edges = 0
    for start, size in _batches(len(windows)):
        rows = np.arange(start, start + size) % len(windows)
        found, wanted = predictor(windows.inputs[rows]), expected[rows]
        with np.errstate(invalid="ignore"):
            differences = np.abs(found - wanted) / np.maximum(1, np.abs(wanted))
        differences[~np.isfinite(differences)] = np.inf
        largest = np.maximum(largest, differences.max(axis=0))
        differs, at_edge = _directions(windows, rows, found, wanted)
        changed += int(np.count_nonzero(differs & ~at_edge))
        at_edges += int(np.count_nonzero(differs & at_edge))
    return Differences(
        largest=tuple(float(value) for value in largest), changed_directions=changed, changed_at_edges=at_edges
    )


def num_altered_values(file: OnnxFile, ticker: str, parameters: NetworkParameters, window: WindowConfig) -> int:
    """Number of constants and nodes of a ticker's branch that differ from those of its checkpoint in any bit."""
    onnx = onnx_package()
    found = onnx.load_from_string(file.part((ticker,))).graph
    expected = onnx.load_from_string(encode({ticker: parameters}, window)).graph
    num_altered = sum(a != b for a, b in zip(found.node, expected.node, strict=False))
    num_altered += abs(len(found.node) - len(expected.node))
    arrays = {constant.name: onnx.numpy_helper.to_array(constant) for constant in found.initializer}
    prefix = branch_names(ticker).prefix
    for name, array in branch_constants(parameters).items():
        stored = arrays.get(prefix + name)
        if stored is None or stored.shape != array.shape or stored.dtype != array.dtype:
            num_altered += array.size
        else:
            num_altered += int(np.count_nonzero(stored.view(np.uint32) != array.view(np.uint32)))
    return int(num_altered)


def _batches(num_windows: int) -> list[tuple[int, int]]:
    """First row and number of rows of batches: one of each size, then the largest until all windows are covered."""
    batches: list[tuple[int, int]] = []
    start = 0
    for size in BATCH_SIZES:
        batches.append((start, size))
        start += size
    while start < num_windows:
        batches.append((start, min(BATCH_SIZES[-1], num_windows - start)))
        start += BATCH_SIZES[-1]
    return batches


def _directions(
    windows: PricedWindows, rows: npt.NDArray[np.int64], found: Predictions, wanted: Predictions
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Masks of the next-day directions that differ, and of the expected returns that are at an edge of their band.

    A return within the band, its edges included, is neutral, as in the record of forecasts.
    """

    def returns(scaled: Predictions) -> npt.NDArray[np.float64]:
        prices = unscale_prices(scaled[:, :1], windows.close_min[rows], windows.close_max[rows])[:, 0]
        return prices / windows.close[rows] - 1

    def directions(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.where(np.abs(values) <= bands, 0, np.sign(values))

    bands = windows.bands[rows]
    given, reference = returns(found), returns(wanted)
    return directions(given) != directions(reference), np.abs(np.abs(reference) - bands) <= EDGE_TOLERANCE
