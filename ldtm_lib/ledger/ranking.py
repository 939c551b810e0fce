"""Confidence intervals of the tickers' ranks by direction accuracy.

The method is that of Mogstad, Romano, Shaikh and Wilhelm, "Inference for Ranks with Applications to Mobility across
Neighbourhoods and Academic Achievement across Countries", Review of Economic Studies 91 (2024): compare all pairs with
one critical value that holds for all of them at once, then count the tickers that are significantly better and those
that are worse.

Axes: D days, T tickers, S draws.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95
NUM_DRAWS = 2000
"""With this number, the critical value of 103 tickers over 30 days is between 3.74 and 3.88, whatever the seed."""
SEED = 0
MIN_COMMON_DAYS = 10
"""Two tickers that gave a direction on fewer common days are not compared."""
FEW_TICKERS = 400
"""Number of tickers below which it is faster to compare every pair in every draw."""
EXCEPTIONS, SAMPLED_ROWS = 60, 200
"""Pairs of each ticker that are compared in every draw, and rows from which their precision is estimated."""
BLOCK_ROWS = 256

Values = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class RankIntervals:
    """The lowest and the highest rank of each ticker; 0 for a ticker without a direction, which has no rank."""

    low_T: npt.NDArray[np.int64]
    high_T: npt.NDArray[np.int64]


def rank_intervals(correct_DT: npt.NDArray[np.bool_], is_given_DT: npt.NDArray[np.bool_]) -> RankIntervals:
    """Simultaneous 95% confidence intervals of the tickers' ranks by the share of directions that were right.

    `correct_DT` marks the tickers that were right on each day; it counts where `is_given_DT`, which is False for a
    neutral forecast or none. Whole days are drawn: tickers that are right and wrong on the same days stay so in every
    draw, and their common part cancels in the difference. Days are assumed to be independent of each other.
    The same data give the same intervals.

    A ticker's rank is between 1 + the number of tickers that are significantly better and T - the number of those
    that are significantly worse, of T tickers that gave any direction. At least one of these intervals is wrong in at
    most about 5% of universes.

    With 30 days two tickers must differ a lot: of 103 that guess, the luckiest is right on 21 days, and the intervals
    reflect that. In simulations, a ticker that is right on 95% of days is ranked 1 to 1 among four that guess in 88 of
    100 universes. Among 102 that guess, its median interval is 1 to 66, and 1 to 1 only from 90 days on. Intervals of
    1 to T mean that luck alone could have made the order of the leaderboard.
    """
    num_given_T = is_given_DT.sum(axis=0)
    is_ranked_T = num_given_T > 0
    low_T, high_T = np.zeros((2, len(is_ranked_T)), np.int64)
    if is_ranked_T.any():
        is_better_TT = told_apart(correct_DT[:, is_ranked_T], is_given_DT[:, is_ranked_T])
        low_T[is_ranked_T] = 1 + is_better_TT.sum(axis=0)
        high_T[is_ranked_T] = is_ranked_T.sum() - is_better_TT.sum(axis=1)
    return RankIntervals(low_T=low_T, high_T=high_T)


def told_apart(correct_DT: npt.NDArray[np.bool_], is_given_DT: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """True if the ticker of a row is significantly better than the ticker of a column, for all pairs at once.

    Every ticker must have given a direction.
    """
    share_DT = _shares_of_days(correct_DT, is_given_DT)
    sum_T = share_DT.sum(axis=0)
    precision_TT = _precisions(share_DT, is_given_DT)
    few = len(sum_T) < FEW_TICKERS
    critical = (critical_value if few else critical_value_of_many)(share_DT, precision_TT)
    is_better_TT = np.empty(precision_TT.shape, np.bool_)
    for rows in _blocks(len(sum_T)):
        studentised = (sum_T[rows, None] - sum_T) * precision_TT[rows]
        is_better_TT[rows] = studentised > critical * (1 + 1e-9)  # equal to a draw up to rounding: not larger
    return is_better_TT


def _shares_of_days(correct_DT: npt.NDArray[np.bool_], is_given_DT: npt.NDArray[np.bool_]) -> Values:
    """Contribution of each day to a ticker's accuracy, relative to the accuracy of all tickers together.

    The difference of two columns' sums is the difference of the accuracies.
    """
    universe = correct_DT[is_given_DT].mean()
    return np.where(is_given_DT, correct_DT - universe, 0.0) / is_given_DT.sum(axis=0)


def _precisions(share_DT: Values, is_given_DT: npt.NDArray[np.bool_]) -> Values:
    """One over the standard error of each pair's difference if the two are equal; 0 for pairs that are never compared.

    As in McNemar's test, the sum of squares is not taken about its mean: two equal tickers differ by 0 on average. The
    usual error, about the mean, is far too small for pairs of which only one ticker was lucky.
    """
    num_days, num_tickers = share_DT.shape
    precision_TT = np.empty((num_tickers, num_tickers))
    square_T, given_DT = np.square(share_DT).sum(axis=0), is_given_DT.astype(np.float64)
    for rows in _blocks(num_tickers):
        variance = square_T[rows, None] + square_T - 2 * (share_DT[:, rows].T @ share_DT)
        num_common = given_DT[:, rows].T @ given_DT
        # Rounding leaves about 1e-18 for equal columns; a single day on which they differ gives 1 / D squared.
        is_comparable = (variance > 1e-9 / num_days**2) & (num_common >= MIN_COMMON_DAYS)
        precision_TT[rows] = np.where(is_comparable, 1 / np.sqrt(np.where(is_comparable, variance, 1.0)), 0.0)
    return precision_TT


def critical_value(share_DT: Values, precision_TT: Values) -> float:
    """The value that the largest studentised difference of any pair exceeds in 5% of draws if all tickers are equal.

    A draw keeps or reverses each day as a whole (the wild bootstrap with signs). If right and wrong are equally likely,
    reversed days are as likely as the actual days, so the 5% is exact for any number of days.
    """
    drawn_TS = _draws(share_DT).T.copy()
    largest_S = np.zeros(NUM_DRAWS)
    for ticker in range(len(drawn_TS) - 1):
        others = slice(ticker + 1, None)
        drawn_OS = np.abs(drawn_TS[others] - drawn_TS[ticker]) * precision_TT[others, ticker, None]
        np.maximum(largest_S, drawn_OS.max(axis=0), out=largest_S)
    return _quantile(largest_S)


def critical_value_of_many(share_DT: Values, precision_TT: Values) -> float:
    """The same as `critical_value` for thousands of tickers, without comparing every pair in every draw.

    The few pairs whose precision is above the usual one are compared in every draw. Any other pair counts only if it
    differs by more than the largest value found so far divided by the usual precision: in the sorted tickers of a draw,
    such pairs are at the two ends.
    """
    num_tickers = len(precision_TT)
    usual = _usual_precision(precision_TT)
    first, second = _pairs_above(precision_TT, usual)
    precise = precision_TT[first, second]
    largest_S = np.zeros(NUM_DRAWS)
    for draw, drawn_T in enumerate(_draws(share_DT)):
        order = np.argsort(drawn_T)
        sorted_T: Values = drawn_T[order]
        ends = float((sorted_T[-1] - sorted_T[0]) * precision_TT[order[0], order[-1]])
        largest = max(ends, float((np.abs(drawn_T[first] - drawn_T[second]) * precise).max(initial=0.0)))
        beyond_T: Values = sorted_T + (largest / usual if usual else math.inf)
        begins_T: Integers = np.asarray(np.searchsorted(sorted_T, beyond_T, side="right"), np.int64)
        num_pairs_T: Integers = num_tickers - begins_T
        low = np.repeat(np.arange(num_tickers), num_pairs_T)
        high = np.arange(len(low)) + np.repeat(begins_T + num_pairs_T - np.cumsum(num_pairs_T), num_pairs_T)
        studentised = (sorted_T[high] - sorted_T[low]) * precision_TT[order[high], order[low]]
        largest_S[draw] = max(largest, float(studentised.max(initial=0.0)))
    return _quantile(largest_S)


def _usual_precision(precision_TT: Values) -> float:
    """A precision that about EXCEPTIONS pairs of each ticker exceed, from a sample of the rows."""
    num_tickers = len(precision_TT)
    rows = np.random.default_rng(SEED).choice(num_tickers, size=min(num_tickers, SAMPLED_ROWS), replace=False)
    return float(np.quantile(precision_TT[rows], max(0.0, 1 - EXCEPTIONS / num_tickers)))


def _pairs_above(precision_TT: Values, usual: float) -> tuple[Integers, Integers]:
    """The pairs (P,) whose precision is above the usual one, each once."""
    firsts: list[Integers] = []
    seconds: list[Integers] = []
    for rows in _blocks(len(precision_TT)):
        first, second = np.nonzero(precision_TT[rows] > usual)
        first += rows.start
        firsts.append(first[first < second])
        seconds.append(second[first < second])
    return np.concatenate(firsts), np.concatenate(seconds)


def _draws(share_DT: Values) -> Values:
    """Sums of the days of every ticker (S, T), each day kept or reversed."""
    signs_SD = np.random.default_rng(SEED).integers(0, 2, (NUM_DRAWS, len(share_DT))) * 2.0 - 1.0
    return signs_SD @ share_DT


def _quantile(largest_S: Values) -> float:
    """The 95% quantile with the data as one more draw, which makes the share exact: Davison and Hinkley (1997), 4.2."""
    place = int(np.ceil(CONFIDENCE * (NUM_DRAWS + 1)))
    return float(np.partition(largest_S, place - 1)[place - 1])


def _blocks(num_tickers: int) -> list[slice]:
    """Rows of a matrix of all pairs that are computed at once."""
    return [slice(at, min(at + BLOCK_ROWS, num_tickers)) for at in range(0, num_tickers, BLOCK_ROWS)]
