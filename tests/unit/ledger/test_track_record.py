"""Calibration: bins of about as many forecasts, and what came in each, against plain Python."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from ldtm_lib.ledger.counted_forecasts import COUNTED_SCHEMA
from ldtm_lib.ledger.track_record import CalibrationBin, calibration

ROUNDING = 1e-9
"""Percent: a return of a hundredth part is a price over another one, less 1."""


def forecasts(predicted: list[float], actual: list[float], *, tickers_a_day: int = 5) -> pl.DataFrame:
    """Forecasts from a close of 200, so many tickers a day, with their returns in percent."""
    rows = [
        (
            f"T{n % tickers_a_day}",
            date(2013, 1, 2) + timedelta(n // tickers_a_day),
            None,
            200.0,
            2 * (100 + p),
            2 * (100 + a),
        )
        for n, (p, a) in enumerate(zip(predicted, actual, strict=True))
    ]
    return pl.DataFrame(rows, schema=COUNTED_SCHEMA, orient="row")


def test_ten_bins_hold_as_many_forecasts_each_from_the_smallest_to_the_largest() -> None:
    rng = np.random.default_rng(0)
    predicted = rng.normal(0.1, 0.5, 300)
    actual = 0.5 * predicted + rng.normal(0, 1, 300)
    bins = calibration(forecasts(predicted.tolist(), actual.tolist()))
    assert [group.num_forecasts for group in bins] == [30] * 10
    order = np.argsort(predicted)
    for number, group in enumerate(bins):
        inside = order[30 * number : 30 * number + 30]
        assert group.predicted == pytest.approx(predicted[inside].mean(), abs=ROUNDING)
        assert group.actual.value == pytest.approx(actual[inside].mean(), abs=ROUNDING)
        assert group.actual.low is not None
        assert group.actual.high is not None
        assert group.actual.low < group.actual.value < group.actual.high


def test_tickers_that_move_as_one_leave_an_interval_as_wide_as_that_of_one_of_them() -> None:
    moves = np.random.default_rng(1).normal(0, 1, 30)
    (alone,) = calibration(forecasts([0.2] * 30, moves.tolist(), tickers_a_day=1))
    (together,) = calibration(forecasts([0.2] * 300, np.repeat(moves, 10).tolist(), tickers_a_day=10))
    assert _width(together) == pytest.approx(_width(alone), abs=ROUNDING)


def _width(group: CalibrationBin) -> float:
    assert group.actual.high is not None
    assert group.actual.low is not None
    return group.actual.high - group.actual.low


def test_equal_predictions_share_a_bin() -> None:
    predicted = [0.0] * 50 + [1.0] * 50
    bins = calibration(forecasts(predicted, [0.1] * 50 + [0.3] * 50))
    assert [(group.num_forecasts, round(group.predicted, 9)) for group in bins] == [(50, 0.0), (50, 1.0)]
    assert [round(group.actual.value, 9) for group in bins] == [0.1, 0.3]


@pytest.mark.parametrize(("num_forecasts", "sizes"), [(0, []), (1, [1]), (9, [9]), (19, [19]), (20, [10, 10])])
def test_few_forecasts_have_few_bins(num_forecasts: int, sizes: list[int]) -> None:
    bins = calibration(forecasts([0.01 * n for n in range(num_forecasts)], [0.0] * num_forecasts))
    assert [group.num_forecasts for group in bins] == sizes


def test_of_too_few_days_there_is_no_interval() -> None:
    (group,) = calibration(forecasts([0.1] * 20, [0.2] * 20))
    assert (round(group.actual.value, 9), group.actual.low, group.actual.high) == (0.2, None, None)


def test_one_wild_forecast_has_one_bin_to_spoil() -> None:
    predicted = [0.01 * n for n in range(99)] + [1e9]
    bins = calibration(forecasts(predicted, [0.0] * 100))
    assert [group.num_forecasts for group in bins] == [10] * 10
    assert max(group.predicted for group in bins[:-1]) < 1
