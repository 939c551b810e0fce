"""The four rules, each figure worked out by hand."""

import dataclasses
from datetime import date

import numpy as np
import pytest

from ldtm_lib.backtest.walk_forward import FoldReport
from ldtm_lib.gate.multiple_testing import MultipleTesting
from ldtm_lib.gate.rules import confirm, judge, not_trained
from ldtm_lib.gate.verdict import Rule, Verdict
from ldtm_lib.settings import GateConfig

BAND = 0.001
RIGHT, WRONG, NEUTRAL = (100.0, 101.0, 102.0), (100.0, 101.0, 98.0), (100.0, 100.05, 101.0)
"""A close, the next day's forecast, and what came."""


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


def test_a_candidate_that_meets_all_four_rules_passes() -> None:
    verdict = judge([report(RIGHT, RIGHT, WRONG), report(RIGHT, NEUTRAL, fold=2)], GateConfig(), BAND)
    assert verdict.passed
    assert [rule.rule for rule in verdict.rules] == ["direction_accuracy", "price_error", "leakage_rows", "folds"]
    assert verdict.failures == ()
    # By hand: 3 of 4 directional ones; errors 1/102 three times, 3/98, 0.95/101.
    assert rules_of(verdict)["direction_accuracy"].figure == 0.75
    by_hand = (3 * (1 / 102) + 3 / 98 + 0.95 / 101) / 5
    assert rules_of(verdict)["price_error"].figure == pytest.approx(by_hand, rel=1e-12)  # float64 sums of 5 terms


def test_direction_accuracy_is_taken_over_all_rows_and_not_averaged_over_folds() -> None:
    verdict = judge([report(RIGHT), report(RIGHT, WRONG, WRONG, fold=2)], GateConfig(), BAND)
    assert rules_of(verdict)["direction_accuracy"].figure == 0.5


def test_a_neutral_forecast_abstains() -> None:
    assert direction(RIGHT, NEUTRAL, NEUTRAL).figure == 1.0


def test_a_forecast_on_the_edge_of_the_band_is_neutral_and_one_beyond_it_is_not() -> None:
    band = 1 / 1024  # so that the return of 1025 over 1024 is the band to the bit
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
    assert rule.reason == "none of 2 next-day forecasts names a direction, at least 52.00% of them must be right"


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
    assert rule.reason == "1 test rows are not strictly after what training read, at most 0 are allowed"


def test_one_fold_is_not_enough() -> None:
    verdict = judge([report(RIGHT)], GateConfig(), BAND)
    assert [rule.rule for rule in verdict.failures] == ["folds"]
    assert verdict.failures[0].reason == "1 walk-forward folds were tested, at least 2 are needed"


def test_no_fold_at_all_fails_with_reasons_and_without_figures() -> None:
    verdict = judge([], GateConfig(), BAND)
    assert [rule.rule for rule in verdict.failures] == ["direction_accuracy", "price_error", "folds"]
    assert rules_of(verdict)["price_error"].figure is None


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_forecast_that_is_no_finite_price_fails(broken: float) -> None:
    verdict = judge([report(RIGHT, RIGHT, (100.0, broken, 101.0)), report(RIGHT, fold=2)], GateConfig(), BAND)
    rule = rules_of(verdict)["price_error"]
    assert (rule.figure, rule.passed) == (None, False)
    assert rule.reason == "1 of 4 next-day forecasts are no finite price"


def test_the_bounds_are_those_of_the_configuration() -> None:
    lenient = GateConfig(min_direction_accuracy=0.1, max_price_error=0.5, max_leakage_rows=5, min_folds=1)
    leaking = report(RIGHT, WRONG, WRONG, cutoff=date(2026, 1, 6))
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
    assert [rule.rule for rule in tested.rules] == ["direction_accuracy", "price_error", "leakage_rows", "folds"]
    assert judge([], GateConfig(), BAND).evidence is None


def test_every_kind_of_leak_counts_and_is_named() -> None:
    seen = dataclasses.replace(report(RIGHT), leaks={"label over the boundary": 2, "scaled by others": 0})
    late = dataclasses.replace(
        report(RIGHT, fold=2, cutoff=date(2026, 1, 5)), leaks={"label over the boundary": 1, "tested twice": 3}
    )
    rule = rules_of(judge([seen, late], GateConfig(), BAND, other_leaks={"moved window": 4}))["leakage_rows"]
    assert (rule.figure, rule.passed) == (11, False)
    assert rule.reason == (
        "11 rows saw what they must not (1 test rows are not strictly after what training read; "
        "label over the boundary: 3; tested twice: 3; moved window: 4), at most 0 are allowed"
    )


def test_leaks_found_elsewhere_fail_a_clean_backtest() -> None:
    rule = rules_of(judge([report(RIGHT)], GateConfig(), BAND, other_leaks={"moved window": 1}))["leakage_rows"]
    assert (rule.figure, rule.passed) == (1, False)
    assert rule.reason == "1 rows saw what they must not (moved window: 1), at most 0 are allowed"


def test_where_nothing_leaks_the_reason_is_the_plain_one() -> None:
    rule = rules_of(judge([report(RIGHT)], GateConfig(), BAND, other_leaks={"moved window": 0}))["leakage_rows"]
    assert (rule.figure, rule.passed) == (0, True)
    assert rule.reason == "0 test rows are not strictly after what training read, at most 0 are allowed"


MULTIPLE_TESTING = MultipleTesting(
    num_trainings=1, num_settings=1, num_tickers=1, num_judged=1, q_value=1.0, coins_expected=0.5
)


def test_the_plain_gate_shows_multiple_testing_and_decides_as_before() -> None:
    verdict = judge([report(RIGHT, RIGHT), report(RIGHT, fold=2)], GateConfig(), BAND)
    confirmed = confirm(verdict, MULTIPLE_TESTING, GateConfig())
    assert confirmed == dataclasses.replace(verdict, multiple_testing=MULTIPLE_TESTING)
    assert confirmed.passed


def test_the_strict_gate_adds_its_rules_and_refuses_three_lucky_days() -> None:
    verdict = judge([report(RIGHT, RIGHT), report(RIGHT, fold=2)], GateConfig(), BAND)
    confirmed = confirm(verdict, MULTIPLE_TESTING, GateConfig(strict=True))
    assert confirmed.rules[:4] == verdict.rules
    assert len(confirmed.rules) == 11
    assert {"direction_interval", "timing", "false_discovery"} <= {rule.rule for rule in confirmed.failures}
    assert verdict.passed
    assert not confirmed.passed


def test_the_strict_gate_refuses_a_verdict_without_evidence() -> None:
    confirmed = confirm(not_trained("FB", "196 bars"), None, GateConfig(strict=True))
    assert [rule.rule for rule in confirmed.failures] == ["trained", "evidence"]
