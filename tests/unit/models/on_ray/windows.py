"""Window sets without a window."""

import numpy as np

from ldtm_lib.features.window_set import WindowSet


def no_windows(ticker: str) -> WindowSet:
    inputs = np.empty((0, 11), dtype=np.float32)
    days = np.empty(0, dtype="datetime64[D]")
    closes = np.empty(0)
    return WindowSet(
        ticker=ticker,
        window_sessions=30,
        inputs=inputs,
        bar_sessions=days,
        ends=np.empty(0, dtype=np.int64),
        sessions=days,
        low=inputs,
        span=inputs,
        close=closes,
        close_min=closes,
        close_max=closes,
        target_sessions=np.empty((0, 3), dtype="datetime64[D]"),
        target_prices=np.empty((0, 3)),
        targets=np.empty((0, 3), dtype=np.float32),
        labelled=np.empty(0, dtype=np.bool_),
    )
