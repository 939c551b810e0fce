"""The comparison of a candidate with the active model: figures by hand, ties, luck, and what is not comparable."""

import dataclasses
from datetime import date

import numpy as np
import numpy.typing as npt
import pytest

from ldtm_lib.backtest.walk_forward import FoldReport
from ldtm_lib.gate.comparison import ActiveModel, next_day_tests, not_worse_than_active
from ldtm_lib.gate.multiple_testing import MultipleTesting
from ldtm_lib.gate.rules import confirm, judge
from ldtm_lib.gate.verdict import Rule
from ldtm_lib.settings import ForecastConfig, GateConfig
from ldtm_lib.statistics.diebold_mariano import compare

GATE, FORECAST = GateConfig(), ForecastConfig()
PASSING = (Rule(rule="timing", figure=0.01, bound=0.05, passed=True, reason="by luck with probability 1%"),)
FAILING = (dataclasses.replace(PASSING[0], figure=0.5, passed=False), *PASSING)
VERSION = "v1.2026-03-02"
Values = npt.NDArray[np.float64]


def fold(predicted: Values, actual: Values, *, first: int = 0, close: float = 100.0, number: int = 1) -> FoldReport:
    """A fold of consecutive days whose next-day prices are given as returns."""
    num_rows = len(predicted)
    closes = np.full(num_rows, close)

    def prices(returns: Values) -> Values:
        return np.stack([closes * (1 + returns)] * 3, axis=1)

    return FoldReport(
        fold=number,
        train_cutoff=date(2019, 12, 31),
        num_training_rows=300,
        num_validation_rows=30,
        num_epochs=5,
        validation_loss=0.1,
        sessions=np.datetime64("2020-01-01") + first + np.arange(num_rows),
        close=closes,
        volatility=np.full(num_rows, 0.01),
        predictions=prices(predicted),
        actuals=prices(actual),
    )


MOVES = np.where(np.arange(200) % 2, 0.01, -0.01)


def calls(num_right: int, num_wrong: int, *, boldness: float = 0.002) -> Values:
    """Predicted returns: the first ones right, the next ones wrong, the others neutral."""
    signs = np.concatenate([np.ones(num_right), -np.ones(num_wrong), np.zeros(200 - num_right - num_wrong)])
    return boldness * signs * np.sign(MOVES)


def active(*reports: FoldReport, is_degraded: bool = False) -> ActiveModel:
    return ActiveModel(version=VERSION, tests=next_day_tests(reports), is_degraded=is_degraded)


def compared(candidate: FoldReport, incumbent: FoldReport, gate: GateConfig = GATE) -> Rule:
    return not_worse_than_active([candidate], active(incumbent), FAILING, gate, FORECAST)


def test_more_right_calls_in_excess_of_wrong_ones_replace_the_active_model() -> None:
    better, worse = fold(calls(110, 60), MOVES), fold(calls(105, 60), MOVES)
    rule = compared(better, worse)
    assert (rule.figure, rule.bound, rule.passed) == (50, 45, True)
    # By hand: a right call misses 0.8%, a wrong one 1.2%, a neutral one 1%, each of 100 over the price that came.
    came = 100 * (1 + MOVES)
    errors = [np.mean(np.abs(f.predictions[:, 0] - came) / came) for f in (better, worse)]
    p_worse = compare(*(np.abs(f.predictions[:, 0] - came) / came for f in (better, worse))).p_worse
    assert rule.reason == (
        "on 200 shared test sessions 110 right and 60 wrong next-day calls, against 105 and 60 of the active model "
        "v1.2026-03-02: an excess of 50 against 45, a larger excess is needed, or the same with a smaller error; mean "
        f"next-day price error {errors[0]:.3%} against {errors[1]:.3%}: a model that is no worse would look this bad "
        "with probability "
        f"{p_worse:.2%}, more than 5.00% is needed"
    )
    assert compared(worse, better).passed is False


def test_a_tie_keeps_the_active_model() -> None:
    same = fold(calls(110, 60), MOVES)
    assert compared(same, same).passed is False


def test_equal_calls_and_a_smaller_error_replace_it() -> None:
    bold, timid = fold(calls(110, 60, boldness=0.004), MOVES), fold(calls(110, 60), MOVES)
    assert (compared(bold, timid).figure, compared(bold, timid).bound) == (50, 50)
    assert [compared(bold, timid).passed, compared(timid, bold).passed] == [True, False]


def test_a_significantly_larger_error_is_refused_however_good_the_calls_are() -> None:
    exaggerating = calls(110, 60)
    exaggerating[:110] *= 40  # 8% where 1% came
    rule = compared(fold(exaggerating, MOVES), fold(calls(60, 60), MOVES))
    assert (rule.figure, rule.bound, rule.passed) == (50, 0, False)
    assert "that is no worse would look this bad with probability 2.26%, more than 5.00% is needed" in rule.reason
    lenient = GATE.replace(comparison_significance=0.02)
    assert compared(fold(exaggerating, MOVES), fold(calls(60, 60), MOVES), lenient).passed is True


def test_a_silent_active_model_with_one_right_call_does_not_keep_its_place_for_ever() -> None:
    assert compared(fold(calls(110, 90), MOVES), fold(calls(1, 0), MOVES)).passed is True
    assert compared(fold(calls(1, 0), MOVES), fold(calls(110, 90), MOVES)).passed is False


def test_only_sessions_that_both_were_tested_on_count() -> None:
    # The candidate's later half is right on every day; on the 100 shared days it is no better.
    late = fold(np.sign(MOVES) * 0.002, MOVES, first=100)
    rule = compared(late, fold(np.sign(MOVES) * 0.002, MOVES))
    assert (rule.figure, rule.bound, rule.passed) == (100, 100, False)
    assert rule.reason.startswith("on 100 shared test sessions 100 right and 0 wrong")


def test_a_split_between_the_trainings_does_not_matter() -> None:
    before, after = fold(calls(110, 60), MOVES), fold(calls(110, 60), MOVES, close=100.0 / 7)
    rule = compared(after, before)
    assert (rule.figure, rule.bound, rule.passed) == (50, 50, False), "the same forecasts on another basis are a tie"
    assert compared(before, after).passed is False
    assert compared(fold(calls(111, 60), MOVES, close=100.0 / 7), before).passed is True


@pytest.mark.parametrize(
    ("stricter", "passed", "outcome"),
    [(FAILING, False, "the candidate fails its rules timing"), (PASSING, True, "the candidate passes it")],
)
def test_with_too_few_shared_sessions_the_strict_gate_decides(
    stricter: tuple[Rule, ...], passed: bool, outcome: str
) -> None:
    late = fold(calls(110, 60), MOVES, first=138)
    rule = not_worse_than_active([late], active(fold(calls(50, 60), MOVES)), stricter, GATE, FORECAST)
    assert (rule.figure, rule.bound, rule.passed) == (62, 63, passed)
    assert rule.reason == (
        "62 test sessions are shared with the active model v1.2026-03-02, at least 63 are needed for a comparison; "
        f"the strict gate decides instead: {outcome}"
    )
    without_backtest = not_worse_than_active([late], active(), stricter, GATE, FORECAST)
    assert (without_backtest.figure, without_backtest.passed) == (0, passed)


def test_63_shared_sessions_are_compared() -> None:
    late = fold(calls(110, 60), MOVES, first=137)
    assert compared(late, fold(calls(50, 60), MOVES)).reason.startswith("on 63 shared test sessions")


def test_a_degraded_active_model_is_replaced_without_a_comparison() -> None:
    degraded = active(fold(calls(110, 60), MOVES), is_degraded=True)
    rule = not_worse_than_active([fold(calls(1, 100), MOVES)], degraded, FAILING, GATE, FORECAST)
    assert (rule.passed, rule.figure) == (True, None)
    assert rule.reason == "the active model v1.2026-03-02 is degraded, so no comparison with it is needed"


def test_a_session_that_two_folds_tested_counts_once_with_the_newer_fold() -> None:
    older, newer = fold(calls(200, 0), MOVES), fold(calls(0, 200), MOVES, first=150, number=2)
    tests = next_day_tests([older, newer])
    assert len(tests.sessions) == 350
    assert np.array_equal(tests.predicted[150:], newer.predictions[:, 0])
    assert np.array_equal(tests.predicted[:150], older.predictions[:150, 0])


def test_forecasts_that_are_no_finite_price_are_not_compared() -> None:
    broken = calls(110, 60)
    broken[:10] = np.nan
    assert compared(fold(broken, MOVES), fold(calls(50, 60), MOVES)).reason.startswith("on 190 shared")


def test_the_band_is_that_of_the_settings_on_both_sides() -> None:
    wide = ForecastConfig(neutral_band_volatilities=0.5)  # 0.5% with a volatility of 1%: all these calls are neutral
    rule = not_worse_than_active([fold(calls(110, 60), MOVES)], active(fold(calls(0, 9), MOVES)), PASSING, GATE, wide)
    assert (rule.figure, rule.bound) == (0, 0)


ONE = MultipleTesting(num_trainings=1, num_settings=1, num_tickers=1, num_judged=1, q_value=1.0, coins_expected=0.5)


def replacements(skills: Values, seed: int, *, num_sessions: int = 252) -> list[int]:
    """Which candidates, one after the other on the same days, become active: the first one and whoever beats it.

    A candidate calls each day's direction, right with its own probability, and says a hundredth of a percent more.
    """
    rng = np.random.default_rng(seed)
    moves = rng.normal(0, 0.01, num_sessions)
    held: ActiveModel | None = None
    promoted: list[int] = []
    for number, skill in enumerate(skills):
        right = rng.random(num_sessions) < skill
        candidate = fold(np.where(right, 0.002, -0.002) * np.sign(moves), moves)
        if held is None or not_worse_than_active([candidate], held, FAILING, GATE, FORECAST).passed:
            held = active(candidate)
            promoted.append(number)
    return promoted


def test_worthless_candidates_do_not_displace_a_worthless_model_again_and_again() -> None:
    # Each must beat the luckiest one so far on the same days: the n-th does so with probability 1/n, so that 52 of
    # them displace the first one 1/2 + 1/3 + ... + 1/52 = 3.5 times instead of 51 times.
    counts = [len(replacements(np.full(52, 0.5), seed)) - 1 for seed in range(60)]
    # Records have variance 3.5 - 0.6; the mean of 60 has a standard error of 0.22. Ties of integer counts lower it.
    assert 2.0 < np.mean(counts) < 4.2


def test_a_better_candidate_gets_through() -> None:
    # Right on 60% of 252 days against 50%: 50 points of excess apart, with a standard deviation of 22.
    passed = [replacements(np.array([0.5, 0.6]), seed) == [0, 1] for seed in range(100)]
    assert np.mean(passed) > 0.95
    worse = [replacements(np.array([0.6, 0.5]), seed) == [0, 1] for seed in range(100)]
    assert np.mean(worse) < 0.05


def test_the_rule_stands_between_the_plain_and_the_strict_rules_and_is_absent_without_an_active_model() -> None:
    reports = [fold(calls(110, 60), MOVES), fold(calls(110, 60), MOVES, first=300, number=2)]
    verdict = judge(reports, GATE, FORECAST)
    alone = confirm(verdict, ONE, GATE, FORECAST, reports=reports)
    assert "not_worse_than_active" not in [rule.rule for rule in alone.rules]
    assert alone.passed
    beside = confirm(verdict, ONE, GATE, FORECAST, reports=reports, active=active(*reports))
    assert [rule.rule for rule in beside.failures] == ["not_worse_than_active"]
    strict = confirm(verdict, ONE, GATE.replace(strict=True), FORECAST, reports=reports, active=active(*reports))
    assert [rule.rule for rule in strict.rules].index("not_worse_than_active") == len(verdict.rules)
    assert len(strict.rules) == len(verdict.rules) + 1 + 6
