"""The Wilson interval of a share of successes, which stays valid for few trials and for shares near 0 and 1."""

import math
from dataclasses import dataclass

Z_95 = 1.959963984540054
"""The 97.5% point of the normal distribution: both ends of a 95% interval leave 2.5% outside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """The two ends of an interval, both within it."""

    low: float
    high: float


def wilson_interval(share: float, trials: float, z: float = Z_95) -> Interval:
    """The 95% interval of a share that was seen in a number of trials, which must be above 0.

    `z` is the 97.5% point of another distribution if the normal one is too narrow. Trials need not be a whole number:
    for forecasts that overlap, give their effective number. E. B. Wilson, "Probable inference, the law of succession,
    and statistical inference", J. American Statistical Association 22, 1927. With the default `z`, the leaderboard's
    `wilson_low` and `wilson_high` in SQL are the same.
    """
    shrunk = 1 + z**2 / trials
    centre = (share + z**2 / (2 * trials)) / shrunk
    reach = z / shrunk * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    low = 0.0 if share == 0 else max(0.0, centre - reach)
    high = 1.0 if share == 1 else min(1.0, centre + reach)
    return Interval(low=low, high=high)
