"""Leaks of a split, counted: none in what the planner cuts, and every planted one."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ldtm_lib.backtest.folds import plan_final, plan_folds
from ldtm_lib.backtest.leakage import LABEL_OVER_THE_BOUNDARY, SEEN_WINDOW, SHUFFLED_SPLIT, split_leaks
from ldtm_lib.backtest.walk_forward import tasks_of
from ldtm_lib.features.window_set import Rows, WindowSet
from ldtm_lib.models.fit import FitTask
from ldtm_lib.settings import BacktestConfig, TrainingConfig
from tests.unit.backtest.window_sets import random_windows

WINDOWS = random_windows(300, missing={100, 101, 170})
TRAINING = TrainingConfig(min_training_rows=40)
BACKTEST = BacktestConfig(num_folds=3, test_sessions=40)
ROWS = np.arange(len(WINDOWS))


def task_of(training: Rows, validation: Rows, windows: WindowSet = WINDOWS) -> FitTask:
    return FitTask(ticker=windows.ticker, fold=1, windows=windows, training_rows=training, validation_rows=validation)


def plain_leaks(task: FitTask, test_rows: Rows) -> dict[str, int]:
    """The same counts, one row at a time."""
    sessions = task.windows.sessions.tolist()
    labels = [max(days) for days in task.windows.target_sessions.tolist()]
    training, validation, tests = task.training_rows.tolist(), task.validation_rows.tolist(), test_rows.tolist()
    later = {"training": [*validation, *tests], "validation": tests}
    over = sum(any(labels[row] >= sessions[other] for other in later["training"]) for row in training)
    over += sum(any(labels[row] >= sessions[other] for other in later["validation"]) for row in validation)
    shuffled = sum(any(sessions[row] <= sessions[other] for other in training) for row in validation)
    shuffled += sum(any(sessions[row] <= sessions[other] for other in training + validation) for row in tests)
    seen = sum(row in training for row in validation) + sum(row in training + validation for row in tests)
    counts = {LABEL_OVER_THE_BOUNDARY: over, SHUFFLED_SPLIT: shuffled, SEEN_WINDOW: seen}
    return {kind: count for kind, count in counts.items() if count}


def test_what_the_planner_cuts_has_no_leak() -> None:
    folds = plan_folds(WINDOWS, BACKTEST, TRAINING)
    tasks = tasks_of(WINDOWS, folds, plan_final(WINDOWS, TRAINING))
    assert len(tasks) == 4
    for task, test_rows in zip(tasks, [*(fold.test_rows for fold in folds), None], strict=True):
        assert split_leaks(task, test_rows) == {}


@given(
    drawn=st.tuples(*(st.lists(st.integers(0, 80), max_size=6) for _ in range(3))),
    apart=st.integers(0, 60),
)
@hypothesis_settings(max_examples=200)
def test_the_counts_are_those_of_a_plain_loop(drawn: tuple[list[int], list[int], list[int]], apart: int) -> None:
    """Any rows in any order, from splits that overlap to splits that keep their distance."""
    training, validation, tests = (np.array(rows, dtype=np.int64) + n * apart for n, rows in enumerate(drawn))
    task = task_of(training, validation)
    assert split_leaks(task, tests) == plain_leaks(task, tests)


@pytest.mark.parametrize("fold", [0, 1, 2])
def test_a_purge_that_stops_one_row_too_late_is_counted(fold: int) -> None:
    windows = random_windows(300)
    plan = plan_folds(windows, BACKTEST, TRAINING)[fold]
    (task,) = tasks_of(windows, [plan], None)
    one_more = np.append(task.training_rows, task.training_rows[-1] + 1)
    assert split_leaks(replace(task, training_rows=one_more), plan.test_rows) == {LABEL_OVER_THE_BOUNDARY: 1}
    one_more = np.append(task.validation_rows, task.validation_rows[-1] + 1)
    assert split_leaks(replace(task, validation_rows=one_more), plan.test_rows) == {LABEL_OVER_THE_BOUNDARY: 1}


def test_a_split_without_a_purge_counts_every_row_within_a_month_of_the_boundary() -> None:
    task = task_of(ROWS[200:230], ROWS[230:240])
    assert split_leaks(task, None) == {LABEL_OVER_THE_BOUNDARY: 21}
    assert split_leaks(task, ROWS[261:270]) == {LABEL_OVER_THE_BOUNDARY: 21}
    assert split_leaks(task, ROWS[260:270]) == {LABEL_OVER_THE_BOUNDARY: 22}


def test_a_shuffled_split_is_counted_although_no_window_is_in_both_parts() -> None:
    shuffled = np.random.default_rng(0).permutation(200)
    task = task_of(shuffled[:180], shuffled[180:])
    leaks = split_leaks(task, None)
    assert leaks[SHUFFLED_SPLIT] == np.count_nonzero(task.validation_rows < task.training_rows.max())
    assert leaks[SHUFFLED_SPLIT] >= 19
    assert SEEN_WINDOW not in leaks


def test_a_window_that_was_learned_from_and_is_tested_on_is_counted_by_its_session() -> None:
    clean = task_of(ROWS[:100], ROWS[130:140])
    tests = ROWS[170:180]
    assert split_leaks(clean, tests) == {}
    # A test row that was trained on reaches over both boundaries, and stands before the whole of validation.
    learned = replace(clean, training_rows=np.append(clean.training_rows, 172))
    assert split_leaks(learned, tests) == {LABEL_OVER_THE_BOUNDARY: 1, SHUFFLED_SPLIT: 10 + 3, SEEN_WINDOW: 1}
    watched = replace(clean, validation_rows=np.append(clean.validation_rows, 170))
    assert split_leaks(watched, tests) == {LABEL_OVER_THE_BOUNDARY: 1, SHUFFLED_SPLIT: 1, SEEN_WINDOW: 1}


def test_windows_out_of_order_are_told_by_their_sessions_and_not_by_their_rows() -> None:
    turned = replace(WINDOWS, sessions=WINDOWS.sessions[::-1], target_sessions=WINDOWS.target_sessions[::-1])
    task = task_of(ROWS[:100], ROWS[130:140], turned)
    assert split_leaks(task, ROWS[170:180])[SHUFFLED_SPLIT] == 20
