"""Pooled figures and their intervals, with whole days as what is independent."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from ldtm_lib.ledger.daily_clusters import mean_of_days, share_of_days, t_quantile

NUM_UNIVERSES = 2000
TOLERANCE = 0.02
"""Four standard errors of a share near 95% of 2,000 universes."""


def test_the_quantiles_are_students() -> None:
    """From a printed table, to three decimals."""
    table = {4: 2.776, 5: 2.571, 9: 2.262, 19: 2.093, 29: 2.045, 60: 2.000, 120: 1.980}
    for degrees, value in table.items():
        assert t_quantile(degrees) == pytest.approx(value, abs=1.2e-3), degrees


def test_the_mean_and_its_error_are_those_of_a_ratio_of_sums() -> None:
    values = [[1.0, 2.0], [4.0], [0.5, -1.0, 3.0], [2.0], [2.5, 2.5]]
    found = mean_of_days(np.array([sum(day) for day in values]), np.array([float(len(day)) for day in values]))
    assert found is not None
    pooled = [value for day in values for value in day]
    mean = sum(pooled) / len(pooled)
    squares = sum((sum(day) - mean * len(day)) ** 2 for day in values)
    error = math.sqrt(5 / 4 * squares) / len(pooled)
    assert found.value == pytest.approx(mean)
    assert found.low == pytest.approx(mean - t_quantile(4) * error)
    assert found.high == pytest.approx(mean + t_quantile(4) * error)


def test_with_one_value_a_day_it_is_the_standard_error_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(3, 2, 40)
    found = mean_of_days(values, np.ones(40))
    assert found is not None
    assert found.high == pytest.approx(values.mean() + t_quantile(39) * values.std(ddof=1) / math.sqrt(40))


def directions(rng: np.random.Generator, *, num_days: int, num_tickers: int, common_part: float) -> np.ndarray:
    """How many of the tickers were right on each day, each with even odds."""
    market, own = rng.normal(size=(num_days, 1)), rng.normal(size=(num_days, num_tickers))
    return (math.sqrt(common_part) * market + math.sqrt(1 - common_part) * own < 0).sum(axis=1).astype(float)


@pytest.mark.parametrize(("num_tickers", "common_part"), [(103, 0.3), (5, 0.3), (5, 0.0), (1, 0.0)])
def test_the_interval_of_correlated_tickers_holds_the_truth_in_95_percent_of_universes(
    num_tickers: int, common_part: float
) -> None:
    rng = np.random.default_rng(1)
    number = np.full(30, float(num_tickers))
    held = 0
    for _ in range(NUM_UNIVERSES):
        right = directions(rng, num_days=30, num_tickers=num_tickers, common_part=common_part)
        found = share_of_days(right, number)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 0.5 <= found.high
    # Independent tickers are never believed to be more certain than they are, so they may be held more often.
    assert 0.95 - TOLERANCE <= held / NUM_UNIVERSES <= (0.95 if common_part else 0.98) + TOLERANCE


def test_taken_for_independent_they_would_be_far_too_sure() -> None:
    rng = np.random.default_rng(1)
    z, trials = NormalDist().inv_cdf(0.975), 30 * 103
    held = 0
    for _ in range(500):
        share = directions(rng, num_days=30, num_tickers=103, common_part=0.3).sum() / trials
        held += abs(share - 0.5) <= z * math.sqrt(0.25 / trials)
    assert held / 500 < 0.5


def test_where_all_were_right_each_day_counts_once() -> None:
    found = share_of_days(np.full(30, 103.0), np.full(30, 103.0))
    assert found is not None
    assert found.value == 1.0
    t = t_quantile(29)
    assert found.low == pytest.approx(30 / (30 + t * t)), "Wilson's lower end for 30 of 30"
    assert found.high == 1.0


def test_neutral_days_and_too_few_days() -> None:
    assert share_of_days(np.zeros(9), np.zeros(9)) is None
    assert share_of_days(np.array([]), np.array([])) is None
    few = share_of_days(np.array([1.0, 0.0, 2.0, 1.0, 0.0]), np.array([2.0, 0.0, 2.0, 1.0, 1.0]))
    assert few is not None
    assert (few.value, few.low, few.high) == (4 / 6, None, None)
    with_neutral = share_of_days(np.array([1.0, 0, 0, 1, 2, 0, 1]), np.array([2.0, 2, 0, 2, 2, 0, 2]))
    without = share_of_days(np.array([1.0, 0, 1, 2, 1]), np.array([2.0, 2, 2, 2, 2]))
    assert with_neutral == without
