"""Every ticker has a row whose colours say on which side of a coin, and of no change, it is."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ldtm_lib.plots.colours import BLUE, ORANGE, PALE_BLUE
from ldtm_lib.plots.ranked_tickers import RankedTicker, ranked_tickers
from tests.unit.plots.pixels import pixels, where

SHARES, RATIOS = slice(80, 335), slice(355, 522)
"""The columns of the two panels."""
MAX_BYTES = 35_000


def ticker(name: str, low: float | None, high: float | None, ratio: float | None) -> RankedTicker:
    middle = None if low is None or high is None else (low + high) / 2
    return RankedTicker(name=name, accuracy=middle, low=low, high=high, error_ratio=ratio)


GOOD, OPEN, BAD = ticker("1 G", 0.6, 0.9, 0.9), ticker("2 O", 0.4, 0.7, 1.1), ticker("3 B", 0.1, 0.4, 1.3)


def test_colours_say_on_which_side_of_50_percent_the_interval_lies() -> None:
    for row, colour in ((GOOD, BLUE), (OPEN, PALE_BLUE), (BAD, ORANGE)):
        rows = where(ranked_tickers("live", [row]), colour)[85:, SHARES]
        assert rows.any(axis=0).sum() > 50, row.name
    assert not where(ranked_tickers("live", [GOOD]), ORANGE)[:, SHARES].any()


def test_the_bar_is_as_long_as_the_accuracy() -> None:
    lengths = [
        where(ranked_tickers("live", [ticker("1 A", share, share, None)]), colour)[85:, SHARES].any(axis=0).sum()
        for share, colour in ((0.5, PALE_BLUE), (1.0, BLUE))
    ]
    assert lengths[1] == pytest.approx(2 * lengths[0], abs=8), "the edges and the coin's line are of other colours"


def test_an_error_below_that_of_no_change_goes_left_and_one_above_goes_right() -> None:
    png = ranked_tickers("live", [GOOD, BAD])
    better, worse = (np.flatnonzero(where(png, colour)[85:, RATIOS].any(axis=0)) for colour in (BLUE, ORANGE))
    assert better.max() <= worse.min()


def test_103_tickers_have_a_row_each_in_the_order_given() -> None:
    rows = [
        ticker(f"{n + 1} T{n}", 0.9, 0.9, 1.2) if n % 2 else ticker(f"{n + 1} T{n}", 0.1, 0.1, 0.8) for n in range(103)
    ]
    png = ranked_tickers("live", rows)
    height, width, _ = pixels(png).shape
    assert width == 540
    assert 103 * 10 < height < 103 * 14, "names of 7 points are about 10 pixels high"
    column = where(png, BLUE)[80:, SHARES][:, 100]
    starts = np.flatnonzero(column[1:] & ~column[:-1])
    assert len(starts) == 51
    assert set(np.diff(starts)) <= {22, 23, 24}
    assert len(png) < MAX_BYTES


def test_names_are_left_of_the_bars() -> None:
    for name in ("1 A", "103 GOOGL", "12 BRK.B"):
        ink = (pixels(ranked_tickers("live", [ticker(name, 0.5, 0.5, 1.0)]))[85:] < 100).all(axis=2)
        assert ink[:, 2:74].any(), name
        assert not ink[:, :2].any(), f"{name} is cut off"


def test_only_neutral_forecasts_say_so_and_still_show_their_errors() -> None:
    neutral = [ticker(f"{n} N", None, None, 1.2) for n in range(5)]
    png = ranked_tickers("simulated", neutral)
    assert (pixels(png)[85:, SHARES] < 100).all(axis=2).any(), "words in the middle"
    assert where(png, ORANGE)[:, RATIOS].any()
    assert not where(png, ORANGE)[:, SHARES].any()


def test_a_wild_ratio_ends_at_the_edge_and_leaves_the_others_in_sight() -> None:
    mild, wild = ticker("1 A", 0.4, 0.6, 1.5), ticker("2 B", 0.4, 0.6, 1e9)
    rows = where(ranked_tickers("live", [mild, wild]), ORANGE)[85:, RATIOS].sum(axis=1)
    assert rows.max() > 60
    assert np.unique(rows[rows > 30]).size >= 2, "the mild one is shorter and still there"


@given(
    rows=st.lists(
        st.builds(
            ticker,
            name=st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=1, max_size=12),
            low=st.none() | st.floats(0, 1),
            high=st.none() | st.floats(0, 1),
            ratio=st.none() | st.floats(0) | st.just(float("nan")),
        ),
        max_size=6,
    )
)
@settings(max_examples=25)
def test_whatever_the_figures_and_the_names_there_is_a_picture(rows: list[RankedTicker]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ranked_tickers("live", rows) == ranked_tickers("live", rows)
