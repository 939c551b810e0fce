"""A ticker among those judged with it: the family, its adjustment and the coins."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldtm_lib.gate.evidence import Evidence
from ldtm_lib.gate.multiple_testing import (
    EarlierJudgement,
    MultipleTesting,
    Trials,
    adjusted_p,
    multiple_testing_from,
    multiple_testing_of,
)
from ldtm_lib.statistics.false_discovery import q_values


def evidence(timing_p: float, coin_passes: float = 0.25) -> Evidence:
    return Evidence(
        neutral_band=0.001,
        num_test_rows=0,
        num_directional=0,
        num_correct=0,
        accuracy=None,
        effective_days=0.0,
        accuracy_low=None,
        accuracy_high=None,
        num_rises=0,
        base_rate=None,
        best_constant=None,
        pesaran_timmermann=None,
        timing_p=timing_p,
        coin_p=1.0,
        coin_passes=coin_passes,
        horizons=(),
    )


def before(p_value: float, coin_passes: float = 0.0) -> EarlierJudgement:
    return EarlierJudgement(p_value=p_value, coin_passes=coin_passes)


ONCE = Trials(num_trainings=1, num_settings=1)


def test_every_setting_tried_costs_its_share() -> None:
    assert adjusted_p(evidence(0.01), ONCE) == 0.01
    assert adjusted_p(evidence(0.01), Trials(num_trainings=50, num_settings=3)) == pytest.approx(0.03, rel=1e-12)
    assert adjusted_p(evidence(0.4), Trials(num_trainings=3, num_settings=3)) == 1.0


def test_the_family_is_this_call_and_all_others_of_the_session() -> None:
    found = multiple_testing_of(
        {"A": evidence(0.001), "B": evidence(0.02)},
        {"A": ONCE, "B": Trials(num_trainings=7, num_settings=2)},
        {"C": before(0.5), "D": before(0.003)},
    )
    expected = q_values({"A": 0.001, "B": 0.04, "C": 0.5, "D": 0.003})
    assert list(found) == ["A", "B"]
    assert {ticker: multiple_testing.q_value for ticker, multiple_testing in found.items()} == pytest.approx(
        {"A": expected["A"], "B": expected["B"]}, rel=1e-12
    )
    assert {multiple_testing.num_judged for multiple_testing in found.values()} == {4}
    assert (found["B"].num_trainings, found["B"].num_settings) == (7, 2)


def test_a_ticker_that_is_among_the_others_too_counts_once_with_its_evidence() -> None:
    once = multiple_testing_of({"A": evidence(0.01)}, {"A": ONCE}, {"B": before(0.2)})
    assert multiple_testing_of({"A": evidence(0.01)}, {"A": ONCE}, {"A": before(0.9), "B": before(0.2)}) == once
    assert once["A"].num_judged == 2


def test_the_coins_are_those_of_the_whole_session() -> None:
    found = multiple_testing_of(
        {"A": evidence(0.1, 0.3), "B": evidence(0.1, 0.0)}, {"A": ONCE, "B": ONCE}, {"C": before(0.5, 0.25)}
    )
    assert found["A"].coins_expected == found["B"].coins_expected == pytest.approx(0.55, rel=1e-12)


def test_a_ticker_that_is_not_judged_yet_counts_as_one_without_skill_and_as_no_coin() -> None:
    found = multiple_testing_of({"A": evidence(0.01, 0.3)}, {"A": ONCE}, {"B": None, "C": before(0.2, 0.2), "A": None})[
        "A"
    ]
    assert found.q_value == pytest.approx(q_values({"A": 0.01, "B": 1.0, "C": 0.2})["A"], rel=1e-12)
    assert (found.num_tickers, found.num_judged) == (3, 2)
    assert found.coins_expected == pytest.approx(0.5, rel=1e-12)


def test_without_a_judged_ticker_there_is_no_multiple_testing() -> None:
    assert multiple_testing_of({}, {}, {"A": before(0.5)}) == {}


@given(st.dictionaries(st.sampled_from("ABCDEFGH"), st.floats(0, 1), min_size=1), st.floats(0, 1))
def test_more_tickers_without_skill_never_make_one_look_better(p_values: dict[str, float], further: float) -> None:
    shown = {ticker: evidence(p) for ticker, p in p_values.items()}
    trials = dict.fromkeys(shown, ONCE)
    alone, beside = (
        multiple_testing_of(shown, trials, {}),
        multiple_testing_of(shown, trials, {"Z": before(max(further, *p_values.values()))}),
    )
    for ticker in shown:
        assert beside[ticker].q_value >= alone[ticker].q_value * (1 - 1e-12)


def test_multiple_testing_comes_back_from_json_as_it_was() -> None:
    multiple_testing = MultipleTesting(
        num_trainings=12, num_settings=2, num_tickers=103, num_judged=103, q_value=0.1 + 0.2, coins_expected=28.1
    )
    assert multiple_testing_from(json.loads(json.dumps(multiple_testing.as_dict()))) == multiple_testing
    assert list(multiple_testing.as_dict()) == [field.name for field in dataclasses.fields(MultipleTesting)]
