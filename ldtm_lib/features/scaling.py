"""Min-max scaling over single windows, and the sliding minimum and maximum that it needs.

Axes: S bars, W windows, F inputs, n chosen windows.
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Float32s = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

Number = TypeVar("Number", np.float32, np.float64, np.bool_)


def sliding(reduce: np.ufunc, values: npt.NDArray[Number], width: int) -> npt.NDArray[Number]:
    """A minimum, maximum or conjunction over every `width` consecutive rows: (S, ...) to (S - width + 1, ...).

    `reduce` must give the same result if a value is counted twice. Each pass at most doubles the rows covered, so 30
    rows take five passes over the array rather than thirty.
    """
    if len(values) < width:
        return values[:0]
    covered = 1
    while covered < width:
        step = min(covered, width - covered)
        values = reduce(values[:-step], values[step:])
        covered += step
    return values


def spans(low: Float32s, high: Float32s) -> Float32s:
    """The range of each column; 0 where it is no more than the rounding error of float32.

    An indicator that has not moved differs by one unit in the last place when its float64 values, equal to within
    1e-15, are rounded to two different float32 values; scaling would stretch this to the whole range of 0 to 1.
    """
    rounding = np.finfo(np.float32).eps * np.maximum(np.abs(low), np.abs(high))
    return np.where(high - low > rounding, high - low, np.float32(0))


def scale(windows: Float32s, low: Float32s, span: Float32s) -> Float32s:
    """Scale windows (n, 30, F) to 0..1 in place, by low and span (n, F); a column without range becomes 0."""
    divisor = np.where(span > 0, span, np.float32(np.inf))
    np.subtract(windows, low[:, None, :], out=windows)
    return np.divide(windows, divisor[:, None, :], out=windows)


def scale_prices(prices: Float64s, close_min: Float64s, close_max: Float64s) -> Float64s:
    """Prices (n, 3) above the lowest close, in units of their windows' close ranges (n,), or unscaled without range."""
    return (prices - close_min[:, None]) / _price_span(close_min, close_max)[:, None]


def unscale_prices(scaled: npt.NDArray[np.floating], close_min: Float64s, close_max: Float64s) -> Float64s:
    """The inverse of scale_prices: predictions (n, 3) as prices, float64."""
    return close_min[:, None] + scaled.astype(np.float64) * _price_span(close_min, close_max)[:, None]


def _price_span(close_min: Float64s, close_max: Float64s) -> Float64s:
    return np.where(close_max > close_min, close_max - close_min, 1.0)
