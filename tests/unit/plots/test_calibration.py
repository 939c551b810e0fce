"""Points of what was said against what came, beside the line on which both are equal."""

import warnings

import numpy as np
import pytest

from ldtm_lib.plots.calibration import CalibrationPoint, calibration_picture
from ldtm_lib.plots.colours import BLUE, GREY
from tests.unit.plots.pixels import pixels, where

PLOT = (slice(60, 250), slice(60, 530))


@pytest.fixture(autouse=True)
def warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def points(slope: float, *, reach: float | None = 0.1) -> list[CalibrationPoint]:
    """Ten bins from -0.5% to 0.5%; what came is so many times what was said."""
    return [
        CalibrationPoint(
            predicted=float(x),
            actual=float(slope * x),
            low=None if reach is None else float(slope * x - reach),
            high=None if reach is None else float(slope * x + reach),
        )
        for x in np.linspace(-0.5, 0.5, 10)
    ]


def test_points_that_came_as_said_lie_on_the_diagonal() -> None:
    png = calibration_picture("live", points(1.0, reach=None))
    assert pixels(png).shape == (300, 540, 3)
    rows, columns = np.nonzero(where(png, BLUE)[PLOT])
    assert np.corrcoef(rows, columns)[0, 1] < -0.99, "up and to the right, in a straight line"
    backwards = np.nonzero(where(calibration_picture("live", points(-1.0, reach=None)), BLUE)[PLOT])
    assert np.corrcoef(*backwards)[0, 1] > 0.99
    assert where(png, GREY)[PLOT].any()


def test_an_interval_is_a_line_as_long_as_it() -> None:
    short, long = (where(calibration_picture("live", points(1.0, reach=r)), BLUE)[PLOT].sum() for r in (0.05, 0.2))
    assert long > 1.5 * short


@pytest.mark.parametrize("number", [1, 2, 3])
def test_few_points_are_seen(number: int) -> None:
    png = calibration_picture("simulated", points(0.2, reach=None)[:number])
    assert where(png, BLUE)[PLOT].sum() > 10


def test_one_wild_prediction_leaves_the_others_in_sight() -> None:
    wild = CalibrationPoint(predicted=1e6, actual=0.1, low=-0.1, high=0.3)
    assert where(calibration_picture("live", [*points(0.1), wild]), BLUE)[PLOT].sum() > 10


def test_bins_that_all_said_the_same_are_drawn() -> None:
    same = CalibrationPoint(predicted=0.0, actual=0.0, low=0.0, high=0.0)
    assert where(calibration_picture("live", [same]), BLUE).any()
