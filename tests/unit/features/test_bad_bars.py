"""Bars that are valid and strange: the window is made all the same, or the reason is given."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from ldtm_lib.features.inputs import INPUTS
from ldtm_lib.features.windows import latest_windows, windows_of
from ldtm_lib.prices.bars import BAR_SCHEMA
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import WindowConfig

LAST = date(2013, 3, 1)
CONFIG = WindowConfig()


def bars_of(calendar: Calendar, closes: list[float], volumes: list[float]) -> pl.DataFrame:
    """Bars of one ticker that end on LAST, with a high and a low of their own."""
    sessions = [calendar.offset(LAST, at + 1 - len(closes)) for at in range(len(closes))]
    close = pl.Series(closes, dtype=pl.Float64)
    return pl.DataFrame(
        {
            "ticker": ["X"] * len(closes),
            "session": sessions,
            "open": close,
            "high": close,
            "low": close,
            "close": close,
            "volume": volumes,
        },
        schema=BAR_SCHEMA,
    )


def test_a_week_without_volume_is_a_window_like_any_other(calendar: Calendar) -> None:
    closes = [100 + np.sin(at) for at in range(120)]
    bars = bars_of(calendar, closes, [1e6] * 110 + [0.0] * 5 + [1e6] * 5)
    window = latest_windows(bars, ["X"], LAST, calendar, CONFIG)[0]
    assert window.not_ready is None
    assert window.inputs is not None
    volume = window.inputs[:, INPUTS.index("volume")]
    assert volume.tolist() == [1.0] * 20 + [0.0] * 5 + [1.0] * 5


def test_a_price_that_stands_still_for_30_sessions_scales_to_0_and_targets_by_1(calendar: Calendar) -> None:
    bars = bars_of(calendar, [50.0] * 120, [1e6] * 120)
    windows = windows_of(bars, calendar, CONFIG)["X"]
    assert len(windows) == 120 - 48
    assert not windows.gather(np.arange(len(windows))).any()
    row = np.array([0])
    assert windows.targets[row].tolist() == [[0.0, 0.0, 0.0]]
    assert windows.unscale(np.array([[0.5, 1.0, -1.0]]), row).tolist() == [[50.5, 51.0, 49.0]]


@pytest.mark.parametrize(("num_bars", "is_ready"), [(25, False), (48, False), (49, True)])
def test_a_ticker_needs_49_bars(calendar: Calendar, num_bars: int, is_ready: bool) -> None:
    bars = bars_of(calendar, [100.0 + at for at in range(num_bars)], [1e6] * num_bars)
    window = latest_windows(bars, ["X"], LAST, calendar, CONFIG)[0]
    assert (window.not_ready is None) == is_ready
    if not is_ready:
        assert window.not_ready == f"has {num_bars} bars, 49 are needed"
