"""Scaling by a window's own range, and the sliding extremes under it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from ldtm_lib.features.scaling import scale, scale_prices, sliding, spans, unscale_prices

F32 = np.float32


@given(width=st.integers(1, 40), num_rows=st.integers(0, 80), seed=st.integers(0, 9))
def test_a_sliding_extreme_equals_the_extreme_of_every_window(width: int, num_rows: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(num_rows, 3)).astype(F32)
    low, high = sliding(np.minimum, values, width), sliding(np.maximum, values, width)
    if num_rows < width:
        assert low.shape == high.shape == (0, 3)
        return
    windows = sliding_window_view(values, width, axis=0)
    np.testing.assert_array_equal(low, windows.min(axis=2))
    np.testing.assert_array_equal(high, windows.max(axis=2))


def test_a_value_that_is_not_finite_spoils_exactly_the_windows_that_hold_it() -> None:
    finite = np.ones(100, dtype=np.bool_)
    finite[50] = False
    complete = sliding(np.logical_and, finite, 30)
    assert np.flatnonzero(~complete).tolist() == list(range(21, 51))


def test_a_range_of_one_rounding_unit_is_no_range_but_a_small_real_one_is() -> None:
    low = np.array([57.3, 57.3, 0.0, 0.0, -1e-3, 1e9], dtype=F32)
    high = np.array([np.nextafter(F32(57.3), F32(99)), 57.31, 0.0, 1e-30, 1e-3, 1e9 + 6400], dtype=F32)
    assert (spans(low, high) > 0).tolist() == [False, True, False, True, True, True]
    np.testing.assert_array_equal(spans(low, high)[1:], (high - low)[1:])


def test_scaled_windows_touch_0_and_1_exactly_and_a_column_without_range_is_0() -> None:
    windows = np.random.default_rng(1).uniform(90, 110, (50, 30, 4)).astype(F32)
    windows[..., 3] = 57.3
    low, high = windows.min(axis=1), windows.max(axis=1)
    scaled = scale(windows.copy(), low, spans(low, high))
    assert scaled.dtype == F32
    assert (scaled[..., :3].min(axis=1) == 0).all()
    assert (scaled[..., :3].max(axis=1) == 1).all()
    assert (scaled[..., 3] == 0).all()
    np.testing.assert_array_equal(scaled[7, 9, 2], (windows[7, 9, 2] - low[7, 2]) / (high[7, 2] - low[7, 2]))


def test_a_column_of_rounding_noise_becomes_0() -> None:
    noisy = np.full((1, 30, 1), F32(57.3))
    noisy[0, ::2] = np.nextafter(F32(57.3), F32(99))
    low, high = noisy.min(axis=1), noisy.max(axis=1)
    assert (high > low).all()
    assert (scale(noisy, low, spans(low, high)) == 0).all()


@given(
    low=st.floats(0.01, 1e5),
    width=st.floats(0.0, 3.0),
    moves=st.lists(st.floats(0.05, 20), min_size=3, max_size=3),
)
def test_unscaling_gives_the_prices_back(low: float, width: float, moves: list[float]) -> None:
    close_min, close_max = np.array([low]), np.array([low * (1 + width)])
    prices = low * np.array([moves])
    back = unscale_prices(scale_prices(prices, close_min, close_max), close_min, close_max)
    # One subtraction and one addition in float64, each exact to 1e-16 of the largest price in play.
    np.testing.assert_allclose(back, prices, rtol=1e-13)


@pytest.mark.parametrize(("price", "expected"), [(50.0, 0.0), (51.5, 1.5), (49.0, -1.0)])
def test_a_window_whose_close_never_moved_counts_targets_in_price_units(price: float, expected: float) -> None:
    still = np.array([50.0])
    assert scale_prices(np.full((1, 3), price), still, still).tolist() == [[expected] * 3]
    assert unscale_prices(np.full((1, 3), expected), still, still).tolist() == [[price] * 3]


def test_a_price_that_is_not_known_stays_unknown() -> None:
    scaled = scale_prices(np.array([[np.nan, 2.0, np.nan]]), np.array([1.0]), np.array([3.0]))
    assert np.isnan(scaled).tolist() == [[True, False, True]]
