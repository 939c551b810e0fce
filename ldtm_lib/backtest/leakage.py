"""Leaking rows of a training, counted from the data that the trainer was actually given.

No code is shared with the module that plans folds: a check that uses the code it checks would repeat its errors.
"""

import numpy as np

from ldtm_lib.features.scaling import Booleans
from ldtm_lib.features.window_set import Rows, WindowSet
from ldtm_lib.models.fit import FitTask
from ldtm_lib.sessions import Sessions

LABEL_OVER_THE_BOUNDARY = "label over the boundary"
SHUFFLED_SPLIT = "shuffled split"
SEEN_WINDOW = "seen window"


def split_leaks(task: FitTask, test_rows: Rows | None) -> dict[str, int]:
    """The rows of a split that leak, by kind; a kind without any is left out.

    - "label over the boundary": training rows with a label from the first validation session or later, and training and
      validation rows with one from the first test session or later. From such a row a network learns the price of a day
      on which it is then validated or tested.
    - "shuffled split": validation rows not after every training row, and test rows not after every training and
      validation row, by session.
    - "seen window": validation rows whose session is a training row's too, and test rows whose session is a training
      or validation row's.

    A row counts once within a kind, and in every kind that it falls under. `test_rows` is None for a network that is
    not tested. Test rows at or before the furthest label of training are counted by `FoldReport.num_leakage_rows`.
    """
    windows = task.windows
    training, validation = windows.sessions[task.training_rows], windows.sessions[task.validation_rows]
    tests = windows.sessions[np.empty(0, dtype=np.int64) if test_rows is None else test_rows]
    learned = np.concatenate([training, validation])
    last_labels = [_last_labels(windows, rows) for rows in (task.training_rows, task.validation_rows)]
    over = np.concatenate(
        [_reaches(last_labels[0], validation) | _reaches(last_labels[0], tests), _reaches(last_labels[1], tests)]
    )
    counts = {
        LABEL_OVER_THE_BOUNDARY: np.count_nonzero(over),
        SHUFFLED_SPLIT: _num_not_after(validation, training) + _num_not_after(tests, learned),
        SEEN_WINDOW: np.count_nonzero(np.isin(validation, training)) + np.count_nonzero(np.isin(tests, learned)),
    }
    return {kind: int(num_rows) for kind, num_rows in counts.items() if num_rows}


def _last_labels(windows: WindowSet, rows: Rows) -> Sessions:
    """The latest of the three label sessions of each row."""
    labels = windows.target_sessions[rows]
    return np.maximum(np.maximum(labels[:, 0], labels[:, 1]), labels[:, 2])


def _reaches(labels: Sessions, later: Sessions) -> Booleans:
    """True for each label session that is not before the first of some later sessions."""
    return labels >= later.min() if len(later) else np.zeros(len(labels), dtype=bool)


def _num_not_after(later: Sessions, earlier: Sessions) -> int:
    return int(np.count_nonzero(later <= earlier.max())) if len(earlier) else 0
