"""Windows of made-up tickers from seeded random walks: as much work as real ones, without polars.

Axes: S bars, W windows.
"""

import numpy as np
import numpy.typing as npt

from ldtm_lib.features.inputs import INPUTS
from ldtm_lib.features.scaling import Float64s, scale_prices, sliding, spans
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.sessions import ONE_MONTH_SESSIONS, Sessions

DAILY_VOLATILITY = 0.02
WARMUP_BARS = 20
"""Number of bars before the first window, which the averages and returns read."""
LAST_SESSION = np.datetime64("2025-09-30")


def synthetic_windows(ticker: str, num_windows: int, *, seed: int, window_sessions: int = 30) -> WindowSet:
    """`num_windows` labelled windows of one ticker: the same for the same seed, whatever the ticker's name.

    Every weekday is a session. RSI uses plain averages instead of Wilder's. Forecasts of these windows mean
    nothing: the closes are a random walk.
    """
    num_bars = WARMUP_BARS + window_sessions - 1 + num_windows + ONE_MONTH_SESSIONS
    generator = np.random.default_rng(seed)
    close_S = 100 * np.exp(np.cumsum(generator.normal(0, DAILY_VOLATILITY, num_bars)))
    inputs = _inputs(close_S, generator).astype(np.float32)
    first = np.busday_offset(LAST_SESSION, 1 - num_bars, roll="backward")
    days: Sessions = np.busday_offset(first, np.arange(num_bars))

    ends_W = np.arange(num_windows) + WARMUP_BARS + window_sessions - 1
    starts_W = ends_W - (window_sessions - 1)
    low = sliding(np.minimum, inputs, window_sessions)[starts_W]
    close_min = sliding(np.minimum, close_S, window_sessions)[starts_W]
    close_max = sliding(np.maximum, close_S, window_sessions)[starts_W]
    until_monday_W = 5 - (days[ends_W].astype(np.int64) + 3) % 7  # numpy counts days from a Thursday
    targets_at = np.stack([ends_W + 1, ends_W + until_monday_W, ends_W + ONE_MONTH_SESSIONS], axis=1)
    return WindowSet(
        ticker=ticker,
        window_sessions=window_sessions,
        inputs=inputs,
        bar_sessions=days,
        ends=ends_W,
        sessions=days[ends_W],
        low=low,
        span=spans(low, sliding(np.maximum, inputs, window_sessions)[starts_W]),
        close=close_S[ends_W],
        close_min=close_min,
        close_max=close_max,
        target_sessions=days[targets_at],
        target_prices=close_S[targets_at],
        targets=scale_prices(close_S[targets_at], close_min, close_max).astype(np.float32),
        labelled=np.ones(num_windows, dtype=np.bool_),
    )


def _inputs(close_S: Float64s, generator: np.random.Generator) -> Float64s:
    """The eleven inputs (S, 11); NaN in the first bars, which belong to no window."""
    change_S = np.diff(close_S, prepend=close_S[0])
    gain_S, loss_S = (_mean(np.maximum(sign * change_S, 0), 14) for sign in (1, -1))
    columns = {
        "open": close_S * 1.001,
        "high": close_S * 1.02,
        "low": close_S * 0.98,
        "close": close_S,
        "volume": generator.uniform(1e5, 1e8, len(close_S)),
        "log_return_1": _log_return(close_S, 1),
        "log_return_5": _log_return(close_S, 5),
        "rsi_14": 100 * gain_S / (gain_S + loss_S),
        **{f"close_to_ma_{n}": close_S / _mean(close_S, n) for n in (5, 10, 20)},
    }
    return np.stack([columns[name] for name in INPUTS], axis=1)


def _log_return(close_S: Float64s, num_bars: int) -> Float64s:
    earlier: npt.NDArray[np.float64] = np.full(len(close_S), np.nan)
    earlier[num_bars:] = close_S[:-num_bars]
    return np.log(close_S / earlier)


def _mean(values_S: Float64s, num_bars: int) -> Float64s:
    """The mean of each bar and those before it, NaN where there are fewer."""
    means = np.full(len(values_S), np.nan)
    means[num_bars - 1 :] = np.convolve(values_S, np.full(num_bars, 1 / num_bars), mode="valid")
    return means
