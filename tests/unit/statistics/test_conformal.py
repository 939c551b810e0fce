"""Adaptive conformal intervals against a plain reference, and what they promise."""

import math
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ldtm_lib.sessions import exchange_calendar
from ldtm_lib.settings import IntervalsConfig
from ldtm_lib.settings.modelling import LOWEST_LEVEL
from ldtm_lib.statistics.conformal import LEVELS, Lane, walk

CALENDAR = exchange_calendar()
FIRST = int(np.searchsorted(CALENDAR.days, np.datetime64("2010-01-04")))


def lane(scores: np.ndarray, horizon: int = 0, *, overlap: int = 1, skipped: int = 0) -> Lane:
    days = CALENDAR.days[FIRST + skipped : FIRST + skipped + len(scores)]
    return Lane(sessions=days, targets=CALENDAR.targets_of(days)[:, horizon], scores=scores, overlap=overlap)


def reference(of: Lane, at: date, config: IntervalsConfig, level: float) -> float:
    """One lane and level in plain Python: every interval of the past is made and compared with its score."""
    days, targets = of.sessions.tolist(), of.targets.tolist()
    steps: list[float] = []

    def width(day: date) -> float:
        known = [n for n in range(len(days)) if targets[n] <= day]
        newest = sorted(of.scores[known][-config.calibration_forecasts :])
        if len(newest) < config.min_residuals:
            return math.nan
        alpha = 1 - level + sum(steps[n] for n in known)
        place = math.ceil((len(newest) + 1) * (1 - alpha) - 1e-9)
        return math.inf if place > len(newest) else newest[max(place, 1) - 1]

    for day, score in zip(days, of.scores, strict=True):
        made = width(day)
        missed = score > made
        steps.append(0.0 if math.isnan(made) else config.rate / of.overlap * ((1 - level) - missed))
    return width(at)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    num=st.integers(0, 150),
    horizon=st.integers(0, 2),
    rate=st.sampled_from([0.0, 0.01, 0.2]),
    length=st.sampled_from([20, 35, 500]),
    has_ties=st.booleans(),
)
def test_all_lanes_at_once_are_what_the_plain_reference_gives(
    seed: int, num: int, horizon: int, rate: float, length: int, has_ties: bool
) -> None:
    random = np.random.default_rng(seed)
    config = IntervalsConfig(min_residuals=20, calibration_forecasts=length, rate=rate)
    scores = [np.abs(random.standard_t(3, max(n, 0))) for n in (num, num // 2, num + 7)]
    if has_ties:
        scores = [np.round(each, 1) for each in scores]
    lanes = [lane(each, horizon, overlap=1 + 4 * horizon, skipped=n) for n, each in enumerate(scores)]
    at = [CALENDAR.days[FIRST + n + len(each.scores)].item() for n, each in enumerate(lanes)]
    found = walk(lanes, config).quantiles(np.array(at, "datetime64[D]"))
    for row, of, day in zip(found, lanes, at, strict=True):
        low, high = (reference(of, day, config, level) for level in LEVELS)
        expected = (low, high if math.isnan(low) else max(low, high))
        # steps are added up in one order here and in another there: alphas differ by their rounding alone
        assert row.tolist() == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_no_outcome_of_after_the_session_enters() -> None:
    random = np.random.default_rng(1)
    scores = np.abs(random.normal(size=200))
    for horizon, num_known in ((0, 150), (2, 130)):
        at = np.array([CALENDAR.days[FIRST + 150]])
        altered = np.concatenate([scores[:num_known], 1e6 * scores[num_known:]])
        config = IntervalsConfig(min_residuals=20)
        known, unknown = (walk([lane(each, horizon)], config).quantiles(at) for each in (scores, altered))
        assert known.tolist() == unknown.tolist()
        altered[num_known - 1] = 1e6
        moved = walk([lane(altered, horizon)], config).changes_NLV
        assert moved[num_known].tolist() != walk([lane(scores, horizon)], config).changes_NLV[num_known].tolist()


def test_there_is_no_interval_before_enough_outcomes_and_none_without_a_finite_quantile() -> None:
    config = IntervalsConfig(min_residuals=20, calibration_forecasts=30, rate=0.5)
    few = walk([lane(np.ones(20)), lane(np.ones(0))], config)
    assert np.isnan(few.quantiles([CALENDAR.days[FIRST + 19]] * 2)).all()
    enough = few.quantiles([CALENDAR.days[FIRST + 20]] * 2)
    assert enough[0].tolist() == [1.0, 1.0]
    assert np.isnan(enough[1]).all()
    for num_hits, expected in ((0, [math.inf, math.inf]), (3, [1.0, math.inf])):
        scores = np.array([*np.ones(20), 5.0, *np.full(num_hits, 0.5)])
        at = [CALENDAR.days[FIRST + len(scores)]]
        # the miss brings alpha to 0.2 - 0.4 and 0.05 - 0.475, each hit adds 0.1 and 0.025
        assert walk([lane(scores)], config).quantiles(at)[0].tolist() == expected


def test_a_miss_widens_the_next_interval_and_hits_narrow_it() -> None:
    config = IntervalsConfig(min_residuals=100, rate=0.01)
    scores = np.arange(100) / 100
    at = np.array([CALENDAR.days[FIRST + 101]])
    widths = {
        name: walk([lane(np.append(scores, score))], config).quantiles(at)[0, 0]
        for name, score in (("hit", 0.0), ("miss", 1.0))
    }
    # 101 scores: the hit moves alpha to 0.202 and k to ceil(102 * 0.798) = 82 of them, the miss to 0.192 and to 83
    assert widths["hit"] == pytest.approx(np.sort(np.append(scores, 0.0))[81])
    assert widths["miss"] == pytest.approx(np.sort(np.append(scores, 1.0))[82])


def test_coverage_comes_back_after_the_scores_have_doubled() -> None:
    """The plain quantile of the newest 504 scores covers too little for a year."""
    random = np.random.default_rng(2)
    scores = np.abs(random.normal(size=1008)) * np.repeat([1.0, 2.0], 504)
    missed = {}
    for rate in (0.0, 0.05):
        found = walk([lane(scores)], IntervalsConfig(rate=rate))
        widths = [found.quantiles([CALENDAR.days[FIRST + n]])[0, 0] for n in range(504, 756)]
        missed[rate] = float(np.mean(scores[504:756] > widths))
    assert missed[0.0] > 0.30
    assert missed[0.05] == pytest.approx(0.20, abs=0.03)


def test_the_lowest_level_of_the_settings_is_that_of_the_record() -> None:
    assert min(LEVELS) == LOWEST_LEVEL
