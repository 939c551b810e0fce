"""Volatility of a window, beside the plain formula over its bars."""

from datetime import date

import numpy as np
import pytest

from ldtm_lib.features.volatility import window_volatility
from ldtm_lib.features.windows import latest_windows, windows_of
from ldtm_lib.prices.sources.sample import SampleSource
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import WindowConfig


def test_is_the_deviation_of_the_log_returns_of_the_bars(calendar: Calendar) -> None:
    bars = SampleSource().fetch(["AAPL"], date(2011, 1, 3), date(2013, 3, 1)).bars
    windows = windows_of(bars, calendar, WindowConfig())["AAPL"]
    rows = np.array([0, 7, len(windows) - 1])
    closes = bars["close"].to_numpy()
    plain = [np.diff(np.log(closes[end - 29 : end + 1])).std(ddof=1) for end in windows.ends[rows]]

    assert windows.volatility(rows) == pytest.approx(plain, rel=1e-5)
    (newest,) = latest_windows(bars, ["AAPL"], date(2013, 3, 1), calendar, WindowConfig())
    assert newest.volatility == windows.volatility(rows)[-1]


def test_is_zero_where_no_close_moved() -> None:
    flat = np.zeros((1, 30, 11), dtype=np.float32)
    assert window_volatility(flat, np.array([20.0]), np.array([20.0])) == [0.0]
