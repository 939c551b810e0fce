"""A year of retrainings: what each one sees, what three gates promote, and that the counts are right."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ldtm_lib.backtest.walk_forward import FoldReport
from ldtm_lib.errors import TooFewBars
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.features.windows import windows_of
from ldtm_lib.gate.rules import SPECIFIED
from ldtm_lib.models.fit import Fit, FitFailed, FitTask, Progress
from ldtm_lib.placebo import retrainings
from ldtm_lib.placebo.canary_bars import coin_flip
from ldtm_lib.placebo.rehearsal import Rehearsed
from ldtm_lib.placebo.retrainings import (
    FOUR_RULES,
    PLAIN,
    STRICT,
    RetrainingReport,
    cutoffs,
    require_retrainings,
    run_retrainings,
    workload,
)
from ldtm_lib.placebo.shuffling import shuffled
from ldtm_lib.sessions import exchange_calendar
from ldtm_lib.settings import ArchitectureConfig, BacktestConfig, Settings, TrainingConfig
from ldtm_lib.statistics.wilson import wilson_interval
from ldtm_lib.training.plan import TrainingPlan
from ldtm_lib.training.run import NoCallbacks, TrainingContext

SETTINGS = Settings(
    path=Path("universe.toml"),
    tickers=("AAA", "BBB"),
    architecture=ArchitectureConfig(hidden=4, head_hidden=4),
    training=TrainingConfig(max_epochs=1, min_training_rows=60),
    backtest=BacktestConfig(num_folds=2, test_sessions=63),
)


@cache
def coin(num_bars: int, ticker: str = "AAA") -> WindowSet:
    calendar = exchange_calendar()
    return windows_of(coin_flip(ticker, calendar, num_bars, seed=1), calendar, SETTINGS.window)[ticker]


class Heard(NoCallbacks):
    """Callbacks that keep the tasks of every training."""

    def __init__(self) -> None:
        self.trainings: list[list[FitTask]] = []
        self.num_epochs = self.num_results = 0

    def on_start(self, tasks: Sequence[FitTask]) -> None:
        self.trainings.append(list(tasks))

    def on_epoch(self, progress: Progress) -> None:
        self.num_epochs += 1

    def on_result(self, result: Fit | FitFailed) -> None:
        self.num_results += 1


def context(heard: Heard) -> TrainingContext:
    return TrainingContext(settings=SETTINGS, device="cpu", callbacks=heard)


def newest(windows: dict[str, WindowSet], num_retrainings: int, num_copies: int) -> RetrainingReport:
    heard = Heard()
    *_, report = run_retrainings(
        windows, lambda: context(heard), num_retrainings=num_retrainings, num_copies=num_copies, seed=0
    )
    return report


def test_retrainings_end_with_the_newest_bar_and_are_five_sessions_apart() -> None:
    true = coin(420)
    found = cutoffs(true, 4)
    assert found == [day.item() for day in true.bar_sessions[[-16, -11, -6, -1]]]
    with pytest.raises(TooFewBars, match="AAA has 420 bars, too few for 85 retrainings"):
        cutoffs(true, 85)


def test_a_history_without_room_for_the_oldest_retraining_is_refused() -> None:
    require_retrainings(coin(420), SETTINGS, 4)
    with pytest.raises(TooFewBars, match="too few for a fold of 63 test sessions"):
        require_retrainings(coin(420), SETTINGS, 60)


def test_each_retraining_sees_what_was_known_by_its_session_of_one_and_the_same_exchange() -> None:
    heard = Heard()
    reports = list(run_retrainings({"AAA": coin(420)}, lambda: context(heard), num_retrainings=3, num_copies=2, seed=7))
    assert [report.num_retrainings for report in reports] == [1, 2, 3]
    days = cutoffs(coin(420), 3)
    for day, tasks in zip(days, heard.trainings, strict=True):
        assert {task.name for task in tasks} == {f"AAA~{copy} fold {fold}" for copy in (0, 1) for fold in (1, 2)}
        for task in tasks:
            expected = shuffled(coin(420), seed=7, copy=int(task.ticker[-1])).known_by(day)
            assert task.windows.bar_sessions[-1] == np.datetime64(day)
            np.testing.assert_array_equal(task.windows.target_prices, expected.target_prices)
            used = np.concatenate([task.training_rows, task.validation_rows])
            assert task.windows.target_sessions[used].max() <= np.datetime64(day)
    assert heard.num_results == reports[-1].num_networks == 3 * 2 * 2
    assert [r.trained_on for r in reports[-1].retrainings] == [day for day in days for _ in range(2)]


def test_the_workload_counts_the_networks_that_are_trained() -> None:
    windows = {"AAA": coin(420), "BBB": coin(500, "BBB")}
    planned = workload(windows, context(Heard()), num_retrainings=3, num_copies=2)
    assert planned.num_networks == newest(windows, 3, 2).num_networks == 3 * 2 * 2 * 2
    assert planned.seconds_per_network > 0


def test_a_placebo_does_not_depend_on_who_is_trained_beside_it() -> None:
    both = newest({"AAA": coin(420), "BBB": coin(500, "BBB")}, 2, 2)
    alone = newest({"AAA": coin(420)}, 2, 1)
    luck_of_others = {"false_discovery"}

    def of_aaa(report: RetrainingReport) -> list[set[str]]:
        return [set(r.failed) - luck_of_others for r in report.retrainings if (r.ticker, r.copy) == ("AAA", 0)]

    assert of_aaa(both) == of_aaa(alone)


def scripted(script: dict[int, tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the networks by forecasts whose right and wrong calls are given by the number of the retraining."""
    started: list[int] = []

    def rehearsed(plan: TrainingPlan, context: TrainingContext) -> Rehearsed:
        started.append(1)
        num_right, num_wrong = script[len(started)]
        reports: dict[str, list[FoldReport]] = {}
        for name, folds in plan.folds.items():
            reports[name] = [
                _fold(number, 252 * number, *(num // 2 for num in (num_right, num_wrong)))
                for number, _ in enumerate(folds, start=1)
            ]
        return Rehearsed(reports=reports, failures={})

    monkeypatch.setattr(retrainings, "rehearse", rehearsed)


def _fold(number: int, first: int, num_right: int, num_wrong: int) -> FoldReport:
    moves = np.where(np.arange(126) % 2, 0.01, -0.01)
    signs = np.concatenate([np.ones(num_right), -np.ones(num_wrong), np.zeros(126 - num_right - num_wrong)])
    close = np.full(126, 100.0)

    def prices(returns: np.ndarray) -> np.ndarray:
        return np.stack([close * (1 + returns)] * 3, axis=1)

    return FoldReport(
        fold=number,
        train_cutoff=exchange_calendar().days[0].item(),
        num_training_rows=300,
        num_validation_rows=30,
        num_epochs=1,
        validation_loss=0.1,
        sessions=np.datetime64("2020-01-01") + first + np.arange(126),
        close=close,
        volatility=np.full(126, 0.01),
        predictions=prices(0.002 * signs * np.sign(moves)),
        actuals=prices(moves),
    )


def test_each_gate_decides_beside_the_active_models_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    # Right and wrong calls of 252: refused by the calls alone; promoted; worse; as good; better.
    scripted({1: (2, 0), 2: (120, 80), 3: (110, 80), 4: (120, 80), 5: (130, 80)}, monkeypatch)
    report = newest({"AAA": coin(420)}, 5, 1)
    promoted = [r.promoted_by for r in report.retrainings]
    assert [FOUR_RULES in by for by in promoted] == [True, True, True, True, True]
    assert [PLAIN in by for by in promoted] == [False, True, False, False, True]
    assert [PLAIN in r.lost_to_active for r in report.retrainings] == [False, False, True, True, False]
    assert not any(FOUR_RULES in r.lost_to_active for r in report.retrainings)
    four, plain, strict = report.gates
    assert [tally.gate for tally in report.gates] == [FOUR_RULES, PLAIN, STRICT]
    assert (four.num_active, four.num_promotions, four.num_replacements) == (1, 5, 4)
    assert (plain.num_active, plain.num_promotions, plain.num_replacements) == (1, 2, 1)
    assert plain.refused_by_rule["directional_calls"] == 1
    assert plain.refused_by_rule["not_worse_than_active"] == 2
    assert set(four.refused_by_rule) == set(SPECIFIED)
    assert plain.active_interval == wilson_interval(1.0, 1)
    assert report.active_by_ticker == {"AAA": {FOUR_RULES: 1, PLAIN: 1, STRICT: strict.num_active}}


def test_the_counts_are_those_of_the_single_retrainings() -> None:
    report = newest({"AAA": coin(420), "BBB": coin(500, "BBB")}, 3, 2)
    assert len(report.retrainings) == 3 * 2 * 2
    for tally in report.gates:
        promoted = [(r.ticker, r.copy) for r in report.retrainings if tally.gate in r.promoted_by]
        assert tally.num_promotions == len(promoted)
        assert tally.num_active == len(set(promoted))
        assert tally.num_replacements == len(promoted) - len(set(promoted))
        assert tally.num_models == 4
    failed = Counter(rule for r in report.retrainings for rule in r.failed)
    strict = report.gates[-1]
    assert {
        rule: num for rule, num in strict.refused_by_rule.items() if num and rule != "not_worse_than_active"
    } == failed
    assert dataclasses.asdict(report) == report.as_dict()


def test_a_retraining_that_cannot_be_trained_is_named_and_the_others_count() -> None:
    hopeless = SETTINGS.replace(training=SETTINGS.training.replace(learning_rate=1e30))
    *_, report = run_retrainings(
        {"AAA": coin(420)},
        lambda: TrainingContext(settings=hopeless, device="cpu"),
        num_retrainings=2,
        num_copies=1,
        seed=0,
    )
    assert list(report.untrained) == ["AAA~0"]
    assert (report.retrainings, report.gates[0].num_models, report.gates[0].active_interval) == ((), 0, None)
