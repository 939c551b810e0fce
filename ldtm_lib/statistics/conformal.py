"""Prediction intervals from the errors of past forecasts: adaptive conformal inference, for many forecasters at once.

The score of a past forecast is |actual - prediction| / (close * volatility): its error in units of the daily volatility
that its input window showed. The half-width of a new forecast's interval is the quantile of the newest scores, with the
correction ceil((n + 1) (1 - alpha)) / n for n scores. If scores are exchangeable, the interval covers the actual with
probability 1 - alpha. Scores of prices are not, so alpha follows the misses, alpha' = alpha + rate * (target - missed):
the share of misses then approaches its target whatever the scores do (Gibbs and Candes, "Adaptive conformal inference
under distribution shift", NeurIPS 2021). A step knows the outcomes whose target session is not after its own session;
one-month outcomes arrive 21 sessions late. The rate is divided by the overlap of outcomes, because one miss at one
month is seen about 21 times.

An alpha below 1 / (n + 1) asks for a quantile that n scores do not have: the interval would be infinite. It is counted
as a hit, so that alpha rises again, and the caller gets infinity instead of an invented number.

Axes: L lanes (one ticker and horizon each), N past forecasts of the longest lane, V levels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from ldtm_lib.sessions import Sessions
from ldtm_lib.settings import IntervalsConfig

LEVELS = (0.80, 0.95)
"""The levels of the record; its columns are named after them."""
ROUNDING = 1e-9
"""Subtracted before rounding up, so that a rank such as 80.00000000000001, a rounding error above 80, becomes 80."""

Values = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lane:
    """The scored forecasts of one ticker and horizon, in the order of their sessions."""

    sessions: Sessions
    """(n,) the sessions after which the forecasts were made."""
    targets: Sessions
    """(n,) their target sessions, which do not decrease."""
    scores: Values
    """(n,) finite."""
    overlap: int = 1
    """Number of successive forecasts that share an outcome; the rate is divided by it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Walk:
    """The course of alpha over the past forecasts of some lanes, and the calibration sets that belong to it."""

    lanes: tuple[Lane, ...]
    config: IntervalsConfig
    changes_NLV: Values
    """(N + 1, L, V) the change of alpha after the first n outcomes."""

    def quantiles(self, at: Sequence[np.datetime64] | Sessions) -> Values:
        """The half-widths (L, V) of forecasts after the sessions `at`, one per lane, in units of close * volatility.

        NaN where fewer than `min_residuals` outcomes are known, infinity where no finite interval is wide enough. A
        lower level is never wider than a higher one.
        """
        found_LV = np.full((len(self.lanes), len(LEVELS)), np.nan)
        for n, (lane, session) in enumerate(zip(self.lanes, at, strict=True)):
            num_known = int(np.searchsorted(lane.targets, session, side="right"))
            newest = np.sort(lane.scores[max(0, num_known - self.config.calibration_forecasts) : num_known])
            if len(newest) < self.config.min_residuals:
                continue
            alphas_V = _targets() + self.changes_NLV[num_known, n]
            places_V = order_statistic(np.full(len(LEVELS), len(newest)), alphas_V)
            with_infinity = np.append(newest, np.inf)
            found_LV[n] = with_infinity[np.clip(places_V, 1, len(newest) + 1) - 1]
        return np.maximum.accumulate(found_LV, axis=1)


def walk(lanes: Sequence[Lane], config: IntervalsConfig) -> Walk:
    """Compute the course of alpha over past forecasts, each with the interval that it would have had at that time.

    A score is above the k-th smallest of its calibration set if and only if at least k scores of the set are below it.
    The rank of every score is therefore counted once for all levels, and nothing needs to be sorted along the way.
    """
    num_lanes, longest = len(lanes), max((len(lane.scores) for lane in lanes), default=0)
    known_NL = np.zeros((longest, num_lanes), np.int64)
    ranks_NL = np.zeros((longest, num_lanes), np.int64)
    for n, lane in enumerate(lanes):
        known = np.searchsorted(lane.targets, lane.sessions, side="right")
        known_NL[: len(known), n] = known
        ranks_NL[: len(known), n] = _ranks(lane.scores, known, config.calibration_forecasts)
    sizes_NL = np.minimum(known_NL, config.calibration_forecasts)
    targets_V, each = _targets(), np.arange(num_lanes)
    rates_L = config.rate / np.array([lane.overlap for lane in lanes])
    changes_NLV = np.zeros((longest + 1, num_lanes, len(LEVELS)))
    for n in range(longest):
        alphas_LV = targets_V + changes_NLV[known_NL[n], each]
        is_missed_LV = ranks_NL[n, :, None] >= order_statistic(sizes_NL[n, :, None], alphas_LV)
        used_rates_L = np.where(sizes_NL[n] >= config.min_residuals, rates_L, 0)
        changes_NLV[n + 1] = changes_NLV[n] + used_rates_L[:, None] * (targets_V - is_missed_LV)
    return Walk(lanes=tuple(lanes), config=config, changes_NLV=changes_NLV)


def order_statistic(sizes: Counts, alphas: Values) -> Counts:
    """Rank, counted from the smallest, of the quantile of n scores; above n there is no score, below 1 it is the first.

    The correction is that of V. Vovk, A. Gammerman and G. Shafer, "Algorithmic Learning in a Random World", 2005.
    """
    return np.ceil((sizes + 1) * (1 - alphas) - ROUNDING).astype(np.int64)


def _targets() -> Values:
    return 1 - np.array(LEVELS)


def _ranks(scores: Values, known: Counts, length: int) -> Counts:
    """Number of the last `length` known scores that are below each score (n,).

    Scores are replaced by their ranks among all scores, in two bytes where these suffice, which takes a quarter of the
    memory to compare.
    """
    places = np.unique(scores, return_inverse=True)[1]
    kind = np.int16 if len(scores) < np.iinfo(np.int16).max else np.int64
    padded = np.concatenate([np.full(length, np.iinfo(kind).max, kind), places.astype(kind)])
    is_below = sliding_window_view(padded, length)[known] < padded[length:, None]
    return np.count_nonzero(is_below, axis=1)
