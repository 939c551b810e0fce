"""Window sets for tests of backtests: random walks with missing sessions, and ten windows in a row."""

import numpy as np
import polars as pl

from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.features.windows import windows_of
from ldtm_lib.sessions import Calendar, exchange_calendar
from ldtm_lib.settings import WindowConfig

CALENDAR = exchange_calendar()
SHORT = WindowConfig(window_sessions=5)
"""Short windows leave more of them between two missing bars."""


def random_windows(
    num_sessions: int,
    *,
    missing: set[int] | None = None,
    first: int = 3000,
    seed: int = 0,
    calendar: Calendar = CALENDAR,
) -> WindowSet:
    """Windows over a random walk of so many sessions, some of which have no bar."""
    days = [
        day for n, day in enumerate(calendar.days[first : first + num_sessions].tolist()) if n not in (missing or ())
    ]
    close = 50 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.02, len(days))))
    prices = {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close, "volume": 1e6 + close}
    bars = pl.DataFrame({"ticker": ["XYZ"] * len(days), "session": days, **prices})
    return windows_of(bars, calendar, SHORT)["XYZ"]


def small_windows() -> WindowSet:
    """Ten windows on ten consecutive days, each labelled one, two and three days ahead."""
    days = np.arange(np.datetime64("2026-03-01"), np.datetime64("2026-03-14"))
    close = np.arange(100.0, 113.0)
    ahead = np.arange(10)[:, None] + [1, 2, 3]
    ones = np.ones((10, 11), dtype=np.float32)
    return WindowSet(
        ticker="XYZ",
        window_sessions=1,
        inputs=np.ones((13, 11), dtype=np.float32),
        bar_sessions=days,
        ends=np.arange(10),
        sessions=days[:10],
        low=ones,
        span=ones,
        close=close[:10],
        close_min=close[:10],
        close_max=close[:10] + 1,
        target_sessions=days[ahead],
        target_prices=close[ahead],
        targets=ones[:, :3],
        labelled=np.ones(10, dtype=bool),
    )
