"""Errors beside a rival's: the variance against scipy and statsmodels, the size of the test by simulation."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.fft import dct
from scipy.stats import t as student

from ldtm_lib.statistics.diebold_mariano import NO_COMPARISON, compare, long_run_variance, num_cosines


def noise(num: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(num)


def moving_sums(num: int, terms: int, seed: int, trials: int = 1) -> np.ndarray:
    moves = np.random.default_rng(seed).standard_normal((trials, num + terms - 1))
    total = np.cumsum(np.pad(moves, ((0, 0), (1, 0))), axis=1)
    return total[:, terms:] - total[:, :-terms]


def autoregression(num: int, coefficient: float, seed: int) -> np.ndarray:
    values = noise(num + 500, seed)
    for at in range(1, len(values)):
        values[at] += coefficient * values[at - 1]
    return values[500:]


@pytest.mark.parametrize("cosines", [1, 5, 40])
def test_the_projections_are_the_cosine_transform(cosines: int) -> None:
    values = noise(101, 1) + 3
    theirs = np.mean(dct(values, type=2, norm="ortho")[1 : cosines + 1] ** 2)
    assert long_run_variance(values, cosines) == pytest.approx(theirs, rel=1e-10)  # float64 sums of 101 terms


def test_all_cosines_together_are_the_sample_variance() -> None:
    values = noise(60, 2) * 1e-3 + 5
    assert long_run_variance(values, 59) == pytest.approx(values.var(ddof=1), rel=1e-9)  # 5 cancels in both


def test_a_constant_added_changes_nothing() -> None:
    values = noise(50, 3)
    assert long_run_variance(values + 100, 3) == pytest.approx(long_run_variance(values, 3), rel=1e-9)


@pytest.mark.parametrize(
    ("values", "truth"),
    [
        (autoregression(60_000, 0.5, 4), 1 / (1 - 0.5) ** 2),
        (autoregression(60_000, -0.4, 5), 1 / (1 + 0.4) ** 2),
        (moving_sums(60_000, 5, 6)[0], 25.0),
    ],
    ids=["AR 0.5", "AR -0.4", "MA 4"],
)
def test_on_long_series_it_is_the_variance_of_newey_and_west_and_the_truth(values: np.ndarray, truth: float) -> None:
    ours = long_run_variance(values, 600)
    fitted = sm.OLS(values, np.ones(len(values))).fit(cov_type="HAC", cov_kwds={"maxlags": 300})
    theirs = fitted.bse[0] ** 2 * len(values)
    # Standard errors: 6% of ours over 600 cosines, 8% of theirs over 300 lags; they share much of it. Three of them.
    assert ours == pytest.approx(theirs, rel=0.25)
    assert ours == pytest.approx(truth, rel=0.18)


@pytest.mark.parametrize(
    ("days", "cosines"), [(2, 1), (7, 1), (8, 2), (26, 2), (27, 3), (126, 5), (252, 6), (504, 7), (511, 7), (512, 8)]
)
def test_as_many_cosines_as_the_cube_root_of_the_days(days: int, cosines: int) -> None:
    assert num_cosines(days) == cosines


def test_the_p_value_is_students_with_as_many_degrees_of_freedom_as_cosines() -> None:
    losses, rival_losses = noise(504, 10) ** 2, noise(504, 11) ** 2
    compared = compare(losses, rival_losses)
    gains = rival_losses - losses
    statistic = np.sqrt(504) * gains.mean() / np.sqrt(long_run_variance(gains, 7))
    assert compared.statistic == pytest.approx(statistic, rel=1e-12)
    assert compared.p_better == pytest.approx(student.sf(statistic, 7), rel=1e-9)
    assert compared.p_worse == pytest.approx(student.cdf(statistic, 7), rel=1e-9)


def test_on_a_months_overlap_luck_is_taken_for_skill_in_5_percent_and_not_in_36_as_by_the_plain_t_test() -> None:
    series = moving_sums(504, 21, 12, trials=3000)
    ours = np.mean([compare(-gains, np.zeros(504)).p_better <= 0.05 for gains in series])
    plain = np.sqrt(504) * series.mean(axis=1) / series.std(axis=1, ddof=1)
    # 5% +- 4 standard errors of 0.4%.
    assert 0.034 <= ours <= 0.066
    assert np.mean(student.sf(plain, 503) <= 0.05) > 0.3


def test_on_a_single_fold_it_still_errs_in_less_than_a_tenth() -> None:
    series = moving_sums(126, 21, 13, trials=3000)
    ours = np.mean([compare(-gains, np.zeros(126)).p_better <= 0.05 for gains in series])
    # Six months hold six months: 7% was measured, with 12% by 0.4 n^(2/3) cosines.
    assert 0.05 <= ours <= 0.09


def test_smaller_losses_are_better_and_the_rivals_view_is_the_mirror_image() -> None:
    losses = np.abs(noise(200, 14))
    rival_losses = losses + 0.1 + 0.05 * noise(200, 15)
    ours, theirs = compare(losses, rival_losses), compare(rival_losses, losses)
    assert ours.statistic is not None
    assert ours.statistic > 0
    assert ours.p_better < 0.001
    assert (theirs.p_worse, theirs.p_better) == (ours.p_better, ours.p_worse)


@pytest.mark.parametrize(
    ("losses", "rival_losses"),
    [([], []), ([1.0], [2.0]), ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]), ([1.0, 2.0], [3.0, 4.0])],
    ids=["no day", "one day", "equal losses", "a constant difference"],
)
def test_where_the_difference_does_not_vary_nothing_is_reported(losses: list[float], rival_losses: list[float]) -> None:
    assert compare(np.array(losses), np.array(rival_losses)) == NO_COMPARISON
