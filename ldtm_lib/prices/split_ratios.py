"""Split ratios: the possible ones, and those among them that prices before and after a split allow.

A split ratio is a ratio of small whole numbers and is exact up to the rounding of the prices. A factor that is only
near such a ratio is something else: a spin-off or a special dividend.
"""

from collections.abc import Iterable
from math import gcd

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

COMMON_RATIOS = (2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 50, 3 / 2, 4 / 3, 5 / 4)
"""Ratios, with their inverses, at which a jump of prices is a suspected split; others resemble a bad day."""
MOST_WHOLE = 1000
"""Largest whole number of new shares for one old share, or of old shares for one new share, in a split ratio."""
MOST_NEW, MOST_OLD, LEAST_FRACTION = 10, 5, 6 / 5
"""Bounds of other ratios: at most 10 new and 5 old shares, and at least 6 for 5. Dividends move prices by less."""
LARGEST_MOVE = 1.5
"""A move of prices, either way, that ordinary trading can cause; a larger one may be a split."""
SAME_RATIO = 1e-4
"""Largest relative difference between two declarations of one ratio: sources round 4 for 3."""
FLOAT_NOISE = 1e-6
"""Relative error of a price that was computed: vendors keep factors of six digits or more."""
WIDEST = 0.03
"""Largest relative distance between the bounds of a ratio: wider bounds allow a spin-off as well as a split."""
FEWEST_DECIMALS, MOST_DECIMALS = 2, 6


def _both_ways(ratios: Iterable[float]) -> Floats:
    ratios = tuple(ratios)
    return np.unique(np.array([*ratios, *(1 / ratio for ratio in ratios)]))


_FRACTIONS = [
    new / old
    for old in range(2, MOST_OLD + 1)
    for new in range(old + 1, MOST_NEW + 1)
    if gcd(new, old) == 1 and new / old >= LEAST_FRACTION
]
SUSPECTED_RATIOS = _both_ways(COMMON_RATIOS)
SPLIT_RATIOS = _both_ways([*range(2, MOST_WHOLE + 1), *_FRACTIONS])
"""The ratios that may be inferred, sorted; any other has to be declared."""


def suspected_ratio(ratio: float, tolerance: float) -> float | None:
    """The common split ratio within a relative tolerance of a measured one, or None."""
    if not np.isfinite(ratio) or ratio <= 0:
        return None
    nearest = float(SUSPECTED_RATIOS[np.argmin(np.abs(np.log(SUSPECTED_RATIOS / ratio)))])
    return nearest if abs(ratio / nearest - 1) <= tolerance else None


def is_large_move(ratio: float) -> bool:
    """True if a move by a ratio, either way, is larger than ordinary trading causes."""
    return not 1 / LARGEST_MOVE < ratio < LARGEST_MOVE


def is_same_ratio(one: float, other: float, tolerance: float) -> bool:
    """True if two ratios are equal up to a relative tolerance."""
    return abs(one / other - 1) <= tolerance


def rounding_of(prices: Floats) -> Floats:
    """Largest error of each price, of any shape: half of its last decimal, and float noise.

    All prices count as rounded to the decimals of the longest one, at least two. If it has more than six, they count as
    not rounded: only the float noise is left.
    """
    for decimals in range(FEWEST_DECIMALS, MOST_DECIMALS + 1):
        unit = 10.0**-decimals
        if bool((np.abs(prices - np.round(prices, decimals)) <= FLOAT_NOISE * unit + 4e-16 * np.abs(prices)).all()):
            return FLOAT_NOISE * np.abs(prices) + unit / 2
    return FLOAT_NOISE * np.abs(prices)


def ratio_bounds(old: Floats, new: Floats, rounding_old: Floats, rounding_new: Floats) -> tuple[Floats, Floats]:
    """The least and the greatest ratio of old over new prices that their rounding allows, price by price."""
    with np.errstate(divide="ignore"):
        greatest = (old + rounding_old) / np.maximum(new - rounding_new, 0)
    return np.maximum(old - rounding_old, 0) / (new + rounding_new), greatest


def fitting_ratios(least: float, greatest: float) -> Floats:
    """The split ratios between two bounds, both included."""
    return SPLIT_RATIOS[np.searchsorted(SPLIT_RATIOS, least, "left") : np.searchsorted(SPLIT_RATIOS, greatest, "right")]


def only_ratio(least: float, greatest: float) -> float | None:
    """The split ratio between two bounds, if there is only one and the bounds are close enough to determine it."""
    ratios = fitting_ratios(least, greatest)
    return float(ratios[0]) if len(ratios) == 1 and greatest <= least * (1 + WIDEST) else None
