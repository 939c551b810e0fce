"""What a backtest shows beside the rules: worked out by hand, whatever the forecasts are, and through JSON."""

import dataclasses
import json
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldtm_lib.backtest.walk_forward import FoldReport, Prices
from ldtm_lib.gate.evidence import Evidence, HorizonEvidence, evidence_from, evidence_of
from ldtm_lib.gate.rules import judge
from ldtm_lib.sessions import HORIZONS, exchange_calendar
from ldtm_lib.settings import ForecastConfig, GateConfig
from ldtm_lib.statistics.directions import coin_passes, coin_reaches
from ldtm_lib.statistics.wilson import wilson_interval

GATE = GateConfig()
BAND = ForecastConfig(neutral_band=0.001)
DAYS = exchange_calendar().days
FIRST = int(np.searchsorted(DAYS, np.datetime64("2024-01-02")))


def report(close: Prices, predictions: Prices, actuals: Prices, *, fold: int = 1, start: int = 0) -> FoldReport:
    return FoldReport(
        fold=fold,
        train_cutoff=date(2020, 1, 2),
        num_training_rows=300,
        num_validation_rows=30,
        num_epochs=5,
        validation_loss=0.1,
        sessions=DAYS[FIRST + start : FIRST + start + len(close)],
        close=close,
        volatility=np.full(len(close), 0.01),
        predictions=predictions,
        actuals=actuals,
    )


def next_day(*rows: tuple[float, float, float]) -> FoldReport:
    """Rows of a close, the next day's forecast and what came; no other horizon was forecast."""
    close, predicted, actual = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    nothing = np.full(len(close), np.nan)
    return report(close, np.stack([predicted, nothing, nothing], 1), np.stack([actual, actual, actual], 1))


def walk(num_folds: int, seed: int, skill: float = 0.0) -> list[FoldReport]:
    """Folds of 126 sessions over a random walk, whose forecasts know a share of the next day's move."""
    generator = np.random.default_rng(seed)
    num = 126 * num_folds
    moves = generator.normal(0.0005, 0.015, num + 30)
    prices = 100 * np.exp(np.cumsum(moves))
    at = np.arange(num)
    targets = np.searchsorted(DAYS, exchange_calendar().targets_of(DAYS[FIRST + at])) - FIRST
    actuals = prices[targets]
    guess = skill * np.log(actuals / prices[at, None]) + generator.normal(0, 0.004, (num, 3))
    predictions = prices[at, None] * np.exp(guess)
    rows = [slice(126 * fold, 126 * (fold + 1)) for fold in range(num_folds)]
    return [
        report(prices[at[r]], predictions[r], actuals[r], fold=fold, start=r.start)
        for fold, r in enumerate(rows, start=1)
    ]


def horizon(evidence: Evidence, name: str) -> HorizonEvidence:
    shown = evidence.of_horizon(name)
    assert shown is not None
    return shown


def is_plain(evidence: Evidence) -> bool:
    """Whether it is JSON without NaN or infinity, and comes back as it was."""
    text = json.dumps(evidence.as_dict(), allow_nan=False)
    return evidence_from(json.loads(text)) == evidence


UP_RIGHT, UP_WRONG, DOWN_RIGHT, UP_STILL = (100, 101, 102), (100, 101, 98), (100, 99, 98), (100, 101, 100)
NEUTRAL = (100, 100.05, 101)


def test_the_figures_of_direction_by_hand() -> None:
    shown = evidence_of([next_day(UP_RIGHT, UP_RIGHT, UP_WRONG, DOWN_RIGHT, UP_STILL, NEUTRAL)], GATE, BAND)
    assert (shown.num_test_rows, shown.num_directional, shown.num_correct) == (6, 5, 3)
    assert (shown.accuracy, shown.effective_days) == (3 / 5, 5.0)
    interval = wilson_interval(3 / 5, 5)
    assert (shown.accuracy_low, shown.accuracy_high) == (interval.low, interval.high)
    assert (shown.num_rises, shown.base_rate, shown.best_constant) == (2, 2 / 5, 2 / 5)  # 2 rises, 2 falls, 1 still
    assert shown.coin_p == coin_reaches(3, 5) == 0.5
    assert shown.coin_passes == coin_passes(5, 0.52) == 0.5


def test_the_better_constant_may_be_always_down() -> None:
    shown = evidence_of([next_day(UP_RIGHT, DOWN_RIGHT, UP_WRONG)], GATE, BAND)
    assert (shown.base_rate, shown.best_constant) == (1 / 3, 2 / 3)


def test_the_errors_by_hand_are_fractions_of_the_price_that_came() -> None:
    shown = horizon(evidence_of([next_day((100, 101, 102), (100, 98, 96))], GATE, BAND), "next_day")
    assert shown.num_forecasts == 2
    error, no_change = (1 / 102 + 2 / 96) / 2, (2 / 102 + 4 / 96) / 2
    assert (shown.mean_error, shown.no_change_error) == pytest.approx((error, no_change), rel=1e-12)
    assert shown.relative_error == pytest.approx(0.5, rel=1e-12)  # half as far away on both days
    assert shown.dm_statistic is not None
    assert shown.dm_statistic > 0
    assert shown.p_better + shown.p_worse == pytest.approx(1, abs=1e-12)


def test_every_horizon_is_compared_on_its_own_prices() -> None:
    reports = walk(2, seed=1)
    evidence = evidence_of(reports, GATE, BAND)
    assert [shown.horizon for shown in evidence.horizons] == list(HORIZONS)
    for column, name in enumerate(HORIZONS):
        predicted = np.concatenate([r.predictions[:, column] for r in reports])
        actual = np.concatenate([r.actuals[:, column] for r in reports])
        assert horizon(evidence, name).mean_error == pytest.approx(np.mean(abs(predicted - actual) / actual), rel=1e-12)
    worth = [horizon(evidence, name).effective_days for name in HORIZONS]
    assert worth[0] == 252.0
    assert 60 < worth[1] < 80  # five forecasts a week, all but one or two of the same moves
    assert 12 < worth[2] < 13


def test_the_order_of_folds_does_not_matter() -> None:
    reports = walk(4, seed=2)
    reports[0].predictions[:50] = np.nan
    assert evidence_of(reports[::-1], GATE, BAND) == evidence_of(reports, GATE, BAND)


def test_skill_is_seen_and_its_absence_too() -> None:
    skilled, blind = evidence_of(walk(4, 3, skill=0.3), GATE, BAND), evidence_of(walk(4, 3), GATE, BAND)
    assert skilled.timing_p < 0.001 < 0.05 < blind.timing_p
    assert horizon(skilled, "next_day").p_better < 0.001
    assert horizon(blind, "next_day").p_worse < 0.05  # noise that is added to no change makes it worse


def test_the_evidence_counts_as_the_rule_does() -> None:
    reports = walk(3, seed=4)
    verdict = judge(reports, GATE, BAND)
    assert verdict.evidence is not None
    assert verdict.rules[0].figure == verdict.evidence.accuracy
    assert verdict.rules[1].figure == pytest.approx(horizon(verdict.evidence, "next_day").mean_error, rel=1e-12)


def test_a_forecaster_that_never_names_a_direction_shows_none() -> None:
    shown = evidence_of([next_day(NEUTRAL, NEUTRAL)], GATE, BAND)
    assert (shown.num_directional, shown.num_correct, shown.effective_days, shown.num_rises) == (0, 0, 0.0, 0)
    nothing = (shown.accuracy, shown.accuracy_low, shown.accuracy_high, shown.base_rate, shown.best_constant)
    assert nothing == (None,) * 5
    assert (shown.pesaran_timmermann, shown.timing_p, shown.coin_p, shown.coin_passes) == (None, 1.0, 1.0, 0.0)
    assert is_plain(shown)


@pytest.mark.parametrize("reports", [[], [next_day()]], ids=["no fold", "an empty fold"])
def test_nothing_tested_shows_nothing(reports: list[FoldReport]) -> None:
    shown = evidence_of(reports, GATE, BAND)
    assert (shown.num_test_rows, shown.num_directional) == (0, 0)
    assert [(h.num_forecasts, h.effective_days, h.mean_error, h.p_better) for h in shown.horizons] == [
        (0, 0.0, None, 1.0)
    ] * 3
    assert is_plain(shown)


def test_one_row_shows_a_wide_interval_and_no_test() -> None:
    shown = evidence_of([next_day(UP_RIGHT)], GATE, BAND)
    assert shown.accuracy == 1.0
    assert shown.accuracy_low is not None
    assert shown.accuracy_low < 0.25
    assert (horizon(shown, "next_day").dm_statistic, shown.pesaran_timmermann) == (None, None)
    assert is_plain(shown)


def test_a_price_that_never_changes_leaves_nothing_to_beat() -> None:
    still = np.full((60, 3), 100.0)
    shown = evidence_of([report(still[:, 0], still * 1.01, still)], GATE, BAND)
    assert (shown.accuracy, shown.best_constant, shown.pesaran_timmermann) == (0.0, 0.0, None)
    for of_horizon in shown.horizons:
        assert of_horizon.mean_error == pytest.approx(0.01, rel=1e-9)
        assert (of_horizon.no_change_error, of_horizon.relative_error, of_horizon.dm_statistic) == (0.0, None, None)
    assert is_plain(shown)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf, 1e300])
def test_a_forecast_that_is_no_finite_price_is_left_out_of_every_test(broken: float) -> None:
    (whole,) = walk(1, seed=5)
    predictions = whole.predictions.copy()
    predictions[40, 0], predictions[41, 2] = broken, broken
    shown = evidence_of([dataclasses.replace(whole, predictions=predictions)], GATE, BAND)
    assert [h.num_forecasts for h in shown.horizons] == [125, 126, 125]
    kept = np.arange(126) != 40
    without = dataclasses.replace(
        whole,
        sessions=whole.sessions[kept],
        close=whole.close[kept],
        predictions=whole.predictions[kept],
        actuals=whole.actuals[kept],
    )
    expected = evidence_of([without], GATE, BAND)
    assert horizon(shown, "next_day") == horizon(expected, "next_day")
    assert shown.num_test_rows == 126
    assert dataclasses.replace(shown, num_test_rows=125, horizons=expected.horizons) == expected
    assert is_plain(shown)


PRICE = st.floats(0.01, 1e5)
ANY_FORECAST = st.one_of(PRICE, st.floats())


@given(st.lists(st.tuples(PRICE, ANY_FORECAST, PRICE, ANY_FORECAST), max_size=12))
def test_whatever_is_forecast_the_evidence_is_plain_json(rows: list[tuple[float, float, float, float]]) -> None:
    close, predicted, actual, month = np.array(rows, dtype=np.float64).reshape(-1, 4).T
    shown = evidence_of(
        [report(close, np.stack([predicted, month, month], 1), np.stack([actual, close, actual], 1))], GATE, BAND
    )
    assert is_plain(shown)
    for p in (shown.timing_p, shown.coin_p, shown.coin_passes, *(h.p_better for h in shown.horizons)):
        assert 0 <= p <= 1
