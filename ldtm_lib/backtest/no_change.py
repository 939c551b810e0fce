"""The forecast that nothing changes: what every network has to beat before it has learnt anything."""

import numpy as np

from ldtm_lib.features.scaling import scale_prices
from ldtm_lib.features.window_set import Rows, WindowSet


def no_change_loss(windows: WindowSet, rows: Rows) -> float | None:
    """The loss of forecasting each window's own close at all three horizons, on the scale of the networks' losses.

    Mean squared error over rows and horizons in normalised space; None for no rows.
    """
    if not len(rows):
        return None
    close = scale_prices(windows.close[rows, None], windows.close_min[rows], windows.close_max[rows])
    return float(np.mean((windows.targets[rows].astype(np.float64) - close) ** 2))
