"""Forecasts of the baselines, from stored windows and fitted parameters alone, for all rows at once.

Axes: N rows, T sessions of a window, I inputs, F inputs of a flattened window, H horizons.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ldtm_lib.baselines.fit import FittedBaselines
from ldtm_lib.features.inputs import CLOSE
from ldtm_lib.features.scaling import Float32s, Float64s, Integers, scale_prices, unscale_prices

Baseline = Literal["drift", "ar1", "ridge"]
BASELINES: tuple[Baseline, ...] = ("drift", "ar1", "ridge")
"""The baselines that forecast a price and have parameters. Forecasting no change needs none."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BaselineRows:
    """The rows to forecast: their windows as a network reads them, and the distances of their targets."""

    inputs_NTI: Float32s
    """Scaled inputs."""
    close_N: Float64s
    close_min_N: Float64s
    close_max_N: Float64s
    num_sessions_NH: Integers
    """Number of sessions from the run date to each target session, at least 1."""


def forecast_baselines(fitted: Sequence[FittedBaselines], rows: BaselineRows) -> dict[Baseline, Float64s]:
    """Prices (N, H) by baseline. `fitted` has one entry per row, or a single one for all rows.

    All windows must have the size that the ridge regressions were fitted on.
    """
    drift_M = np.array([each.drift for each in fitted])
    return {
        "drift": rows.close_N[:, None] * np.exp(rows.num_sessions_NH * drift_M[:, None]),
        "ar1": _ar1(fitted, rows),
        "ridge": _ridge(fitted, rows),
    }


def _ar1(fitted: Sequence[FittedBaselines], rows: BaselineRows) -> Float64s:
    """Iterate the last daily log return to each target; the previous close comes from the scaled window."""
    intercept_M = np.array([each.ar1_intercept for each in fitted])
    slope_M = np.array([each.ar1_slope for each in fitted])
    before_N = unscale_prices(rows.inputs_NTI[:, -2, CLOSE][:, None], rows.close_min_N, rows.close_max_N)[:, 0]
    return_N = np.log(rows.close_N / before_N)
    longest = int(rows.num_sessions_NH.max(initial=0))
    sums_SN = np.zeros((longest + 1, len(return_N)))
    for session in range(1, longest + 1):
        return_N = intercept_M + slope_M * return_N
        sums_SN[session] = sums_SN[session - 1] + return_N
    return rows.close_N[:, None] * np.exp(sums_SN[rows.num_sessions_NH, np.arange(len(return_N))[:, None]])


def _ridge(fitted: Sequence[FittedBaselines], rows: BaselineRows) -> Float64s:
    """The last scaled close plus the predicted move, as prices."""
    coefficients_MFH = np.stack([each.ridge_coefficients for each in fitted])
    flat_N1F = rows.inputs_NTI.reshape(len(rows.inputs_NTI), 1, -1).astype(np.float64)
    moves_NH = (flat_N1F @ coefficients_MFH[:, :-1] + coefficients_MFH[:, -1:])[:, 0]
    last_NH = scale_prices(rows.close_N[:, None], rows.close_min_N, rows.close_max_N)
    return unscale_prices(last_NH + moves_NH, rows.close_min_N, rows.close_max_N)
