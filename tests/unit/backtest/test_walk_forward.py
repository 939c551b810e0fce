"""What the gate reads about a fold."""

import math
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldtm_lib.backtest.folds import FoldPlan, RowSplit
from ldtm_lib.backtest.walk_forward import FoldReport, Prices, fold_report, no_change_loss, tasks_of
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.gate.rules import SPECIFIED, judge
from ldtm_lib.models.fit import Fit, FitTask
from ldtm_lib.settings import ForecastConfig, GateConfig
from tests.unit.backtest.window_sets import small_windows


def plan(training: list[int], validation: list[int], test: list[int]) -> FoldPlan:
    return FoldPlan(
        fold=1,
        training_rows=np.array(training),
        validation_rows=np.array(validation),
        test_rows=np.array(test),
    )


def fitted(task: FitTask, *, num_epochs: int = 1) -> Fit:
    """A network of a task as the trainer hands it back; its weights do not matter here."""
    return Fit(
        task=task,
        state={},
        validation_loss=0.25,
        training_losses=(0.5,) * num_epochs,
        validation_losses=(0.25,) * num_epochs,
        num_epochs=num_epochs,
        best_epoch=1,
        duration_seconds=0.1,
        device="cpu",
    )


def reported(fold: FoldPlan, predictions: Prices, *, num_epochs: int = 1) -> FoldReport:
    """The report of a fold whose trainer was given what the plan says."""
    (task,) = tasks_of(small_windows(), [fold], None)
    return fold_report(fold, fitted(task, num_epochs=num_epochs), predictions)


def test_a_report_pairs_forecasts_with_what_came() -> None:
    predictions = np.array([[108.5, 109.5, 110.5], [109.0, 110.0, 111.0]])
    report = reported(plan([0, 1], [3], [8, 9]), predictions, num_epochs=7)
    assert report.sessions.tolist() == [date(2026, 3, 9), date(2026, 3, 10)]
    assert report.close.tolist() == [108.0, 109.0]
    assert report.actuals.tolist() == [[109.0, 110.0, 111.0], [110.0, 111.0, 112.0]]
    assert report.predictions is predictions
    assert (report.num_training_rows, report.num_validation_rows, report.num_epochs) == (2, 1, 7)


def test_the_cutoff_is_the_furthest_label_that_training_or_validation_read() -> None:
    report = reported(plan([0, 1], [3], [8]), np.ones((1, 3)))
    # Row 3 ends on 4 March and its furthest label is three days later.
    assert report.train_cutoff == date(2026, 3, 7)
    assert report.num_leakage_rows == 0


def test_test_rows_at_or_before_the_cutoff_are_counted_as_leakage() -> None:
    report = reported(plan([0, 1], [5], [7, 8, 9]), np.ones((3, 3)))
    # Training read until 9 March; the tests on 8 and 9 March are not after it, the one on 10 March is.
    assert report.num_leakage_rows == 2


def test_a_row_that_leaks_on_the_way_to_the_trainer_is_counted_and_refused_at_the_gate() -> None:
    windows = small_windows()
    clean = plan([0, 1], [5], [9])
    (task,) = tasks_of(windows, [clean], None)
    right = windows.target_prices[clean.test_rows]
    gate = GateConfig(min_folds=1)

    def failed(report: FoldReport) -> list[str]:
        """Of the rules that a single test row can meet."""
        verdict = judge([report], gate, ForecastConfig())
        return [rule.rule for rule in verdict.failures if rule.rule in SPECIFIED]

    assert failed(fold_report(clean, fitted(task), right)) == []
    # Row 6 ends on 7 March and its furthest label is 10 March, the test session; row 5 watches on 6 March.
    for planted, leaks in (
        (replace(task, training_rows=np.array([0, 1, 6])), {"label over the boundary": 1, "shuffled split": 1}),
        (replace(task, validation_rows=np.array([5, 6])), {"label over the boundary": 1}),
    ):
        report = fold_report(clean, fitted(planted), right)
        assert (report.train_cutoff, report.num_leakage_rows) == (date(2026, 3, 10), 1)
        assert report.leaks == leaks
        assert report.num_training_rows + report.num_validation_rows == 4
        assert failed(report) == ["leakage_rows"]


def test_a_leak_between_training_and_validation_is_counted_although_no_test_row_leaks() -> None:
    report = reported(plan([0, 1, 2], [4], [8, 9]), np.ones((2, 3)))
    # Row 1's furthest label is 5 March, the session of row 4; row 2's is the day after it.
    assert report.num_leakage_rows == 0
    assert report.leaks == {"label over the boundary": 2}


def test_a_report_without_leaks_names_no_kind() -> None:
    assert reported(plan([0], [4], [8, 9]), np.ones((2, 3))).leaks == {}


def test_tasks_are_the_folds_and_the_final_network() -> None:
    windows = small_windows()
    final = RowSplit(training_rows=np.array([0, 1, 2]), validation_rows=np.array([7]))
    tasks = tasks_of(windows, [plan([0], [3], [8])], final)
    assert [task.name for task in tasks] == ["XYZ fold 1", "XYZ final"]
    assert tasks[0].validation_rows.tolist() == [3]
    assert tasks[1].training_rows.tolist() == [0, 1, 2]
    assert tasks_of(windows, [], None) == []


def priced(closes: list[float], targets: list[list[float]], low: float, high: float) -> WindowSet:
    """Ten windows with these closes and target prices, scaled by one range."""
    prices = np.resize(np.array(targets), (10, 3))
    return replace(
        small_windows(),
        close=np.resize(np.array(closes), 10),
        close_min=np.full(10, low),
        close_max=np.full(10, high),
        target_prices=prices,
        targets=((prices - low) / (high - low)).astype(np.float32),
    )


def test_it_is_the_mean_square_of_the_moves_in_units_of_the_windows_range() -> None:
    windows = priced([100.0], [[101.0, 102.0, 104.0]], 90.0, 110.0)
    # Moves of 1, 2 and 4 in a range of 20; 1e-6 for targets in float32.
    assert no_change_loss(windows, np.array([2, 5])) == pytest.approx((1 + 4 + 16) / 3 / 400, rel=1e-6)


def test_prices_that_stay_have_no_loss() -> None:
    assert no_change_loss(priced([95.0], [[95.0] * 3], 90.0, 110.0), np.arange(10)) == pytest.approx(0, abs=1e-12)


def test_no_rows_have_none() -> None:
    assert no_change_loss(small_windows(), np.array([], dtype=np.int64)) is None


@given(factor=st.floats(0.01, 100))
def test_it_does_not_depend_on_the_unit_of_the_price(factor: float) -> None:
    """At 1e-4: targets are float32."""
    plain = priced([100.0, 97.0], [[101.0, 99.0, 120.0]], 90.0, 110.0)
    other = priced(
        [100.0 * factor, 97.0 * factor], [[101.0 * factor, 99.0 * factor, 120.0 * factor]], 90 * factor, 110 * factor
    )
    rows = np.arange(10)
    assert math.isclose(no_change_loss(plain, rows) or 0, no_change_loss(other, rows) or 1, rel_tol=1e-4)
