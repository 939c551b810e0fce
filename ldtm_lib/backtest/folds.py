"""Split of windows into training, validation and test rows, such that no part sees the sessions of a later part.

Every window ends in a session and has labels from later sessions. A row is *purged* if its furthest label session
reaches into the next part: the validation rows for training rows, the test sessions for both.
"""

import math
from dataclasses import dataclass
from datetime import date

import numpy as np

from ldtm_lib.errors import TooFewBars
from ldtm_lib.features.window_set import Rows, WindowSet
from ldtm_lib.sessions import Sessions
from ldtm_lib.settings import BacktestConfig, TrainingConfig


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowSplit:
    """The windows that the weights are fitted to, and the later ones that decide when training stops."""

    training_rows: Rows
    validation_rows: Rows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FoldPlan:
    """One fold of a walk-forward backtest: a network is fitted on the past and tested on the sessions after it."""

    fold: int
    """Counted from 1, oldest first."""
    training_rows: Rows
    validation_rows: Rows
    test_rows: Rows


def plan_folds(windows: WindowSet, backtest: BacktestConfig, training: TrainingConfig) -> list[FoldPlan]:
    """The folds that a ticker's history has room for, oldest first: at most `num_folds`, possibly none.

    The newest fold ends at the newest labelled session. Each fold tests `test_sessions` windows, and is fitted on all
    of the past that the purge leaves. Folds with fewer than `min_training_rows` training rows are left out.
    """
    labelled = np.flatnonzero(windows.labelled)
    newest_first: list[tuple[RowSplit, Rows]] = []
    for step in range(backtest.num_folds):
        stop = len(labelled) - step * backtest.test_sessions
        start = stop - backtest.test_sessions
        if start < 0:
            break
        test_rows = labelled[start:stop]
        split = _split(windows, _known_before(windows, test_rows[0], backtest.embargo_sessions), training)
        if len(split.training_rows) < training.min_training_rows:
            break
        newest_first.append((split, test_rows))
    return [
        FoldPlan(
            fold=fold,
            training_rows=split.training_rows,
            validation_rows=split.validation_rows,
            test_rows=test_rows,
        )
        for fold, (split, test_rows) in enumerate(reversed(newest_first), start=1)
    ]


def plan_final(windows: WindowSet, training: TrainingConfig) -> RowSplit:
    """The rows of the network that will forecast: all labelled windows, the newest of them for validation.

    Raises TooFewBars when the purge leaves fewer than `min_training_rows` training rows.
    """
    split = _split(windows, np.flatnonzero(windows.labelled), training)
    if len(split.training_rows) < training.min_training_rows:
        raise TooFewBars(
            f"{windows.ticker} has {len(windows.bar_sessions)} bars, which make {len(split.training_rows)} training "
            f"rows; {training.min_training_rows} are needed: load more history, or lower training.min_training_rows"
        )
    return split


def furthest_session(windows: WindowSet, *rows: Rows) -> date:
    """The last session that any of the given windows reads, labels included. At least one row must be given."""
    return _label_ends(windows)[np.concatenate(rows)].max().item()


def _split(windows: WindowSet, pool: Rows, training: TrainingConfig) -> RowSplit:
    """Take the newest rows of a pool for validation, and purge the older rows whose labels reach into them."""
    num_validation = math.ceil(len(pool) * training.validation_fraction)
    older, validation_rows = pool[: len(pool) - num_validation], pool[len(pool) - num_validation :]
    if not len(older):
        return RowSplit(training_rows=older, validation_rows=validation_rows)
    ends_before = _label_ends(windows)[older] < windows.sessions[validation_rows[0]]
    return RowSplit(training_rows=older[ends_before], validation_rows=validation_rows)


def _known_before(windows: WindowSet, first_test_row: int, embargo_sessions: int) -> Rows:
    """The labelled windows whose labels are all older than the session `embargo_sessions` before the first test row.

    The embargo counts sessions with a bar; where bars are missing it is longer, never shorter.
    """
    limit_row = windows.ends[first_test_row] - embargo_sessions
    if limit_row < 0:
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(windows.labelled & (_label_ends(windows) < windows.bar_sessions[limit_row]))


def _label_ends(windows: WindowSet) -> Sessions:
    return windows.target_sessions.max(axis=1)
