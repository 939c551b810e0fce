"""The purge, against a plain reading of every session that every row touches."""

import itertools
import math
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ldtm_lib.backtest.folds import FoldPlan, furthest_session, plan_final, plan_folds
from ldtm_lib.errors import TooFewBars
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.settings import BacktestConfig, TrainingConfig
from tests.unit.backtest.window_sets import CALENDAR, random_windows


def sessions_read(windows: WindowSet, row: int) -> set[date]:
    """Every session that one row reads: its window's bars and its labels."""
    end = windows.ends[row]
    own = windows.bar_sessions[end - windows.window_sessions + 1 : end + 1].tolist()
    return {*own, *windows.target_sessions[row].tolist()}


@st.composite
def plans(draw: st.DrawFn) -> tuple[WindowSet, BacktestConfig, TrainingConfig, list[FoldPlan]]:
    num_sessions = draw(st.integers(60, 500))
    missing = draw(st.sets(st.integers(0, num_sessions - 1), max_size=6))
    windows = random_windows(num_sessions, missing=missing, first=draw(st.integers(0, 8000)))
    backtest = BacktestConfig(
        num_folds=draw(st.integers(1, 6)),
        test_sessions=draw(st.integers(1, 80)),
        embargo_sessions=draw(st.sampled_from([0, 0, 1, 7, 30])),
    )
    training = TrainingConfig(
        validation_fraction=draw(st.floats(0.01, 0.6)), min_training_rows=draw(st.sampled_from([1, 5, 100]))
    )
    return windows, backtest, training, plan_folds(windows, backtest, training)


@given(plans())
@hypothesis_settings(max_examples=150)
def test_no_training_or_validation_row_reads_a_session_at_or_after_the_first_test_session(
    drawn: tuple[WindowSet, BacktestConfig, TrainingConfig, list[FoldPlan]],
) -> None:
    windows, backtest, _, folds = drawn
    for plan in folds:
        first_test_session = windows.sessions[plan.test_rows[0]].item()
        past = set().union(*(sessions_read(windows, r) for r in [*plan.training_rows, *plan.validation_rows]))
        assert max(past) < first_test_session
        assert max(past) == furthest_session(windows, plan.training_rows, plan.validation_rows)
        num_between = len(CALENDAR.between(max(past), first_test_session)) - 2
        assert num_between >= backtest.embargo_sessions


@given(plans())
def test_no_training_row_reads_a_session_at_or_after_the_first_validation_session(
    drawn: tuple[WindowSet, BacktestConfig, TrainingConfig, list[FoldPlan]],
) -> None:
    windows, _, _, folds = drawn
    for plan in folds:
        first_validation_session = windows.sessions[plan.validation_rows[0]].item()
        assert max(max(sessions_read(windows, row)) for row in plan.training_rows) < first_validation_session


@given(plans())
def test_the_purge_takes_no_row_more_than_it_must(
    drawn: tuple[WindowSet, BacktestConfig, TrainingConfig, list[FoldPlan]],
) -> None:
    windows, backtest, training, folds = drawn
    labelled = [row for row in range(len(windows)) if windows.labelled[row]]
    for plan in folds:
        end_of_first_test = windows.ends[plan.test_rows[0]]
        limit = windows.bar_sessions[end_of_first_test - backtest.embargo_sessions].item()
        pool = [row for row in labelled if max(sessions_read(windows, row)) < limit]
        num_validation = math.ceil(len(pool) * training.validation_fraction)
        assert plan.validation_rows.tolist() == pool[-num_validation:]
        first_validation = windows.sessions[pool[-num_validation]].item()
        older = pool[:-num_validation]
        assert plan.training_rows.tolist() == [r for r in older if max(sessions_read(windows, r)) < first_validation]


@given(plans())
def test_folds_are_consecutive_expanding_and_end_at_the_newest_labelled_session(
    drawn: tuple[WindowSet, BacktestConfig, TrainingConfig, list[FoldPlan]],
) -> None:
    windows, backtest, training, folds = drawn
    assert len(folds) <= backtest.num_folds
    assert [plan.fold for plan in folds] == list(range(1, len(folds) + 1))
    labelled = np.flatnonzero(windows.labelled)
    tested = np.concatenate([np.empty(0, dtype=np.int64), *(plan.test_rows for plan in folds)])
    assert tested.tolist() == labelled[len(labelled) - len(tested) :].tolist()
    for plan in folds:
        assert len(plan.test_rows) == backtest.test_sessions
        assert len(plan.training_rows) >= training.min_training_rows
    for older, newer in itertools.pairwise(folds):
        assert set(older.training_rows.tolist()) <= set(newer.training_rows.tolist())


def test_a_whole_history_gives_all_folds_and_a_short_one_fewer_down_to_none() -> None:
    backtest, training = BacktestConfig(num_folds=4, test_sessions=50), TrainingConfig(min_training_rows=100)
    counts = [len(plan_folds(random_windows(n), backtest, training)) for n in (600, 300, 250, 200, 60, 10)]
    assert counts == [4, 2, 1, 0, 0, 0]


def test_twenty_one_sessions_are_lost_to_the_purge_before_each_cut() -> None:
    windows = random_windows(500)
    (plan,) = plan_folds(windows, BacktestConfig(num_folds=1, test_sessions=100), TrainingConfig(min_training_rows=1))
    # The label one month ahead is the 21st session after a row: 21 rows before the test reach into it.
    assert plan.test_rows[0] - plan.validation_rows[-1] == 22
    assert plan.validation_rows[0] - plan.training_rows[-1] == 22


def test_the_final_model_reads_every_labelled_window_but_the_purged_ones() -> None:
    windows = random_windows(500)
    split = plan_final(windows, TrainingConfig(validation_fraction=0.1, min_training_rows=252))
    labelled = np.flatnonzero(windows.labelled)
    assert split.validation_rows[-1] == labelled[-1]
    assert len(split.validation_rows) == math.ceil(0.1 * len(labelled))
    assert len(split.training_rows) == len(labelled) - len(split.validation_rows) - 21
    assert windows.target_sessions[split.training_rows].max() < windows.sessions[split.validation_rows[0]]


# 196 bars: 19 warm up and 4 more fill a window, the last 21 have no label: 152 rows, 16 of them for validation,
# and 21 reach into those.
@pytest.mark.parametrize(("num_sessions", "num_rows"), [(10, 0), (196, 152 - 16 - 21)])
def test_a_short_history_is_refused_with_its_ticker_its_rows_and_what_is_needed(
    num_sessions: int, num_rows: int
) -> None:
    windows = random_windows(num_sessions)
    message = f"XYZ has {num_sessions} bars, which make {num_rows} training rows; 252 are needed"
    with pytest.raises(TooFewBars, match=message):
        plan_final(windows, TrainingConfig())
