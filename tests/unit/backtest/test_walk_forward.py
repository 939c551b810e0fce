"""What the gate reads about a fold."""

from dataclasses import replace
from datetime import date

import numpy as np

from ldtm_lib.backtest.folds import FoldPlan, RowSplit
from ldtm_lib.backtest.walk_forward import FoldReport, Prices, fold_report, tasks_of
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
        horizon_errors=(0.05, 0.1, 0.6),
        no_change_loss=0.27,
        no_change_errors=(0.06, 0.11, 0.64),
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
