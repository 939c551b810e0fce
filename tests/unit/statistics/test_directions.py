"""Calls against outcomes: counts by hand, chances against enumeration, and tests whose size is simulated."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import binom, chi2_contingency, fisher_exact, norm

from ldtm_lib.statistics.directions import Calls, calls_of, coin_passes, coin_reaches, fewest_correct, timing

ROUNDING = 1e-9
"""Sums of up to some hundred terms in float64, relatively."""


def calls(up: np.ndarray, rose: np.ndarray) -> Calls:
    return Calls(directional=np.ones(len(up), dtype=bool), up=up, rose=rose, fell=~rose)


def table(up_rose: int, up_fell: int, down_rose: int, down_fell: int) -> Calls:
    up = np.repeat([True, True, False, False], [up_rose, up_fell, down_rose, down_fell])
    rose = np.repeat([True, False, True, False], [up_rose, up_fell, down_rose, down_fell])
    return calls(up, rose)


def test_neutral_forecasts_abstain_and_an_unchanged_price_makes_any_call_wrong() -> None:
    close = np.full(6, 100.0)
    predicted = np.array([101.0, 99.0, 100.05, 101.0, 99.0, 99.0])
    actual = np.array([102.0, 98.0, 105.0, 100.0, 100.0, 103.0])
    called = calls_of(close, predicted, actual, np.full(len(close), 0.001))
    assert called.directional.tolist() == [True, True, False, True, True, True]
    assert called.up.tolist() == [True, False, True, False, False]
    assert called.rose.tolist() == [True, False, False, False, True]
    assert called.fell.tolist() == [False, True, False, False, False]
    assert (called.num_directional, called.num_correct) == (5, 2)


def test_pesaran_and_timmermanns_statistic_by_hand() -> None:
    # 26 of 40 right, 24 called up, 22 rises: P = 0.65, P* = 0.6 * 0.55 + 0.4 * 0.45 = 0.51.
    # V(P) = 0.51 * 0.49 / 40 = 0.0062475.
    # V(P*) = (0.1^2 * 0.6 * 0.4 + 0.2^2 * 0.55 * 0.45) / 40 + 4 * 0.55 * 0.6 * 0.45 * 0.4 / 40^2 = 0.000456.
    timed = timing(table(16, 8, 6, 10))
    assert timed.statistic == pytest.approx(0.14 / math.sqrt(0.0062475 - 0.000456), rel=ROUNDING)
    assert timed.p == pytest.approx(norm.sf(1.8396401), rel=1e-5)  # the statistic to eight digits


COUNTS = st.tuples(*[st.integers(0, 200)] * 4)


@given(COUNTS)
def test_its_square_is_the_chi_squared_of_the_table_but_for_a_factor_that_goes_to_one(counts: tuple[int, ...]) -> None:
    cells = np.array(counts).reshape(2, 2)
    assume(cells.sum(axis=0).all() and cells.sum(axis=1).all())
    days = cells.sum()
    chi_squared = chi2_contingency(cells, correction=False).statistic
    statistic = timing(table(*counts)).statistic
    assert statistic is not None
    # n / (n - 1) comes from the last term of V(P*), which is of second order.
    assert statistic**2 == pytest.approx(chi_squared * days / (days - 1), rel=ROUNDING, abs=ROUNDING)
    assert statistic >= 0 or cells[0, 0] * cells[1, 1] < cells[0, 1] * cells[1, 0]


@pytest.mark.parametrize(
    "one_sided", [table(30, 20, 0, 0), table(0, 0, 30, 20), table(30, 0, 20, 0), table(0, 0, 0, 0)]
)
def test_one_direction_alone_shows_no_timing(one_sided: Calls) -> None:
    assert (timing(one_sided).statistic, timing(one_sided).p) == (None, 1.0)


def test_days_without_a_move_say_nothing_of_timing() -> None:
    moved = table(16, 8, 6, 10)
    still = np.array([True, False, True])
    with_still = Calls(
        directional=np.ones(43, dtype=bool),
        up=np.concatenate([moved.up, still]),
        rose=np.concatenate([moved.rose, np.zeros(3, dtype=bool)]),
        fell=np.concatenate([moved.fell, np.zeros(3, dtype=bool)]),
    )
    assert timing(with_still) == timing(moved)


@pytest.mark.parametrize("counts", [(1, 0, 0, 1), (3, 0, 0, 3), (8, 4, 3, 5), (90, 60, 1, 2)])
def test_few_days_are_judged_no_milder_than_by_fishers_exact_test(counts: tuple[int, ...]) -> None:
    exact = fisher_exact(np.array(counts).reshape(2, 2), alternative="greater").pvalue
    timed = timing(table(*counts))
    assert timed.statistic is not None
    assert timed.p == pytest.approx(max(exact, norm.sf(timed.statistic)), rel=ROUNDING)
    assert exact > norm.sf(timed.statistic)  # or the case would show nothing


def test_calling_mostly_up_in_a_rising_market_is_no_timing_though_a_coin_would_lose_to_it() -> None:
    generator, days, trials = np.random.default_rng(7), 250, 2000
    timings, coins = 0, 0
    for _ in range(trials):
        blind = calls(generator.random(days) < 0.9, generator.random(days) < 0.55)
        timings += timing(blind).p <= 0.05
        coins += coin_reaches(blind.num_correct, days) <= 0.05
    # 5% +- 4 standard errors of 0.5%; the coin's test sees 54% right, of which it rejects a third.
    assert 0.03 <= timings / trials <= 0.07
    assert coins / trials > 0.25


def test_a_caller_with_skill_is_found() -> None:
    generator = np.random.default_rng(8)
    rose = generator.random(500) < 0.5
    right = generator.random(500) < 0.6
    assert timing(calls(np.where(right, rose, ~rose), rose)).p < 0.01


@given(st.integers(1, 600).flatmap(lambda days: st.tuples(st.integers(0, days), st.just(days))))
def test_a_coins_chance_is_enumerated_exactly(counts: tuple[int, int]) -> None:
    correct, days = counts
    exact = sum(math.comb(days, k) for k in range(correct, days + 1)) / 2**days
    assert coin_reaches(correct, days) == pytest.approx(exact, rel=ROUNDING)
    assert coin_reaches(correct, days) == pytest.approx(binom.sf(correct - 1, days, 0.5), rel=ROUNDING)


@pytest.mark.parametrize("bound", [0.0, 0.3, 0.5, 0.52, 0.55, 0.56, 0.58, 0.999, 1.0])
def test_a_coin_passes_with_exactly_the_counts_that_the_gate_lets_through(bound: float) -> None:
    for days in range(1, 301):
        passing = [correct for correct in range(days + 1) if correct / days >= bound]
        assert fewest_correct(days, bound) == passing[0], days
    exact = sum(math.comb(300, correct) for correct in passing) / 2**300
    assert coin_passes(300, bound) == pytest.approx(exact, rel=ROUNDING)


@given(st.integers(1, 600).flatmap(lambda days: st.tuples(st.integers(1, days), st.just(days))))
def test_a_bound_a_hair_beside_a_share_is_told_from_it(counts: tuple[int, int]) -> None:
    correct, days = counts
    share = correct / days
    assert fewest_correct(days, share) == correct
    assert fewest_correct(days, math.nextafter(share, 0)) == correct
    assert fewest_correct(days, math.nextafter(share, 2)) == correct + 1


def test_a_coin_passes_52_percent_in_40_percent_of_quarters_and_still_in_17_of_two_years() -> None:
    chances = [round(coin_passes(days, 0.52), 2) for days in (63, 126, 252, 504)]
    assert chances == [0.40, 0.33, 0.24, 0.17]


def test_no_call_passes_nothing_and_a_bound_above_one_lets_none_through() -> None:
    assert coin_passes(0, 0.52) == 0.0
    assert coin_reaches(0, 0) == 1.0
    assert coin_passes(10, 1.01) == 0.0
