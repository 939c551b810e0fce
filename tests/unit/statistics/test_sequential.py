"""EValue that may be tested after every session: its closed form, and how often it is wrong under watch."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import binom

from ldtm_lib.statistics.sequential import NO_EVIDENCE, excess, log_shortfall, shortfall

ALPHA = 0.025
"""Half of 5%, as each of the two tests has."""
NUM_MODELS, NUM_DAYS = 2_000, 1_000
LUCK = 3 * math.sqrt(ALPHA * (1 - ALPHA) / NUM_MODELS)
"""Three standard errors of a share of 2.5% among the simulated models."""


def share_ever_above(log_e_MD: np.ndarray) -> float:
    return float((log_e_MD.max(axis=1) >= -math.log(ALPHA)).mean())


def capital_by_quadrature(num_right: int, num_outcomes: int, share: float) -> float:
    """The logarithm of the mean over chances q below the share, with the integrand's peak taken out."""

    def log_ratio(q: float) -> float:
        wrong = num_outcomes - num_right
        right = num_right * math.log(q / share) if num_right else 0.0
        return right + (wrong * math.log((1 - q) / (1 - share)) if wrong else 0.0)

    peak = min(max(num_right / num_outcomes, 1e-12), share)
    widths = [scale * step for scale in (0.5 / math.sqrt(num_outcomes), 1 / num_outcomes) for step in (1, 3, 10, 40)]
    around = {peak + sign * width for width in widths for sign in (-1, 1)} | {peak}
    edges = sorted({1e-15, share} | {point for point in around if 1e-15 < point < share})
    area = sum(
        quad(lambda q: math.exp(log_ratio(q) - log_ratio(peak)), low, high, epsabs=0, epsrel=1e-11)[0]
        for low, high in pairwise(edges)
    )
    return log_ratio(peak) + math.log(area / share)


@pytest.mark.parametrize(
    ("num_right", "num_outcomes"),
    [
        *[(0, 1), (1, 1), (40, 110), (57, 110), (110, 110), (700, 1_000), (1_000, 1_000)],
        *[(45_000, 100_000), (51_000, 100_000), (52_000, 100_000), (54_000, 100_000), (57_500, 100_000)],
        *[(0, 100_000), (90_000, 100_000), (100_000, 100_000)],
    ],
)
def test_the_closed_form_is_the_integral(num_right: int, num_outcomes: int) -> None:
    (closed,) = log_shortfall(np.array([num_right]), np.array([num_outcomes]), 0.52)
    # The logarithm's terms are sums of up to 7e4, of which a float64 keeps 1e-11.
    assert closed == pytest.approx(capital_by_quadrature(num_right, num_outcomes, 0.52), abs=1e-9)


@given(st.integers(0, 400), st.integers(0, 400), st.floats(0.05, 0.95), st.floats(0, 1))
def test_no_bet_gains_on_average_where_the_chance_keeps_the_share(
    num_right: int, num_wrong: int, share: float, above: float
) -> None:
    n = num_right + num_wrong
    now, right, wrong = np.exp(
        log_shortfall(np.array([num_right, num_right + 1, num_right]), np.array([n, n + 1, n + 1]), share)
        - log_shortfall(np.array([num_right]), np.array([n]), share)
    )
    assert share * right + (1 - share) * wrong == pytest.approx(now, rel=1e-9), "at the share it is a fair game"
    chance = share + above * (1 - share)
    assert chance * right + (1 - chance) * wrong <= now * (1 + 1e-9)


def test_a_model_at_the_share_is_seldom_found_in_1000_days_and_by_a_repeated_test_often() -> None:
    random = np.random.default_rng(1)
    num_right_MD = (random.random((NUM_MODELS, NUM_DAYS)) < 0.52).cumsum(axis=1)
    days = np.arange(1, NUM_DAYS + 1)
    found = share_ever_above(log_shortfall(num_right_MD, np.broadcast_to(days, num_right_MD.shape), 0.52))
    repeated = float((binom.cdf(num_right_MD, days, 0.52) <= ALPHA).any(axis=1).mean())
    summary = f"found in 1,000 days: {found:.1%} by betting, {repeated:.1%} by a binomial test after every session"
    print(summary)
    assert found <= ALPHA + LUCK, summary
    assert repeated > 0.2, summary
    assert 10 * found < repeated, summary


@pytest.mark.parametrize(("chance", "median_days"), [(0.45, 520), (0.40, 165), (0.35, 75)])
def test_a_model_below_the_share_is_found(chance: float, median_days: int) -> None:
    """Medians of 462, 146 and 67 days were measured over 4,000 models; the bounds leave an eighth for luck."""
    random = np.random.default_rng(2)
    is_right_MD = random.random((400, 1_500)) < chance
    num_right_MD = is_right_MD.cumsum(axis=1)
    days_MD = np.broadcast_to(np.arange(1, 1_501), num_right_MD.shape)
    is_found_MD = log_shortfall(num_right_MD, days_MD, 0.52) >= -math.log(ALPHA)
    first_M = np.where(is_found_MD.any(axis=1), is_found_MD.argmax(axis=1) + 1, 10_000)
    assert np.median(first_M) <= median_days


def test_the_evidence_is_the_most_that_ever_was_and_remembers_when() -> None:
    bad, good = np.zeros(12, np.bool_), np.ones(300, np.bool_)
    alone, recovered = shortfall(bad, 0.52), shortfall(np.concatenate([bad, good]), 0.52)
    assert recovered == alone
    assert (alone.num_outcomes, alone.p_value) == (12, pytest.approx(math.exp(-alone.log_e)))
    later = shortfall(np.concatenate([good, bad]), 0.52)
    assert later == NO_EVIDENCE, "the same outcomes in another order"
    assert shortfall(bad[:0], 0.52) == NO_EVIDENCE == excess(np.empty(0), 5.0)
    assert NO_EVIDENCE.p_value == 1


@pytest.mark.parametrize(
    "errors_of",
    [
        lambda random, shape: random.exponential(5, shape),
        lambda random, shape: np.where(random.random(shape) < 0.02, 250.0, 0.0),
        lambda random, shape: np.minimum(5 / 3 * (1 + random.pareto(1.5, shape)), 1e6),
        lambda random, shape: np.full(shape, 5.0),
    ],
    ids=["exponential", "all at once", "no variance", "constant"],
)
def test_errors_that_keep_the_bound_are_seldom_found_whatever_their_tail(
    errors_of: Callable[[np.random.Generator, tuple[int, int]], np.ndarray],
) -> None:
    errors_MD = errors_of(np.random.default_rng(3), (300, NUM_DAYS))
    found = np.mean([excess(errors_D, 5.0).log_e >= -math.log(ALPHA) for errors_D in errors_MD])
    assert found <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / 300)


def test_errors_above_the_bound_are_found_soon() -> None:
    """The median was 42 days at one and a half times the bound."""
    errors_MD = np.random.default_rng(4).exponential(7.5, (200, 200))
    days = [excess(errors_D[:60], 5.0).log_e >= -math.log(ALPHA) for errors_D in errors_MD]
    assert np.median(days) == 1


def test_a_single_wild_day_is_weighed_by_its_size() -> None:
    """Capital after one error is the mean of 1 + s (e / bound - 1) over stakes s around 1/2."""
    assert excess(np.array([25.0]), 5.0).log_e == pytest.approx(math.log(3.0))
    assert excess(np.array([4.0, 4.9]), 5.0) == NO_EVIDENCE
    assert excess(np.array([0.0, 1e-9]), 0.0).p_value == 0, "a bound of 0 leaves no room"
    assert excess(np.array([0.0]), 0.0) == NO_EVIDENCE
