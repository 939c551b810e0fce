"""Called and actual directions, and the part of their agreement that luck explains."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy.special import bdtrc  # pyright: ignore[reportMissingTypeStubs]

Prices = npt.NDArray[np.float64]
MIN_EXPECTED = 5
"""Fewest days expected of each of the four combinations of call and outcome with which a normal approximation holds
(W. G. Cochran, "Some methods for strengthening the common chi-squared tests", Biometrics 10, 1954)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calls:
    """The forecasts that named a direction, each with the actual direction.

    A neutral forecast abstains and is not among them; an unchanged price makes any direction wrong.
    """

    directional: npt.NDArray[np.bool_]
    """(n,) mask of the forecasts that named a direction; the other fields hold those alone."""
    up: npt.NDArray[np.bool_]
    """(m,) true if a rise was called, false if a fall."""
    rose: npt.NDArray[np.bool_]
    """(m,) true if the price rose."""
    fell: npt.NDArray[np.bool_]
    """(m,) true if the price fell."""

    @property
    def num_directional(self) -> int:
        """Number of forecasts that named a direction."""
        return len(self.up)

    @property
    def num_correct(self) -> int:
        """Number of them that were right."""
        return int(np.count_nonzero(np.where(self.up, self.rose, self.fell)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Result of a test of whether calls and outcomes agree more than their frequencies alone explain."""

    statistic: float | None
    """Statistic of Pesaran and Timmermann, standard normal without skill; None where it is not defined."""
    p: float
    """One-sided: the chance of as much agreement or more without any skill."""


def calls_of(close: Prices, predicted: Prices, actual: Prices, neutral_bands: Prices) -> Calls:
    """The calls of forecasts from closes; `neutral_bands` are the returns, as fractions, within which none is made.

    All arrays have shape (n,).
    """
    expected = predicted / close - 1
    directional = np.abs(expected) > neutral_bands
    moves = (actual - close)[directional]
    return Calls(directional=directional, up=expected[directional] > 0, rose=moves > 0, fell=moves < 0)


def timing(calls: Calls) -> Timing:
    """The test of Pesaran and Timmermann, in which calls that are right because the market mostly rises gain nothing.

    "A simple nonparametric test of predictive performance", J. Business and Economic Statistics 10, 1992. Days with an
    unchanged price, on which every call is wrong, show nothing about timing and are left out. Their statistic (P - P*)
    / sqrt(V(P) - V(P*)) is n / sqrt(n - 1) times the correlation of calls and outcomes, which is computed here. It is
    undefined, and p is 1, if only one direction was called or occurred. If fewer than `MIN_EXPECTED` days are expected
    of a combination, p is at least that of Fisher's exact test.
    """
    moved = calls.rose | calls.fell
    up, rose = calls.up[moved], calls.rose[moved]
    num_days, num_up, num_rises = len(up), int(np.count_nonzero(up)), int(np.count_nonzero(rose))
    spread = num_up * (num_days - num_up) * num_rises * (num_days - num_rises)
    if not spread:
        return Timing(statistic=None, p=1.0)
    num_both = int(np.count_nonzero(up & rose))
    correlation = (num_days * num_both - num_up * num_rises) / math.sqrt(spread)
    statistic = num_days / math.sqrt(num_days - 1) * correlation
    p = NormalDist().cdf(-statistic)
    fewest = min(num_up, num_days - num_up) * min(num_rises, num_days - num_rises) / num_days
    if fewest < MIN_EXPECTED:
        p = max(p, _as_many_by_chance(num_days, num_up, num_rises, num_both))
    return Timing(statistic=statistic, p=p)


def coin_reaches(num_correct: int, num_directional: int) -> float:
    """The exact chance that a fair coin is right in at least `num_correct` of `num_directional` calls."""
    if num_correct <= 0:
        return 1.0
    return float(bdtrc(num_correct - 1, num_directional, 0.5))


def coin_passes(num_directional: int, min_accuracy: float) -> float:
    """The exact chance that a fair coin with `num_directional` calls meets a bound on accuracy; 0 without a call."""
    if not num_directional:
        return 0.0
    return coin_reaches(fewest_correct(num_directional, min_accuracy), num_directional)


def fewest_correct(num_directional: int, min_accuracy: float) -> int:
    """The fewest right calls whose share of `num_directional` (at least 1) meets a bound; one more than all if none do.

    Shares are compared as the gate compares them, because 0.56 * 25 is 14.000000000000002 in floating point.
    """
    fewest = max(0, min(num_directional + 1, math.ceil(min_accuracy * num_directional)))
    while fewest > 0 and (fewest - 1) / num_directional >= min_accuracy:
        fewest -= 1
    while fewest <= num_directional and fewest / num_directional < min_accuracy:
        fewest += 1
    return fewest


def _as_many_by_chance(num_days: int, num_up: int, num_rises: int, num_both: int) -> float:
    """Fisher's exact test, one-sided: the chance of at least as many called rises if calls are assigned at random."""
    ways = sum(
        math.comb(num_rises, both) * math.comb(num_days - num_rises, num_up - both)
        for both in range(num_both, min(num_up, num_rises) + 1)
    )
    return ways / math.comb(num_days, num_up)
