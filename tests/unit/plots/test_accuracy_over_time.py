"""The accuracy over time is one line in its interval, however few days there are."""

import warnings
from datetime import date, timedelta

import numpy as np
import pytest

from ldtm_lib.plots.accuracy_over_time import accuracy_over_time
from ldtm_lib.plots.colours import BLACK, BLUE, PALE_BLUE
from tests.unit.plots.pixels import pixels, where

PLOT = (slice(60, 250), slice(60, 530))
DAYS = [date(2025, 1, 2) + timedelta(n) for n in range(60)]
WIDE = (0.4, 0.7)


@pytest.fixture(autouse=True)
def warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_the_line_is_inside_its_band_and_above_the_coin() -> None:
    png = accuracy_over_time("live", DAYS, [0.55] * 60, [WIDE] * 60)
    assert pixels(png).shape == (300, 540, 3)
    line, band, coin = (np.flatnonzero(where(png, c)[PLOT].any(axis=1)) for c in (BLUE, PALE_BLUE, BLACK))
    assert band.min() < line.min() <= line.max() < band.max()
    assert line.max() < coin.min(), "the coin is drawn lower down than 55%"
    assert len(png) < 15_000


def test_a_wider_interval_is_a_wider_band() -> None:
    narrow, wide = (accuracy_over_time("live", DAYS, [0.5] * 60, [ends] * 60) for ends in ((0.48, 0.52), (0.4, 0.6)))
    assert where(wide, PALE_BLUE)[PLOT].sum() > 3 * where(narrow, PALE_BLUE)[PLOT].sum()


def test_days_before_the_first_interval_are_left_out() -> None:
    few = accuracy_over_time("live", DAYS, [0.0] * 4 + [0.5] * 56, [(None, None)] * 4 + [WIDE] * 56)
    assert few == accuracy_over_time("live", DAYS[4:], [0.5] * 56, [WIDE] * 56)


@pytest.mark.parametrize(("num_days", "ends"), [(1, (None, None)), (1, WIDE), (3, (None, None)), (2, WIDE)], ids=str)
def test_few_days_are_seen(num_days: int, ends: tuple[float | None, float | None]) -> None:
    png = accuracy_over_time("simulated", DAYS[:num_days], [0.6] * num_days, [ends] * num_days)
    assert where(png, BLUE)[PLOT].sum() > 5


def test_what_is_never_right_and_what_always_is_are_drawn_within_the_frame() -> None:
    for share in (0.0, 1.0):
        png = accuracy_over_time("live", DAYS, [share] * 60, [(share, share)] * 60)
        assert where(png, BLUE)[52:256, 60:530].sum() > 400
