"""Volatility inside an input window: the unit of intervals, and of neutral bands that follow the volatility."""

import numpy as np

from ldtm_lib.features.inputs import CLOSE
from ldtm_lib.features.scaling import Float32s, Float64s, unscale_prices


def window_volatility(windows: Float32s, close_min: Float64s, close_max: Float64s) -> Float64s:
    """The sample standard deviation of the daily log returns inside scaled windows (n, T, 11): (n,), per session.

    `close_min` and `close_max` (n,) are the lowest and highest close of each window. It is computed from the scaled
    closes, so that a backtest, a daily forecast and a replay get the same value from one window. 0 if no close moved.
    """
    closes = unscale_prices(windows[:, :, CLOSE], close_min, close_max)
    if closes.shape[1] < 3:
        return np.zeros(len(closes))
    return np.diff(np.log(closes), axis=1).std(axis=1, ddof=1)
