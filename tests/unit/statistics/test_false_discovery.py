"""Benjamini and Yekutieli's adjustment, against statsmodels and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from statsmodels.stats.multitest import multipletests

from ldtm_lib.statistics.false_discovery import q_values


@given(st.lists(st.floats(0, 1), min_size=1, max_size=120))
def test_it_is_the_adjustment_of_statsmodels(p_values: list[float]) -> None:
    ours = q_values({f"T{number}": p for number, p in enumerate(p_values)})
    theirs = multipletests(p_values, method="fdr_by")[1]
    assert list(ours) == [f"T{number}" for number in range(len(p_values))]
    assert list(ours.values()) == pytest.approx(theirs.tolist(), rel=1e-12, abs=1e-300)  # another order of products


def test_by_hand() -> None:
    # c = 1 + 1/2 + 1/3; the second is as good as the third: 3/2 * 0.04 > 0.05.
    c = 1 + 1 / 2 + 1 / 3
    expected = {"A": 3 * 0.01 * c, "B": 0.05 * c, "C": 0.05 * c}
    assert q_values({"C": 0.05, "A": 0.01, "B": 0.04}) == pytest.approx(expected, rel=1e-12)


def test_a_family_of_one_is_not_adjusted_and_none_is_none() -> None:
    assert q_values({"A": 0.03}) == {"A": 0.03}
    assert q_values({}) == {}


def test_tickers_that_move_together_and_against_each_other_yield_false_discoveries_no_more_often_than_promised() -> (
    None
):
    generator, num_sessions = np.random.default_rng(1), 1000
    found = 0
    for _ in range(num_sessions):
        market, own = generator.standard_normal(), generator.standard_normal(20)
        sides = np.where(np.arange(20) % 4 == 0, -1, 1)
        p = norm.sf(0.8 * sides * market + 0.6 * own)
        found += min(q_values(dict(zip(map(str, range(20)), p.tolist(), strict=True))).values()) <= 0.10
    assert found / num_sessions <= 0.10  # without skill, one discovery is a false one
