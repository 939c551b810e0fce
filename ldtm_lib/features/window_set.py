"""All input windows of one ticker with their targets, held without copying any bar.

Axes: S bars, W windows, 11 inputs, 3 horizons, n chosen windows.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from ldtm_lib.features.inputs import CLOSE
from ldtm_lib.features.scaling import Booleans, Float32s, Float64s, Integers, scale, unscale_prices
from ldtm_lib.features.volatility import window_volatility
from ldtm_lib.sessions import Sessions

Rows = npt.NDArray[np.integer]
"""Indices of windows, of any integer dtype."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WindowSet:
    """The windows of one ticker, oldest first; W is 0 for a ticker whose history is too short."""

    ticker: str
    window_sessions: int
    inputs: Float32s
    """(S, 11), C-contiguous, unscaled; warm-up rows contain NaN and belong to no window."""
    bar_sessions: Sessions
    """(S,) the session of each row of `inputs`."""
    ends: Integers
    """(W,) the last row of `inputs` of each window."""
    sessions: Sessions
    """(W,) the last session of each window: the run date of a forecast from it."""
    low: Float32s
    """(W, 11) the minimum of each input over the window."""
    span: Float32s
    """(W, 11) maximum less minimum; 0 for a column without range, which scales to 0."""
    close: Float64s
    """(W,) the close of the window's last session."""
    close_min: Float64s
    """(W,) the lowest close of the window."""
    close_max: Float64s
    """(W,) the highest close of the window; where it equals the lowest, targets scale with span 1."""
    target_sessions: Sessions
    """(W, 3) the target sessions of a forecast."""
    target_prices: Float64s
    """(W, 3) their closes, NaN where not known."""
    targets: Float32s
    """(W, 3) their closes scaled by the window's close range, often outside of 0..1; NaN where not known."""
    labelled: Booleans
    """(W,) true if all three target prices are known."""

    def __len__(self) -> int:
        return len(self.ends)

    def gather(self, rows: Rows) -> Float32s:
        """The scaled inputs of some windows: (n, window_sessions, 11)."""
        num_inputs = self.inputs.shape[1]
        shape = (len(rows), self.window_sessions, num_inputs)
        if not len(rows):
            return np.empty(shape, dtype=np.float32)
        flat = sliding_window_view(self.inputs.reshape(-1), self.window_sessions * num_inputs)[::num_inputs]
        windows = flat[self.ends[rows] - (self.window_sessions - 1)].reshape(shape)
        return scale(windows, self.low[rows], self.span[rows])

    def last_closes(self, rows: Rows) -> Float32s:
        """The newest close (n,) of some windows, scaled as `gather` scales it."""
        last = self.inputs[self.ends[rows], CLOSE]
        span = self.span[rows, CLOSE]
        return (last - self.low[rows, CLOSE]) / np.where(span > 0, span, np.float32(np.inf))

    def unscale(self, predictions: npt.NDArray[np.floating], rows: Rows) -> Float64s:
        """Scaled predictions (n, 3) of some windows as prices, float64."""
        return unscale_prices(predictions, self.close_min[rows], self.close_max[rows])

    def volatility(self, rows: Rows) -> Float64s:
        """The daily volatility (n,) inside some windows; see `window_volatility`."""
        return window_volatility(self.gather(rows), self.close_min[rows], self.close_max[rows])

    def data_sha256(self) -> str:
        """SHA-256 of everything that training reads, as hexadecimal digits: every array with its name and shape."""
        digest = hashlib.sha256()
        for name, dtype in _HASHED.items():
            array = np.ascontiguousarray(getattr(self, name), dtype=dtype)
            digest.update(f"{name}{dtype}{array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    def known_by(self, cutoff: date) -> "WindowSet":
        """The windows that were known after the close of a day, without later bars, windows and labels."""
        day = np.datetime64(cutoff)
        num_bars = int(np.searchsorted(self.bar_sessions, day, side="right"))
        num_windows = int(np.searchsorted(self.sessions, day, side="right"))
        target_sessions = self.target_sessions[:num_windows]
        past = target_sessions <= day
        return replace(
            self,
            inputs=self.inputs[:num_bars],
            bar_sessions=self.bar_sessions[:num_bars],
            ends=self.ends[:num_windows],
            sessions=self.sessions[:num_windows],
            low=self.low[:num_windows],
            span=self.span[:num_windows],
            close=self.close[:num_windows],
            close_min=self.close_min[:num_windows],
            close_max=self.close_max[:num_windows],
            target_sessions=target_sessions,
            target_prices=np.where(past, self.target_prices[:num_windows], np.nan),
            targets=np.where(past, self.targets[:num_windows], np.float32(np.nan)),
            labelled=self.labelled[:num_windows] & past.all(axis=1),
        )


_HASHED = {
    "inputs": "<f4",
    "bar_sessions": "<M8[D]",
    "ends": "<i8",
    "low": "<f4",
    "span": "<f4",
    "close": "<f8",
    "close_min": "<f8",
    "close_max": "<f8",
    "target_sessions": "<M8[D]",
    "target_prices": "<f8",
    "targets": "<f4",
}
"""The arrays that training reads and their dtypes in the hash; the rest follows from these."""
