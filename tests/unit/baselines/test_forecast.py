"""Forecasts of the baselines beside a plain loop over rows and sessions, and their scores beside a plain count."""

import math
from datetime import date

import numpy as np
import pytest

from ldtm_lib.backtest.folds import plan_folds
from ldtm_lib.baselines.fit import FittedBaselines, fit_baselines
from ldtm_lib.baselines.forecast import BASELINES, BaselineRows, forecast_baselines
from ldtm_lib.baselines.scores import (
    MODELS,
    BestConstant,
    Comparison,
    ModelScore,
    accuracy_interval,
    score_fold,
    score_forecasts,
)
from ldtm_lib.features.inputs import INPUTS
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.features.windows import windows_of
from ldtm_lib.prices.sources.sample import SampleSource
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import BacktestConfig, BaselineConfig, TrainingConfig, WindowConfig

ROUNDING = 1e-9
"""Relative: sums of up to 330 products in float64 in another order."""


@pytest.fixture(scope="module")
def windows(calendar: Calendar) -> dict[str, WindowSet]:
    bars = SampleSource().fetch(["IBM", "MSFT"], date(2008, 1, 2), date(2013, 3, 1)).bars
    return windows_of(bars, calendar, WindowConfig())


@pytest.fixture(scope="module")
def fitted(windows: dict[str, WindowSet]) -> dict[str, FittedBaselines]:
    training, validation = np.arange(600), np.arange(630, 700)
    return {ticker: fit_baselines(w, training, validation, BaselineConfig()) for ticker, w in windows.items()}


def plain(fitted: FittedBaselines, window: np.ndarray, close: float, low: float, high: float, ahead: list[int]):
    """Prices by baseline of one window, from nothing but the window; `ahead` are sessions to the three targets."""
    span = high - low if high > low else 1.0
    before = low + float(window[-2, INPUTS.index("close")]) * span
    prices: dict[str, list[float]] = {"drift": [], "ar1": [], "ridge": []}
    for at, num_sessions in enumerate(ahead):
        prices["drift"].append(close * math.exp(num_sessions * fitted.drift))
        last, total = math.log(close / before), 0.0
        for _ in range(num_sessions):
            last = fitted.ar1_intercept + fitted.ar1_slope * last
            total += last
        prices["ar1"].append(close * math.exp(total))
        move = float(fitted.ridge_coefficients[-1, at])
        for value, coefficient in zip(
            window.ravel().tolist(), fitted.ridge_coefficients[:-1, at].tolist(), strict=True
        ):
            move += value * coefficient
        prices["ridge"].append(close + move * span)
    return prices


def rows_of(windows: WindowSet, rows: np.ndarray, calendar: Calendar) -> BaselineRows:
    return BaselineRows(
        inputs_NTI=windows.gather(rows),
        close_N=windows.close[rows],
        close_min_N=windows.close_min[rows],
        close_max_N=windows.close_max[rows],
        num_sessions_NH=calendar.num_sessions(windows.sessions[rows], windows.target_sessions[rows]),
    )


def test_many_rows_of_one_ticker_are_those_of_the_plain_loop(
    windows: dict[str, WindowSet], fitted: dict[str, FittedBaselines], calendar: Calendar
) -> None:
    ibm, rows = windows["IBM"], np.arange(700, 760)
    prices = forecast_baselines([fitted["IBM"]], rows_of(ibm, rows, calendar))
    for place, row in enumerate(rows):
        ahead = [len(calendar.between(ibm.sessions[row].item(), t)) - 1 for t in ibm.target_sessions[row].tolist()]
        assert ahead[0] == 1
        assert ahead[2] == 21
        window = ibm.gather(rows[place : place + 1])[0]
        expected = plain(fitted["IBM"], window, ibm.close[row], ibm.close_min[row], ibm.close_max[row], ahead)
        for baseline in BASELINES:
            assert prices[baseline][place] == pytest.approx(expected[baseline], rel=ROUNDING)


def test_a_daily_run_of_several_tickers_gives_each_its_own_forecast(
    windows: dict[str, WindowSet], fitted: dict[str, FittedBaselines], calendar: Calendar
) -> None:
    each = [rows_of(windows[ticker], np.array([800]), calendar) for ticker in ("IBM", "MSFT")]
    together = BaselineRows(
        **{name: np.concatenate([getattr(rows, name) for rows in each]) for name in BaselineRows.__slots__}
    )
    prices = forecast_baselines([fitted["IBM"], fitted["MSFT"]], together)
    for place, ticker in enumerate(("IBM", "MSFT")):
        alone = forecast_baselines([fitted[ticker]], each[place])
        for baseline in BASELINES:
            assert prices[baseline][place] == pytest.approx(alone[baseline][0], rel=ROUNDING)


def test_a_window_without_range_forecasts_about_its_close(fitted: dict[str, FittedBaselines]) -> None:
    rows = BaselineRows(
        inputs_NTI=np.zeros((1, 30, 11), dtype=np.float32),
        close_N=np.array([50.0]),
        close_min_N=np.array([50.0]),
        close_max_N=np.array([50.0]),
        num_sessions_NH=np.array([[1, 3, 21]]),
    )
    prices = forecast_baselines([fitted["IBM"]], rows)
    assert prices["ar1"][0, 0] == pytest.approx(50 * math.exp(fitted["IBM"].ar1_intercept), rel=ROUNDING)
    assert prices["ridge"][0] == pytest.approx(50 + fitted["IBM"].ridge_coefficients[-1], rel=ROUNDING)


CLOSE = np.array([100.0, 100.0, 100.0, 100.0, 100.0])
PRED = np.array([[101.0, 1, 1], [99.0, 1, 1], [100.1, 1, 1], [100.2, 1, 1], [101.0, 1, 1]])
ACTUAL = np.array([[102.0, 2, 4], [101.0, 2, 4], [101.0, 2, 4], [100.0, 2, 4], [99.0, 2, 4]])


def test_a_score_counts_what_the_ledger_counts() -> None:
    """Right; wrong; neutral, with the edge of the band; wrong because the close did not move; wrong."""
    score = score_forecasts("ridge", CLOSE, PRED, ACTUAL, 0.0010000001)
    assert (score.num_directional, score.num_correct, score.num_up, score.num_down) == (4, 1, 2, 1)
    assert score.direction_accuracy == 0.25
    errors = [abs(p - a) / a * 100 for (p, *_), (a, *_) in zip(PRED.tolist(), ACTUAL.tolist(), strict=True)]
    assert score.next_day_error == pytest.approx(sum(errors) / 5, rel=1e-12)
    assert (score.next_monday_error, score.one_month_error) == (50.0, 75.0)
    assert (score.num_next_day, score.num_next_monday, score.num_one_month) == (5, 5, 5)


def test_a_fold_scores_every_model_on_the_same_rows(windows: dict[str, WindowSet], calendar: Calendar) -> None:
    ibm = windows["IBM"]
    (plan,) = plan_folds(ibm, BacktestConfig(num_folds=1, test_sessions=60), TrainingConfig())
    fitted = fit_baselines(ibm, plan.training_rows, plan.validation_rows, BaselineConfig())
    perfect = ibm.target_prices[plan.test_rows]
    band_n = np.full(60, 0.001)
    scores = score_fold(fitted, ibm, plan.test_rows, perfect, calendar=calendar, band_n=band_n)
    assert tuple(score.model for score in scores) == MODELS
    network, no_change, drift, ar1, ridge = scores
    assert {score.num_next_day for score in scores} == {60}
    assert network.errors == (0.0, 0.0, 0.0)
    assert network.num_correct == network.num_directional > 40
    assert no_change.num_directional == 0
    assert no_change.direction_accuracy is None
    moves = np.abs(ibm.close[plan.test_rows] / perfect[:, 0] - 1) * 100
    assert no_change.next_day_error == pytest.approx(moves.mean(), rel=1e-12)
    prices = forecast_baselines([fitted], rows_of(ibm, plan.test_rows, calendar))
    for score, baseline in zip((drift, ar1, ridge), BASELINES, strict=True):
        expected = (np.abs(prices[baseline] - perfect) / perfect * 100).mean(axis=0)
        assert score.errors == pytest.approx(tuple(expected), rel=1e-12)


def score(model: str, *errors: float | None, right: int = 0, of: int = 0, up: int = 0, down: int = 0) -> ModelScore:
    day, monday, month = errors
    return ModelScore(
        model=model,  # type: ignore[arg-type]
        num_next_day=30,
        next_day_error=day,
        num_next_monday=25,
        next_monday_error=monday,
        num_one_month=9,
        one_month_error=month,
        num_directional=of,
        num_correct=right,
        num_up=up,
        num_down=down,
    )


def comparison(network: ModelScore, *baselines: ModelScore) -> Comparison:
    day = date(2013, 1, 2)
    return Comparison(ticker=None, first_session=day, last_session=day, network=network, baselines=baselines)


def test_a_baseline_is_better_where_its_error_is_smaller_or_its_directions_are_right_more_often() -> None:
    network = score("network", 1.0, 2.0, None, right=11, of=20, up=8, down=12)
    compared = comparison(
        network,
        score("no_change", 1.0, 2.1, 5.0),
        score("drift", 0.9, 1.9, None, right=4, of=7),
        score("ridge", 1.1, 1.8, 5.0, right=11, of=20),
    )
    assert [compared.better_than_network(each) for each in compared.baselines] == [
        (),
        ("next day", "next Monday", "direction"),
        ("next Monday",),
    ]
    assert compared.best_constant == BestConstant(direction="down", num_directional=20, num_correct=12)
    assert compared.better_than_network(compared.best_constant) == ("direction",)
    assert compared.verdict == (
        "A baseline has a smaller price error than the network: next day (drift), next Monday (ridge)."
    )
    interval = accuracy_interval(compared.best_constant)
    assert interval is not None
    assert interval.low < 0.6 < interval.high
    assert accuracy_interval(compared.baselines[0]) is None


def test_a_network_that_no_baseline_beats_is_said_so() -> None:
    compared = comparison(score("network", 1.0, 2.0, 3.0), score("no_change", 1.0, 2.0, 3.0))
    assert compared.verdict == "No baseline has a smaller price error than the network."
