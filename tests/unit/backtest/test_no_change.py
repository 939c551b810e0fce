"""The loss of forecasting no change is on the scale of the networks' losses."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldtm_lib.backtest.no_change import no_change_loss
from ldtm_lib.features.window_set import WindowSet
from tests.unit.backtest.window_sets import small_windows


def priced(closes: list[float], targets: list[list[float]], low: float, high: float) -> WindowSet:
    """Ten windows with these closes and target prices, scaled by one range."""
    prices = np.resize(np.array(targets), (10, 3))
    return replace(
        small_windows(),
        close=np.resize(np.array(closes), 10),
        close_min=np.full(10, low),
        close_max=np.full(10, high),
        target_prices=prices,
        targets=((prices - low) / (high - low)).astype(np.float32),
    )


def test_it_is_the_mean_square_of_the_moves_in_units_of_the_windows_range() -> None:
    windows = priced([100.0], [[101.0, 102.0, 104.0]], 90.0, 110.0)
    # Moves of 1, 2 and 4 in a range of 20; 1e-6 for targets in float32.
    assert no_change_loss(windows, np.array([2, 5])) == pytest.approx((1 + 4 + 16) / 3 / 400, rel=1e-6)


def test_prices_that_stay_have_no_loss() -> None:
    assert no_change_loss(priced([95.0], [[95.0] * 3], 90.0, 110.0), np.arange(10)) == pytest.approx(0, abs=1e-12)


def test_no_rows_have_none() -> None:
    assert no_change_loss(small_windows(), np.array([], dtype=np.int64)) is None


@given(factor=st.floats(0.01, 100))
def test_it_does_not_depend_on_the_unit_of_the_price(factor: float) -> None:
    """At 1e-4: targets are float32."""
    plain = priced([100.0, 97.0], [[101.0, 99.0, 120.0]], 90.0, 110.0)
    other = priced(
        [100.0 * factor, 97.0 * factor], [[101.0 * factor, 99.0 * factor, 120.0 * factor]], 90 * factor, 110 * factor
    )
    rows = np.arange(10)
    assert math.isclose(no_change_loss(plain, rows) or 0, no_change_loss(other, rows) or 1, rel_tol=1e-4)
