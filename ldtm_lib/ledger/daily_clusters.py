"""Intervals of figures pooled over tickers and days, with days as clusters: a market moves its tickers together.

A figure is a ratio of sums over days. Its standard error is that of a ratio estimator with whole days as clusters
(Cochran, "Sampling Techniques", 1977, 6.3): it assumes that days are independent, and nothing about the tickers of a
day.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from ldtm_lib.statistics.wilson import wilson_interval

CONFIDENCE = 0.95
MIN_DAYS = 5
"""With fewer days there is no interval: the variation between days cannot be estimated."""

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A pooled figure with the ends of its 95% interval, which are None where there are too few days for one."""

    value: float
    low: float | None
    high: float | None


def mean_of_days(total_G: Values, num_G: Values) -> Estimate | None:
    """The mean of values, given as totals (G,) and numbers (G,) per day; None without a value."""
    kept = num_G > 0
    if not kept.any():
        return None
    value = float(total_G[kept].sum() / num_G[kept].sum())
    if kept.sum() < MIN_DAYS:
        return Estimate(value=value, low=None, high=None)
    reach = t_quantile(int(kept.sum()) - 1) * _standard_error(value, total_G[kept], num_G[kept])
    return Estimate(value=value, low=value - reach, high=value + reach)


def share_of_days(num_right_G: Values, num_G: Values) -> Estimate | None:
    """The share of directions that were right, given as numbers (G,) per day; None without a direction.

    The interval is Wilson's for the effective number of directions: the number of independent directions that would be
    as uncertain (Kott and Carr, "Developing an estimation strategy for a pesticide data program", J. Official
    Statistics 13, 1997). It is at most the actual number. If all directions are right or all are wrong, days do not
    show how similar their tickers are, and it is the number of days.
    """
    estimate = mean_of_days(num_right_G, num_G)
    if estimate is None or estimate.low is None:
        return estimate
    kept = num_G > 0
    share, num_days, num_directions = estimate.value, int(kept.sum()), float(num_G.sum())
    variance = _standard_error(share, num_right_G[kept], num_G[kept]) ** 2
    if 0 < share < 1:
        effective = min(num_directions, share * (1 - share) / variance) if variance > 0 else num_directions
    else:
        effective = float(num_days)
    interval = wilson_interval(share, effective, t_quantile(num_days - 1))
    return Estimate(value=share, low=interval.low, high=interval.high)


def t_quantile(degrees: int) -> float:
    """The 97.5% point of Student's distribution, within 0.001 from 4 degrees of freedom on.

    Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.5.
    """
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return sum(term / degrees**power for power, term in enumerate(terms))


def _standard_error(value: float, total_G: Values, num_G: Values) -> float:
    num_days = len(num_G)
    squares = float(np.square(total_G - value * num_G).sum())
    return math.sqrt(num_days / (num_days - 1) * squares) / float(num_G.sum())
