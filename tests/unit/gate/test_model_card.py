"""The card of a verdict: every sentence of it, and what is left out when there is nothing to say."""

import dataclasses

import pytest

from ldtm_lib.gate.evidence import Evidence, HorizonEvidence
from ldtm_lib.gate.model_card import model_card
from ldtm_lib.gate.multiple_testing import MultipleTesting
from ldtm_lib.gate.verdict import Rule, Verdict


def of_horizon(horizon: str, effective_days: float, ratio: float, statistic: float, p_worse: float) -> HorizonEvidence:
    return HorizonEvidence(
        horizon=horizon,
        num_forecasts=504,
        effective_days=effective_days,
        mean_error=0.01 * ratio,
        no_change_error=0.01,
        relative_error=ratio,
        dm_statistic=statistic,
        p_better=1 - p_worse,
        p_worse=p_worse,
    )


EVIDENCE = Evidence(
    neutral_band=0.001,
    num_test_rows=504,
    num_directional=240,
    num_correct=131,
    accuracy=131 / 240,
    effective_days=240.0,
    accuracy_low=0.4826,
    accuracy_high=0.6077,
    num_rises=127,
    base_rate=127 / 240,
    best_constant=127 / 240,
    pesaran_timmermann=1.1,
    timing_p=0.136,
    coin_p=0.0877,
    coin_passes=0.267,
    horizons=(
        of_horizon("next_day", 504.0, 1.03, -0.6, 0.2855),
        of_horizon("next_monday", 137.7, 0.98, 1.2, 0.866),
        of_horizon("one_month", 24.3, 1.25, -5.5, 0.0004),
    ),
)
MULTIPLE_TESTING = MultipleTesting(
    num_trainings=12, num_settings=2, num_tickers=103, num_judged=103, q_value=0.62, coins_expected=27.9
)
PASSED = Rule(rule="folds", figure=4, bound=2, passed=True, reason="4 walk-forward folds were tested")
FAILED = Rule(rule="price_error", figure=0.06, bound=0.05, passed=False, reason="mean next-day price error 6.00%")
VERDICT = Verdict(rules=(PASSED, PASSED), evidence=EVIDENCE, multiple_testing=MULTIPLE_TESTING)


def lines(evidence: Evidence, multiple_testing: MultipleTesting | None = None) -> str:
    return "\n".join(
        model_card("AAPL", None, Verdict(rules=(PASSED,), evidence=evidence, multiple_testing=multiple_testing))
    )


def test_the_card_of_a_promotion() -> None:
    assert model_card("AAPL", "v1.2026-11-20", VERDICT) == [
        "AAPL was promoted as v1.2026-11-20: it passed all 2 rules of the gate.",
        "Direction right on 131 of 240 days with a call: 54.6%, with 95% confidence between 48% and 61%.",
        "Always saying up would have been right on 52.9% of those days.",
        "Random calls with the same numbers of ups and downs would have done at least as well with probability 14%.",
        "A coin would have been right at least as often with probability 9%, and would have passed the direction rule "
        "with probability 27%; of 103 coins, one for each ticker judged, about 28 would have passed.",
        "Next-day error 1.03% over 504 forecasts: 1.03 times that of forecasting no change "
        "(one-sided test of a larger error: p = 0.29).",
        "Next-Monday error 0.98% over 504 overlapping forecasts, worth 138 that do not overlap: 0.98 times that of "
        "forecasting no change (one-sided test of a smaller error: p = 0.13).",
        "One-month error 1.25% over 504 overlapping forecasts, worth 24 that do not overlap: 1.25 times that of "
        "forecasting no change (one-sided test of a larger error: p below 0.001).",
        "This was training no. 12 of AAPL, with 2 different settings so far; the more are tried, the better the "
        "luckiest one looks. The strict gate corrects for the number of settings, not for the number of trainings.",
        "103 of 103 tickers were judged by then. If the timing of this one and of all that did better is taken as "
        "real, up to 62% of them must be expected to be luck.",
    ]


def test_a_refusal_names_what_failed_before_anything_else() -> None:
    card = model_card("AAPL", None, dataclasses.replace(VERDICT, rules=(PASSED, FAILED)))
    assert card[:2] == [
        "AAPL was not promoted: it failed 1 of 2 rules of the gate.",
        "Failed: mean next-day price error 6.00%.",
    ]


@pytest.mark.parametrize(
    ("version", "verdict", "expected"),
    [
        (
            "v1.2026-11-20",
            Verdict(rules=(PASSED,)),
            "AAPL was promoted as v1.2026-11-20: it passed the only rule of the",
        ),
        (None, Verdict(rules=()), "AAPL was not promoted: no rule of the gate was applied."),
    ],
)
def test_a_verdict_from_before_there_was_evidence_has_a_card_too(
    version: str | None, verdict: Verdict, expected: str
) -> None:
    first, second = model_card("AAPL", version, verdict)
    assert first.startswith(expected)
    assert second == "No evidence other than the rules is on record."


def test_without_multiple_testing_the_model_card_is_about_this_ticker_alone() -> None:
    card = lines(EVIDENCE)
    assert "passed the direction rule with probability 27%.\n" in card
    assert "session" not in card
    assert "training no." not in card


def test_the_better_of_the_constants_is_shown_where_it_is_always_down() -> None:
    card = lines(dataclasses.replace(EVIDENCE, best_constant=0.6))
    assert "Always saying up would have been right on 52.9% of those days, always saying down on 60.0%." in card


def test_a_model_that_called_no_direction_is_said_to_have_called_none() -> None:
    silent = dataclasses.replace(
        EVIDENCE, num_directional=0, num_correct=0, accuracy=None, accuracy_low=None, accuracy_high=None
    )
    card = lines(silent, MULTIPLE_TESTING)
    assert "It called no direction at all. 504 days were tested." in card
    assert "coin" not in card


def test_one_direction_alone_is_no_timing() -> None:
    card = lines(dataclasses.replace(EVIDENCE, pesaran_timmermann=None, timing_p=1.0))
    assert "Only one direction was called, or only one occurred: this shows nothing about timing." in card


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"mean_error": None}, "Next-day error: none could be measured."),
        (
            {"relative_error": None},
            "Next-day error 1.03% over 504 forecasts; the price never changed, so there is nothing to beat.",
        ),
        ({"dm_statistic": None}, "1.03 times that of forecasting no change; whether this is luck cannot be tested."),
    ],
)
def test_errors_that_cannot_be_compared_say_why(changes: dict[str, None], expected: str) -> None:
    changed = dataclasses.replace(EVIDENCE.horizons[0], **changes)
    assert expected in lines(dataclasses.replace(EVIDENCE, horizons=(changed,)))


@pytest.mark.parametrize(
    ("p", "expected"), [(0.0, "less than 1%"), (0.009, "less than 1%"), (0.994, "more than 99%"), (1.0, "100%")]
)
def test_a_chance_is_never_shown_as_more_certain_than_it_is(p: float, expected: str) -> None:
    card = lines(dataclasses.replace(EVIDENCE, coin_passes=p))
    assert f"passed the direction rule with probability {expected}." in card


def test_a_ticker_judged_alone_has_nobody_to_be_compared_with() -> None:
    alone = dataclasses.replace(
        MULTIPLE_TESTING, num_trainings=1, num_settings=1, num_tickers=1, num_judged=1, coins_expected=0.27
    )
    card = lines(EVIDENCE, alone)
    assert "coins" not in card
    assert "This was training no. 1 of AAPL, with 1 setting so far" in card
    assert card.endswith("AAPL was the only ticker of that session.")
