"""Made-up tickers: what is in their bars, and that gates fail which do not see it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ldtm_lib.errors import TooFewBars
from ldtm_lib.features.inputs import INPUTS
from ldtm_lib.features.windows import windows_of
from ldtm_lib.gate.multiple_testing import MultipleTesting
from ldtm_lib.gate.verdict import Verdict
from ldtm_lib.placebo import rehearsal
from ldtm_lib.placebo.canaries import CANARIES, CanaryReport, canary_bars, run_canaries
from ldtm_lib.placebo.canary_bars import LAST_SESSION, coin_flip, planted
from ldtm_lib.prices.bars import BAR_SCHEMA, validate
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import ArchitectureConfig, BacktestConfig, ForecastConfig, GateConfig, Settings, TrainingConfig
from ldtm_lib.training.run import TrainingContext

pytestmark = pytest.mark.slow

SETTINGS = Settings(
    path=Path("universe.toml"),
    tickers=("AAA",),
    architecture=ArchitectureConfig(hidden=12, head_hidden=8),
    training=TrainingConfig(max_epochs=12, learning_rate=2e-2),
    backtest=BacktestConfig(test_sessions=126),
)
BLIND = SETTINGS.replace(training=TrainingConfig(max_epochs=1, learning_rate=1e-9))
"""Networks that stay as they were drawn: for what does not depend on them."""


def on_cpu(settings: Settings) -> TrainingContext:
    return TrainingContext(settings=settings, device="cpu")


def by_ticker(report: CanaryReport) -> dict[str, bool]:
    return {canary.ticker: canary.is_as_expected for canary in report.canaries}


def test_canaries_have_valid_bars_on_the_newest_sessions_and_always_the_same(calendar: Calendar) -> None:
    bars = canary_bars(calendar, 600, seed=7)
    assert bars.schema == BAR_SCHEMA
    judged = validate(bars, calendar)
    assert (len(judged.refused), len(judged.valid)) == (0, 600 * len(CANARIES))
    assert bars.group_by("ticker").agg(pl.col("session").max())["session"].to_list() == [LAST_SESSION] * len(CANARIES)
    assert bars.equals(canary_bars(calendar, 600, seed=7))
    assert not bars.equals(canary_bars(calendar, 600, seed=8))
    closes = bars.pivot(on="ticker", index="session", values="close").select(*CANARIES).to_numpy()
    shared = np.corrcoef(np.diff(np.log(closes), axis=0).T) - np.eye(len(CANARIES))
    assert np.abs(shared).max() < 0.2, "4.9 standard errors of independent returns"


def rises_after_loud_days(bars: pl.DataFrame, calendar: Calendar) -> float:
    """How often the next close is above this one exactly when the volume is in the upper half of its window."""
    (windows,) = windows_of(bars, calendar, SETTINGS.window).values()
    rows = np.flatnonzero(windows.labelled)
    is_loud = windows.gather(rows)[:, -1, INPUTS.index("volume")] > 0.5
    return float(np.mean(is_loud == (windows.target_prices[rows, 0] > windows.close[rows])))


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_future_can_be_read_off_a_scaled_window_and_a_coin_cannot(seed: int, calendar: Calendar) -> None:
    assert rises_after_loud_days(planted("P", calendar, 2000, seed=seed), calendar) > 0.96
    # 1,930 days of a coin: 0.5 with a standard error of 0.0114, four of them on either side.
    assert abs(rises_after_loud_days(coin_flip("C", calendar, 2000, seed=seed), calendar) - 0.5) < 0.046


@pytest.mark.parametrize("seed", range(5))
def test_a_coin_rises_half_of_the_days_whatever_it_did_before(seed: int, calendar: Calendar) -> None:
    close = coin_flip("C", calendar, 4000, seed=seed)["close"].to_numpy()
    rises = np.diff(close) > 0
    assert abs(rises.mean() - 0.5) < 0.032, "four standard errors of 3,999 days"
    assert abs(np.mean(rises[1:] == rises[:-1]) - 0.5) < 0.032


def test_the_gates_refuse_coins_pass_a_planted_future_and_catch_a_leak(calendar: Calendar) -> None:
    report = run_canaries(on_cpu(SETTINGS), calendar, seed=0)
    found = {canary.ticker: canary for canary in report.canaries}
    assert list(found) == list(CANARIES)
    assert by_ticker(report) == dict.fromkeys(CANARIES, True)
    assert report.checks_see
    skilled, leaking = found["PLANTED"], found["LEAKING"]
    assert (skilled.passed, skilled.passed_strict) == (True, True)
    assert skilled.found == "passed the plain gate; passed the strict gate"
    assert skilled.timing_p is not None
    assert skilled.timing_p < 1e-6
    assert leaking.accuracy is not None
    assert leaking.accuracy > 0.6
    assert (leaking.passed, leaking.passed_strict) == (False, False)
    assert leaking.found.startswith("failed the plain gate (leakage_rows); failed the strict gate (leakage_rows")
    assert [found[ticker].passed_strict for ticker in ("COIN-1", "COIN-2", "COIN-3")] == [False] * 3
    assert report.as_dict()["checks_see"] is True


def test_networks_that_learn_nothing_do_not_find_the_planted_future(calendar: Calendar) -> None:
    report = run_canaries(on_cpu(BLIND), calendar, seed=0)
    assert not report.checks_see
    (skilled,) = (canary for canary in report.canaries if canary.ticker == "PLANTED")
    assert not skilled.is_as_expected
    assert "failed the strict gate (" in skilled.found


def test_a_gate_that_overlooks_leakage_fails(calendar: Calendar) -> None:
    careless = BLIND.replace(gate=GateConfig(max_leakage_rows=10_000))
    assert by_ticker(run_canaries(on_cpu(careless), calendar, seed=0))["LEAKING"] is False


def test_a_strict_gate_that_lets_coins_through_fails(calendar: Calendar, monkeypatch: pytest.MonkeyPatch) -> None:
    def lets_all_through(
        verdict: Verdict, multiple_testing: MultipleTesting | None, gate: GateConfig, forecast: ForecastConfig
    ) -> Verdict:
        rules = tuple(replace(rule, passed=True) for rule in verdict.rules)
        return replace(verdict, rules=rules, multiple_testing=multiple_testing)

    monkeypatch.setattr(rehearsal, "confirm", lets_all_through)
    seen = by_ticker(run_canaries(on_cpu(BLIND), calendar, seed=0))
    assert [seen[ticker] for ticker in ("COIN-1", "COIN-2", "COIN-3")] == [False] * 3


def test_a_canary_that_cannot_be_trained_is_no_success(calendar: Calendar) -> None:
    hopeless = SETTINGS.replace(training=TrainingConfig(max_epochs=1, learning_rate=1e30))
    report = run_canaries(on_cpu(hopeless), calendar, seed=0)
    assert by_ticker(report) == dict.fromkeys(CANARIES, False)
    assert report.canaries[0].found.startswith("was not trained: COIN-1 fold ")


def test_settings_that_need_longer_histories_than_there_are_are_refused(calendar: Calendar) -> None:
    with pytest.raises(TooFewBars) as refused:
        run_canaries(
            TrainingContext(settings=SETTINGS.replace(backtest=BacktestConfig(test_sessions=5000)), device="cpu"),
            calendar,
            seed=0,
        )
    assert str(refused.value) == (
        "the calendar has 8817 sessions up to 2024-12-31 for a canary, too few for 2 folds; lower "
        "backtest.test_sessions or training.min_training_rows"
    )
