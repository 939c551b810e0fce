"""The rules of the plain gate, each figure worked out by hand."""

import dataclasses
from datetime import date

import numpy as np
import pytest

from ldtm_lib.backtest.walk_forward import FoldReport
from ldtm_lib.gate.multiple_testing import MultipleTesting
from ldtm_lib.gate.rules import SPECIFIED, confirm, judge, not_trained
from ldtm_lib.gate.verdict import Rule, Verdict
from ldtm_lib.settings import ForecastConfig, GateConfig

BAND = ForecastConfig(neutral_band=0.001)
FEW = GateConfig(min_directional_calls=1, min_call_coverage=0.01, min_fold_sessions=1)
"""The gate with bounds that a handful of rows can meet."""
RIGHT, WRONG, NEUTRAL = (100.0, 101.0, 102.0), (100.0, 101.0, 98.0), (100.0, 100.05, 101.0)
"""A close, the next day's forecast, and what came."""
FALL = (100.0, 99.0, 98.0)
"""A right call of a fall: beside it no constant direction is always right."""


def report(*rows: tuple[float, float, float], fold: int = 1, cutoff: date = date(2026, 1, 2)) -> FoldReport:
    close, predicted, actual = np.array(rows).T
    elsewhere = np.full(len(rows), 1e9)  # the other horizons must not matter
    return FoldReport(
        fold=fold,
        train_cutoff=cutoff,
        num_training_rows=300,
        num_validation_rows=30,
        num_epochs=5,
        validation_loss=0.1,
        sessions=np.datetime64("2026-01-05") + np.arange(len(rows)),
        close=close,
        volatility=np.full(len(close), 0.01),
        predictions=np.stack([predicted, elsewhere, elsewhere], axis=1),
        actuals=np.stack([actual, elsewhere / 7, elsewhere / 9], axis=1),
    )


def rules_of(verdict: Verdict) -> dict[str, Rule]:
    return {rule.rule: rule for rule in verdict.rules}


def direction(*rows: tuple[float, float, float]) -> Rule:
    return rules_of(judge([report(*rows)], GateConfig(), BAND))["direction_accuracy"]


NAMES = [
    *SPECIFIED,
    "directional_calls",
    "call_coverage",
    "fold_sessions",
    "best_constant",
]


def test_a_candidate_that_meets_all_rules_passes() -> None:
    verdict = judge([report(RIGHT, FALL, WRONG), report(RIGHT, NEUTRAL, fold=2)], FEW, BAND)
    assert verdict.passed
    assert [rule.rule for rule in verdict.rules] == NAMES
    assert verdict.failures == ()
    # By hand: 3 of 4 directional ones; errors 1/102 twice, 1/98, 3/98, 0.95/101.
    assert rules_of(verdict)["direction_accuracy"].figure == 0.75
    by_hand = (2 * (1 / 102) + 1 / 98 + 3 / 98 + 0.95 / 101) / 5
    assert rules_of(verdict)["price_error"].figure == pytest.approx(by_hand, rel=1e-12)  # float64 sums of 5 terms
    assert (rules_of(verdict)["best_constant"].figure, rules_of(verdict)["best_constant"].bound) == (0.75, 0.5)


def test_direction_accuracy_is_taken_over_all_rows_and_not_averaged_over_folds() -> None:
    verdict = judge([report(RIGHT), report(RIGHT, WRONG, WRONG, fold=2)], GateConfig(), BAND)
    assert rules_of(verdict)["direction_accuracy"].figure == 0.5


def test_a_neutral_forecast_abstains() -> None:
    assert direction(RIGHT, NEUTRAL, NEUTRAL).figure == 1.0


def test_a_forecast_on_the_edge_of_the_band_is_neutral_and_one_beyond_it_is_not() -> None:
    band = ForecastConfig(neutral_band=1 / 1024)  # so that the return of 1025 over 1024 is the band to the bit
    edge, beyond = (1024.0, 1025.0, 1030.0), (1024.0, 1025.01, 1030.0)
    figures = [judge([report(row)], GateConfig(), band).rules[0].figure for row in (edge, beyond)]
    assert figures == [None, 1.0]


def test_an_unchanged_price_makes_any_direction_wrong() -> None:
    assert direction((100.0, 101.0, 100.0), (100.0, 99.0, 100.0)).figure == 0.0


def test_a_bearish_forecast_is_right_when_the_price_falls() -> None:
    assert direction((100.0, 99.0, 99.9)).figure == 1.0


def test_a_model_that_never_names_a_direction_fails_and_is_told_so() -> None:
    rule = direction(NEUTRAL, NEUTRAL)
    assert not rule.passed
    assert rule.figure is None
    assert rule.reason == (
        "none of 2 next-day forecasts names a direction, and at least 52.00% of the directions named must be right"
    )


@pytest.mark.parametrize(("num_right", "passed"), [(51, False), (52, True), (53, True)])
def test_exactly_the_bound_of_direction_accuracy_passes(num_right: int, passed: bool) -> None:
    rule = direction(*[RIGHT] * num_right, *[WRONG] * (100 - num_right))
    assert rule.figure == num_right / 100
    assert rule.bound == 0.52
    assert rule.passed is passed
    assert rule.reason.startswith(f"next-day direction right in {num_right} of 100 forecasts that name one")


@pytest.mark.parametrize(("predicted", "passed"), [(105.0, True), (105.1, False), (95.0, True), (94.9, False)])
def test_the_price_error_is_absolute_relative_to_what_came_and_bounded_inclusively(
    predicted: float, passed: bool
) -> None:
    rule = rules_of(judge([report((100.0, predicted, 100.0))], GateConfig(), BAND))["price_error"]
    assert rule.figure == pytest.approx(abs(predicted - 100) / 100, rel=1e-12)  # one float64 division
    assert rule.passed is passed


def test_one_leaking_row_in_any_fold_fails() -> None:
    clean = report(RIGHT, RIGHT)
    leaking = report(RIGHT, RIGHT, fold=2, cutoff=date(2026, 1, 5))
    rule = rules_of(judge([clean, leaking], GateConfig(), BAND))["leakage_rows"]
    assert (rule.figure, rule.bound, rule.passed) == (1, 0, False)
    assert rule.reason == "1 test rows are not after the last session that training read, at most 0 are allowed"


def test_one_fold_is_not_enough() -> None:
    verdict = judge([report(RIGHT, FALL)], FEW, BAND)
    assert [rule.rule for rule in verdict.failures] == ["folds"]
    assert verdict.failures[0].reason == "1 walk-forward folds were tested, at least 2 are needed"


def test_no_fold_at_all_fails_with_reasons_and_without_figures() -> None:
    verdict = judge([], GateConfig(), BAND)
    assert {rule.rule: rule.reason for rule in verdict.failures} == {
        "direction_accuracy": "none of 0 next-day forecasts names a direction, and at least 52.00% of the directions "
        "named must be right",
        "price_error": "no forecast was tested, and the mean next-day price error must be at most 5.00%",
        "folds": "0 walk-forward folds were tested, at least 2 are needed",
        "directional_calls": "0 next-day forecasts name a direction, at least 100 are needed",
        "call_coverage": "no forecast was tested, and at least 20.00% of the forecasts must name a direction",
        "fold_sessions": "no fold was tested, each must have at least 63 test sessions",
        "best_constant": "no next-day forecast names a direction",
    }
    assert rules_of(verdict)["price_error"].figure is None


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_forecast_that_is_no_finite_price_fails(broken: float) -> None:
    verdict = judge([report(RIGHT, RIGHT, (100.0, broken, 101.0)), report(RIGHT, fold=2)], GateConfig(), BAND)
    rule = rules_of(verdict)["price_error"]
    assert (rule.figure, rule.passed) == (None, False)
    assert rule.reason == "1 of 4 next-day forecasts are not finite prices"


def test_the_bounds_are_those_of_the_configuration() -> None:
    lenient = FEW.replace(min_direction_accuracy=0.1, max_price_error=0.5, max_leakage_rows=5, min_folds=1)
    leaking = report(RIGHT, RIGHT, FALL, WRONG, cutoff=date(2026, 1, 6))
    assert judge([leaking], lenient, BAND).passed
    assert not judge([leaking], GateConfig(), BAND).passed


def test_a_ticker_without_a_candidate_fails_with_the_reason() -> None:
    verdict = not_trained("FB", "196 bars")
    assert not verdict.passed
    assert [rule.reason for rule in verdict.rules] == ["FB was not trained: 196 bars"]


def test_a_verdict_without_rules_has_not_passed() -> None:
    assert not Verdict(rules=()).passed


def test_evidence_is_attached_where_something_was_tested_and_changes_no_rule() -> None:
    tested = judge([report(RIGHT, WRONG), report(RIGHT, fold=2)], GateConfig(), BAND)
    assert tested.evidence is not None
    assert (tested.evidence.num_directional, tested.evidence.num_correct) == (3, 2)
    assert [rule.rule for rule in tested.rules] == NAMES
    assert judge([], GateConfig(), BAND).evidence is None


def test_every_kind_of_leak_counts_and_is_named() -> None:
    seen = dataclasses.replace(report(RIGHT), leaks={"label over the boundary": 2, "scaled by others": 0})
    late = dataclasses.replace(
        report(RIGHT, fold=2, cutoff=date(2026, 1, 5)), leaks={"label over the boundary": 1, "tested twice": 3}
    )
    rule = rules_of(judge([seen, late], GateConfig(), BAND, other_leaks={"moved window": 4}))["leakage_rows"]
    assert (rule.figure, rule.passed) == (11, False)
    assert rule.reason == (
        "11 rows leak (1 test rows are not after the last session that training read; "
        "label over the boundary: 3; tested twice: 3; moved window: 4), at most 0 are allowed"
    )


def test_leaks_found_elsewhere_fail_a_clean_backtest() -> None:
    rule = rules_of(judge([report(RIGHT)], GateConfig(), BAND, other_leaks={"moved window": 1}))["leakage_rows"]
    assert (rule.figure, rule.passed) == (1, False)
    assert rule.reason == "1 rows leak (moved window: 1), at most 0 are allowed"


def test_where_nothing_leaks_the_reason_is_the_plain_one() -> None:
    rule = rules_of(judge([report(RIGHT)], GateConfig(), BAND, other_leaks={"moved window": 0}))["leakage_rows"]
    assert (rule.figure, rule.passed) == (0, True)
    assert rule.reason == "0 test rows are not after the last session that training read, at most 0 are allowed"


MULTIPLE_TESTING = MultipleTesting(
    num_trainings=1, num_settings=1, num_tickers=1, num_judged=1, q_value=1.0, coins_expected=0.5
)


def test_the_plain_gate_shows_multiple_testing_and_decides_as_before() -> None:
    verdict = judge([report(RIGHT, FALL), report(RIGHT, fold=2)], FEW, BAND)
    confirmed = confirm(verdict, MULTIPLE_TESTING, FEW, BAND)
    assert confirmed == dataclasses.replace(verdict, multiple_testing=MULTIPLE_TESTING)
    assert confirmed.passed


def test_the_strict_gate_adds_its_rules_and_refuses_three_lucky_days() -> None:
    verdict = judge([report(RIGHT, FALL), report(RIGHT, fold=2)], FEW, BAND)
    confirmed = confirm(verdict, MULTIPLE_TESTING, FEW.replace(strict=True), BAND)
    assert confirmed.rules[:8] == verdict.rules
    assert len(confirmed.rules) == 14
    assert {"direction_interval", "timing", "false_discovery"} <= {rule.rule for rule in confirmed.failures}
    assert verdict.passed
    assert not confirmed.passed


def test_the_strict_gate_refuses_a_verdict_without_evidence() -> None:
    confirmed = confirm(not_trained("FB", "196 bars"), None, GateConfig(strict=True), BAND)
    assert [rule.rule for rule in confirmed.failures] == ["trained", "evidence"]


def folds_of(*rows: tuple[float, float, float]) -> list[FoldReport]:
    """Two folds of equally many rows."""
    half = len(rows) // 2
    return [report(*rows[:half]), report(*rows[half:], fold=2)]


def mixed(num_rows: int, *, num_up: int, num_right_up: int, num_down: int, num_right_down: int) -> list[FoldReport]:
    """Two folds with so many calls up and down, of which so many are right; the other rows are neutral."""
    wrong_fall = (100.0, 99.0, 102.0)
    rows = [
        *[RIGHT] * num_right_up,
        *[WRONG] * (num_up - num_right_up),
        *[FALL] * num_right_down,
        *[wrong_fall] * (num_down - num_right_down),
        *[NEUTRAL] * (num_rows - num_up - num_down),
    ]
    return folds_of(*rows)


def failed(reports: list[FoldReport]) -> list[str]:
    return [rule.rule for rule in judge(reports, GateConfig(), BAND).failures]


def test_a_caller_of_both_directions_passes_with_the_default_bounds() -> None:
    assert failed(mixed(252, num_up=70, num_right_up=45, num_down=60, num_right_down=35)) == []


@pytest.mark.parametrize(("num_calls", "rules"), [(99, ["directional_calls"]), (100, [])])
def test_too_few_calls_fail_however_right_they_are(num_calls: int, rules: list[str]) -> None:
    reports = mixed(252, num_up=50, num_right_up=40, num_down=num_calls - 50, num_right_down=num_calls - 60)
    assert failed(reports) == rules
    rule = rules_of(judge(reports, GateConfig(), BAND))["directional_calls"]
    assert (rule.figure, rule.bound) == (num_calls, 100)
    assert rule.reason == f"{num_calls} next-day forecasts name a direction, at least 100 are needed"


@pytest.mark.parametrize(("num_calls", "rules"), [(119, ["call_coverage"]), (120, [])])
def test_calls_on_too_small_a_share_of_the_rows_fail(num_calls: int, rules: list[str]) -> None:
    reports = mixed(600, num_up=60, num_right_up=50, num_down=num_calls - 60, num_right_down=num_calls - 70)
    assert failed(reports) == rules
    rule = rules_of(judge(reports, GateConfig(), BAND))["call_coverage"]
    assert rule.figure == num_calls / 600
    assert rule.reason == (
        f"{num_calls / 600:.2%} of 600 next-day forecasts name a direction, at least 20.00% are needed"
    )


@pytest.mark.parametrize(("num_right", "num_rows"), [(1, 252), (2, 3)])
def test_one_right_call_of_252_and_two_of_three_are_refused(num_right: int, num_rows: int) -> None:
    rows = [*[RIGHT] * num_right, *([WRONG] if num_rows == 3 else [NEUTRAL] * (num_rows - num_right))]
    verdict = judge(folds_of(*rows), GateConfig(), BAND)
    assert rules_of(verdict)["direction_accuracy"].passed
    assert all(rule.passed for rule in verdict.rules if rule.rule in SPECIFIED), "the four rules let it through"
    assert "directional_calls" in failed(folds_of(*rows))


def test_two_folds_of_one_session_are_refused() -> None:
    verdict = judge(folds_of(RIGHT, FALL), GateConfig(), BAND)
    assert all(rule.passed for rule in verdict.rules if rule.rule in SPECIFIED), "the four rules let them through"
    rule = rules_of(verdict)["fold_sessions"]
    assert (rule.figure, rule.bound, rule.passed) == (1, 63, False)
    assert rule.reason == "the shortest fold has 1 test sessions, each needs at least 63"


@pytest.mark.parametrize(("num_sessions", "passed"), [(62, False), (63, True)])
def test_the_shortest_fold_decides_and_a_session_tested_twice_counts_once(num_sessions: int, passed: bool) -> None:
    long, short = report(*[RIGHT, FALL] * 60), report(*[RIGHT] * num_sessions, fold=2)
    rule = rules_of(judge([long, short], GateConfig(), BAND))["fold_sessions"]
    assert (rule.figure, rule.passed) == (num_sessions, passed)
    twice = dataclasses.replace(long, sessions=np.repeat(short.sessions[:60], 2))
    assert rules_of(judge([twice, long], GateConfig(), BAND))["fold_sessions"].figure == 60


def test_always_up_is_refused_where_prices_rose_on_53_percent_of_days() -> None:
    always_up = mixed(300, num_up=300, num_right_up=159, num_down=0, num_right_down=0)
    assert failed(always_up) == ["best_constant"]
    rule = rules_of(judge(always_up, GateConfig(), BAND))["best_constant"]
    assert (rule.figure, rule.bound) == (0.53, 0.53)
    assert rule.reason == (
        "next-day direction right in 53.00%, which must exceed the 53.00% of always saying up on the same days"
    )


@pytest.mark.parametrize(("lead", "passed"), [(0.0, True), (0.02, False), (-1.0, True)])
def test_a_lead_over_the_best_constant_may_be_asked_for(lead: float, passed: bool) -> None:
    reports = mixed(100, num_up=50, num_right_up=26, num_down=50, num_right_down=26)
    rule = rules_of(judge(reports, GateConfig(min_lead_over_constant=lead), BAND))["best_constant"]
    assert (rule.figure, rule.bound, rule.passed) == (0.52, pytest.approx(0.5 + lead), passed)
    assert rule.reason.endswith("on the same days" + (f" by over {lead:+.2%}" if lead else ""))


def test_the_best_constant_is_that_of_the_days_with_a_call_and_may_be_down() -> None:
    # 100 calls, 60 of them on days that fell: 58 right ones are fewer than those of always saying down. The neutral
    # rows, all on days that rose, do not count.
    reports = mixed(200, num_up=42, num_right_up=20, num_down=58, num_right_down=38)
    rule = rules_of(judge(reports, GateConfig(), BAND))["best_constant"]
    assert (rule.figure, rule.bound, rule.passed) == (0.58, 0.6, False)
    assert "always saying down" in rule.reason


def test_a_band_of_the_own_volatility_makes_other_forecasts_neutral() -> None:
    calm, lively = [report(RIGHT, FALL, fold=fold) for fold in (1, 2)]
    lively = dataclasses.replace(lively, volatility=np.full(2, 0.05))
    band = ForecastConfig(neutral_band_volatilities=0.5)
    # Forecasts of 1%, bands of 0.5% in the calm fold and of 2.5% in the lively one.
    assert rules_of(judge([calm, lively], FEW, band))["directional_calls"].figure == 2
    assert rules_of(judge([calm, lively], FEW, BAND))["directional_calls"].figure == 4
    unknown = dataclasses.replace(lively, volatility=np.full(2, np.nan))
    assert rules_of(judge([calm, unknown], FEW, band))["directional_calls"].figure == 4, "the fixed band is left"
