"""Extreme windows that scaling can give, and the batch sizes that a network is tested with.

Scaled inputs are in 0..1 by construction, so the extremes are windows whose inputs jump between both ends. Axes: n
windows, T sessions, I inputs.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from ldtm_lib.features.inputs import CLOSE
from ldtm_lib.features.scaling import Float64s
from ldtm_lib.features.window_set import Rows, WindowSet
from ldtm_lib.models.forecast import Scaled

BATCH_SIZES = (1, 2, 16, 103, 256)
"""Rows of one call. 256 is the largest batch of the engines' optimisation profile."""
LOWEST_CLOSE, CLOSE_RANGE, BAND = 100.0, 10.0, 0.001
"""Prices and neutral band that are assumed for the windows of this module, which come from no bars."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PricedWindows:
    """Scaled windows of one ticker with the prices and bands that turn their predictions into prices and directions."""

    inputs: Scaled
    """(n, T, I) float32."""
    close: Float64s
    """(n,) the newest close."""
    close_min: Float64s
    close_max: Float64s
    bands: Float64s
    """(n,) the neutral band of each forecast, as a fraction of its close."""

    @classmethod
    def of(cls, windows: WindowSet, rows: Rows, bands: Float64s) -> Self:
        """Some windows of a ticker's history, such as the newest ones."""
        return cls(
            inputs=windows.gather(rows),
            close=windows.close[rows],
            close_min=windows.close_min[rows],
            close_max=windows.close_max[rows],
            bands=bands,
        )

    def __len__(self) -> int:
        return len(self.inputs)

    def with_more(self, other: "PricedWindows") -> "PricedWindows":
        """These windows, followed by the windows of another set."""
        return PricedWindows(
            inputs=np.concatenate([self.inputs, other.inputs]),
            close=np.concatenate([self.close, other.close]),
            close_min=np.concatenate([self.close_min, other.close_min]),
            close_max=np.concatenate([self.close_max, other.close_max]),
            bands=np.concatenate([self.bands, other.bands]),
        )


def edge_cases(window_sessions: int, num_inputs: int) -> dict[str, Scaled]:
    """Windows (T, I) by a name that describes them."""
    sessions = np.arange(window_sessions)[:, None]
    columns = np.arange(num_inputs)[None, :]
    last = sessions == window_sessions - 1
    random = np.random.default_rng(0)
    cases = {
        "no input moved": np.zeros((window_sessions, num_inputs)),
        "all inputs at their maximum": np.ones((window_sessions, num_inputs)),
        "a jump in the last session": last & (columns >= 0),
        "a fall in the last session": ~last & (columns >= 0),
        "a jump in the first session": (sessions > 0) & (columns >= 0),
        "a jump every session": (sessions + 0 * columns) % 2,
        "a jump every session, columns against each other": (sessions + columns) % 2,
        "a steady rise": (sessions + 0 * columns) / (window_sessions - 1),
        "a steady fall": 1 - (sessions + 0 * columns) / (window_sessions - 1),
        "only the close moved": (columns == CLOSE) & (sessions % 3 == 0),
        "the smallest number above zero": np.full((window_sessions, num_inputs), np.finfo(np.float32).tiny),
        "random numbers": random.random((window_sessions, num_inputs)),
    }
    return {name: np.asarray(values, dtype=np.float32) for name, values in cases.items()}


def priced_edge_cases(window_sessions: int, num_inputs: int) -> PricedWindows:
    """All edge cases, with the assumed prices and band."""
    inputs = np.stack(list(edge_cases(window_sessions, num_inputs).values()))
    lowest = np.full(len(inputs), LOWEST_CLOSE)
    return PricedWindows(
        inputs=inputs,
        close=lowest + CLOSE_RANGE * inputs[:, -1, CLOSE].astype(np.float64),
        close_min=lowest,
        close_max=lowest + CLOSE_RANGE,
        bands=np.full(len(inputs), BAND),
    )
