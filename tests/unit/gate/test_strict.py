"""The strict gate: each rule fails alone, at its bound, with its reason."""

import dataclasses

import pytest

from ldtm_lib.gate.evidence import Evidence, HorizonEvidence
from ldtm_lib.gate.multiple_testing import MultipleTesting
from ldtm_lib.gate.strict import strict_rules
from ldtm_lib.gate.verdict import Rule
from ldtm_lib.settings import GateConfig

GATE = GateConfig(strict=True)
NAMES = [
    "direction_interval",
    "timing",
    "no_change_next_day",
    "no_change_next_monday",
    "no_change_one_month",
    "false_discovery",
]


def of_horizon(horizon: str) -> HorizonEvidence:
    return HorizonEvidence(
        horizon=horizon,
        num_forecasts=504,
        effective_days=400.0,
        mean_error=0.0095,
        no_change_error=0.01,
        relative_error=0.95,
        dm_statistic=3.0,
        p_better=0.01,
        p_worse=0.99,
    )


GOOD = Evidence(
    neutral_band=0.001,
    num_test_rows=504,
    num_directional=400,
    num_correct=232,
    accuracy=0.58,
    effective_days=400.0,
    accuracy_low=0.531,
    accuracy_high=0.627,
    num_rises=212,
    base_rate=0.53,
    best_constant=0.53,
    pesaran_timmermann=3.2,
    timing_p=0.0007,
    coin_p=0.0008,
    coin_passes=0.21,
    horizons=(of_horizon("next_day"), of_horizon("next_monday"), of_horizon("one_month")),
)
MULTIPLE_TESTING = MultipleTesting(
    num_trainings=12, num_settings=2, num_tickers=103, num_judged=103, q_value=0.04, coins_expected=21.6
)


def with_horizon(horizon: str, **changes: float | None) -> Evidence:
    changed = (dataclasses.replace(h, **changes) if h.horizon == horizon else h for h in GOOD.horizons)
    return dataclasses.replace(GOOD, horizons=tuple(changed))


def failed(evidence: Evidence, multiple_testing: MultipleTesting = MULTIPLE_TESTING) -> list[Rule]:
    return [rule for rule in strict_rules(evidence, multiple_testing, GATE) if not rule.passed]


def test_a_model_with_skill_passes_all_six() -> None:
    rules = strict_rules(GOOD, MULTIPLE_TESTING, GATE)
    assert [rule.rule for rule in rules] == NAMES
    assert all(rule.passed for rule in rules)
    assert [(rule.figure, rule.bound) for rule in rules] == [
        (0.531, 0.5),
        (0.0014, 0.05),
        (0.01, 0.05),
        (0.99, 0.05),
        (0.99, 0.05),
        (0.04, 0.10),
    ]


@pytest.mark.parametrize(
    ("evidence", "multiple_testing", "rule", "reason"),
    [
        (
            dataclasses.replace(GOOD, accuracy_low=0.5),
            MULTIPLE_TESTING,
            "direction_interval",
            "the 95% interval of direction accuracy begins at 50.00%, it must begin above 50.00%",
        ),
        (
            dataclasses.replace(GOOD, timing_p=0.03),
            MULTIPLE_TESTING,
            "timing",
            "calls without skill would agree with the outcomes as well with probability 6.00%, corrected for 2 "
            "settings tried; at most 5.00% is allowed",
        ),
        (
            with_horizon("next_day", p_better=0.051, relative_error=0.998),
            MULTIPLE_TESTING,
            "no_change_next_day",
            "mean next-day price error 0.998 times that of forecasting no change; a forecast that is no better would "
            "look this good with probability 5.10%, at most 5.00% is allowed",
        ),
        (
            with_horizon("next_monday", p_worse=0.05, relative_error=1.1),
            MULTIPLE_TESTING,
            "no_change_next_monday",
            "mean next-Monday price error 1.100 times that of forecasting no change; a forecast that is no worse would "
            "look this bad with probability 5.00%, more than 5.00% is needed",
        ),
        (
            with_horizon("one_month", p_worse=0.001, relative_error=1.2),
            MULTIPLE_TESTING,
            "no_change_one_month",
            "mean one-month price error 1.200 times that of forecasting no change; a forecast that is no worse would "
            "look this bad with probability 0.10%, more than 5.00% is needed",
        ),
        (
            GOOD,
            dataclasses.replace(MULTIPLE_TESTING, q_value=0.101),
            "false_discovery",
            "among 103 tickers of the session its timing counts as real only at a false discovery rate of 10.10% or "
            "more, at most 10.00% is allowed",
        ),
    ],
    ids=NAMES,
)
def test_each_rule_fails_alone_and_says_why(
    evidence: Evidence, multiple_testing: MultipleTesting, rule: str, reason: str
) -> None:
    assert [(rule.rule, rule.reason) for rule in failed(evidence, multiple_testing)] == [(rule, reason)]


def test_the_bounds_themselves_pass_where_at_most_is_said() -> None:
    edge = dataclasses.replace(with_horizon("next_day", p_better=0.05), timing_p=0.025)
    assert failed(edge, dataclasses.replace(MULTIPLE_TESTING, q_value=0.10)) == []


def test_the_bounds_are_those_of_the_configuration() -> None:
    harder = GateConfig(strict=True, significance=0.001, max_false_discovery_rate=0.01)
    rules = [rule.rule for rule in strict_rules(GOOD, MULTIPLE_TESTING, harder) if not rule.passed]
    assert rules == ["timing", "no_change_next_day", "false_discovery"]


def test_a_model_that_never_named_a_direction_fails_and_is_told_so() -> None:
    silent = dataclasses.replace(
        GOOD, num_directional=0, accuracy=None, accuracy_low=None, accuracy_high=None, best_constant=None, timing_p=1.0
    )
    reasons = {rule.rule: rule.reason for rule in failed(silent)}
    assert list(reasons) == ["direction_interval", "timing"]
    assert reasons["direction_interval"] == (
        "no next-day forecast names a direction, so that direction accuracy has no interval"
    )


@pytest.mark.parametrize("horizon", ["next_day", "next_monday", "one_month"])
def test_a_horizon_that_could_not_be_compared_fails(horizon: str) -> None:
    (rule,) = failed(with_horizon(horizon, num_forecasts=0, p_better=0.0, p_worse=1.0))
    assert (rule.rule, rule.figure) == (f"no_change_{horizon}", None)
    assert rule.reason.endswith("forecast could be compared with forecasting no change")


def test_a_price_that_never_changed_is_named() -> None:
    (rule,) = failed(with_horizon("next_day", relative_error=None, p_better=1.0))
    assert rule.reason.startswith("the price never changed, so next-day errors cannot be compared")


@pytest.mark.parametrize(
    ("evidence", "multiple_testing", "rule", "reason"),
    [
        (None, MULTIPLE_TESTING, "evidence", "no evidence was computed, which the strict gate requires"),
        (
            GOOD,
            None,
            "multiple_testing",
            "it was not corrected for multiple testing, which the strict gate requires",
        ),
    ],
)
def test_what_is_missing_is_one_failed_rule(
    evidence: Evidence | None, multiple_testing: MultipleTesting | None, rule: str, reason: str
) -> None:
    assert strict_rules(evidence, multiple_testing, GATE) == (
        Rule(rule=rule, figure=None, bound=None, passed=False, reason=reason),
    )
