"""Wilson's interval, against scipy, against its own definition and against the leaderboard's SQL."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from ldtm_lib.database.connection import Connection
from ldtm_lib.statistics.wilson import Z_95, wilson_interval


def test_the_constant_is_the_97_5_percent_point_of_the_normal_distribution() -> None:
    assert pytest.approx(norm.ppf(0.975), abs=1e-15) == Z_95


@given(st.integers(1, 2000).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))))
def test_it_is_the_interval_of_scipy(counts: tuple[int, int]) -> None:
    successes, trials = counts
    theirs = binomtest(successes, trials).proportion_ci(confidence_level=0.95, method="wilson")
    ours = wilson_interval(successes / trials, trials)
    # Another order of a dozen operations on numbers below 1.
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@given(st.floats(0.01, 0.99), st.floats(0.5, 1e4))
def test_its_ends_are_the_shares_that_a_test_at_5_percent_just_does_not_reject(share: float, trials: float) -> None:
    interval = wilson_interval(share, trials)
    for end in (interval.low, interval.high):
        distance = abs(share - end) / math.sqrt(end * (1 - end) / trials)
        assert distance == pytest.approx(Z_95, rel=1e-6)  # a difference of nearly equal numbers
    assert interval.low < share < interval.high


def test_nothing_and_everything_right_have_ends_at_0_and_1() -> None:
    assert wilson_interval(0.0, 7).low == 0.0
    assert wilson_interval(1.0, 7).high == 1.0


def test_it_is_the_interval_of_the_leaderboard(conn: Connection) -> None:
    counts = [(0, 1), (1, 1), (3, 7), (131, 240), (504, 504), (252, 504)]
    for successes, trials in counts:
        row = conn.execute("select wilson_low(%s, %s), wilson_high(%s, %s)", [successes, trials] * 2).fetchone()
        ours = wilson_interval(successes / trials, trials)
        assert (ours.low, ours.high) == pytest.approx(row, abs=1e-12)  # the same formula in another order
