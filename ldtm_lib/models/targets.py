"""What networks are asked for while they learn: the scaled target prices, without moves that no ordinary window has.

A window whose closes hardly differ, such as that of a takeover target, has a tiny range: the first ordinary move after
it is a hundred ranges, and one such row would outweigh all others in a squared error.
"""

import numpy as np

from ldtm_lib.features.scaling import Float32s
from ldtm_lib.features.window_set import Rows, WindowSet
from ldtm_lib.sessions import ONE_MONTH_SESSIONS
from ldtm_lib.settings import TrainingConfig

LONGEST_SESSIONS = np.array([1, 5, ONE_MONTH_SESSIONS], dtype=np.float32)
"""The most sessions to the target of each horizon, in the order of HORIZONS."""


def learning_targets(windows: WindowSet, rows: Rows, recipe: TrainingConfig) -> Float32s:
    """The scaled targets (n, 3) of some windows, their moves from the last close held within bounds.

    The bound of a horizon is `max_target_move` times the square root of its sessions, in ranges of the window's closes.
    NaN where a target is not known.
    """
    bounds = np.float32(recipe.max_target_move) * np.sqrt(LONGEST_SESSIONS)
    last = windows.last_closes(rows)[:, None]
    return (last + np.clip(windows.targets[rows] - last, -bounds, bounds)).astype(np.float32)
