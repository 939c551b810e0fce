"""What the gate reads about a fold."""

from datetime import date

import numpy as np

from ldtm_lib.backtest.folds import FoldPlan, RowSplit
from ldtm_lib.backtest.walk_forward import fold_report, tasks_of
from ldtm_lib.features.window_set import WindowSet


def small_windows() -> WindowSet:
    """Ten windows on ten consecutive days, each labelled one, two and three days ahead."""
    days = np.arange(np.datetime64("2026-03-01"), np.datetime64("2026-03-14"))
    close = np.arange(100.0, 113.0)
    ahead = np.arange(10)[:, None] + [1, 2, 3]
    ones = np.ones((10, 11), dtype=np.float32)
    return WindowSet(
        ticker="XYZ",
        window_sessions=1,
        inputs=np.ones((13, 11), dtype=np.float32),
        bar_sessions=days,
        ends=np.arange(10),
        sessions=days[:10],
        low=ones,
        span=ones,
        close=close[:10],
        close_min=close[:10],
        close_max=close[:10] + 1,
        target_sessions=days[ahead],
        target_prices=close[ahead],
        targets=ones[:, :3],
        labelled=np.ones(10, dtype=bool),
    )


def plan(training: list[int], validation: list[int], test: list[int]) -> FoldPlan:
    return FoldPlan(
        fold=1,
        training_rows=np.array(training),
        validation_rows=np.array(validation),
        test_rows=np.array(test),
        train_cutoff=date(1999, 1, 1),
    )


def test_a_report_pairs_forecasts_with_what_came() -> None:
    predictions = np.array([[108.5, 109.5, 110.5], [109.0, 110.0, 111.0]])
    report = fold_report(plan([0, 1], [3], [8, 9]), small_windows(), predictions, num_epochs=7, validation_loss=0.25)
    assert report.sessions.tolist() == [date(2026, 3, 9), date(2026, 3, 10)]
    assert report.close.tolist() == [108.0, 109.0]
    assert report.actuals.tolist() == [[109.0, 110.0, 111.0], [110.0, 111.0, 112.0]]
    assert report.predictions is predictions
    assert (report.num_training_rows, report.num_validation_rows, report.num_epochs) == (2, 1, 7)


def test_the_cutoff_is_that_of_the_rows_and_not_the_plans_word() -> None:
    report = fold_report(plan([0, 1], [3], [8]), small_windows(), np.ones((1, 3)), num_epochs=1, validation_loss=0.1)
    # Row 3 ends on 4 March and its furthest label is three days later.
    assert report.train_cutoff == date(2026, 3, 7)
    assert report.num_leakage_rows == 0


def test_test_rows_at_or_before_the_cutoff_are_counted_as_leakage() -> None:
    leaking = plan([0, 1], [5], [7, 8, 9])
    report = fold_report(leaking, small_windows(), np.ones((3, 3)), num_epochs=1, validation_loss=0.1)
    # Training read until 9 March; the tests on 8 and 9 March are not after it, the one on 10 March is.
    assert report.num_leakage_rows == 2


def test_tasks_are_the_folds_and_the_final_network() -> None:
    windows = small_windows()
    final = RowSplit(training_rows=np.array([0, 1, 2]), validation_rows=np.array([7]))
    tasks = tasks_of(windows, [plan([0], [3], [8])], final)
    assert [task.name for task in tasks] == ["XYZ fold 1", "XYZ final"]
    assert tasks[0].validation_rows.tolist() == [3]
    assert tasks[1].training_rows.tolist() == [0, 1, 2]
    assert tasks_of(windows, [], None) == []
