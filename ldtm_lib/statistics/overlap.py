"""Effective numbers of independent forecasts: overlapping spans of days share the same moves.

Axes: D days, T tickers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ldtm_lib.sessions import ONE_MONTH_SESSIONS, Sessions

Values = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spans:
    """Spans of forecasts, run date to target, as positions in a sequence of sessions; `stops` are after `starts`."""

    starts: Positions
    """(n,) the session that each forecast starts from."""
    stops: Positions
    """(n,) its target session."""

    def __getitem__(self, rows: npt.NDArray[np.bool_]) -> "Spans":
        """Some of the spans."""
        return Spans(starts=self.starts[rows], stops=self.stops[rows])


def spans_of(sessions: Sessions, horizon: str) -> Spans:
    """Spans of forecasts from some sessions, counted in these sessions alone.

    This is exact where no session is missing between them, as in the folds of a ticker without gaps. Across a gap,
    spans appear nearer to each other than they were, so that they count for less.
    """
    known, starts = np.unique(sessions, return_inverse=True)
    if horizon == "next_day":
        return Spans(starts=starts, stops=starts + 1)
    if horizon == "one_month":
        return Spans(starts=starts, stops=starts + ONE_MONTH_SESSIONS)
    mondays = np.busday_offset(sessions.astype("datetime64[D]") + 1, 0, roll="forward", weekmask="Mon")
    stops = np.searchsorted(known, mondays)
    if len(known):
        beyond = np.busday_count(known[-1], mondays)
        stops = np.where(mondays > known[-1], len(known) - 1 + np.maximum(beyond, 1), stops)
    return Spans(starts=starts, stops=stops)


def effective_directions(spans: Spans) -> float:
    """Number of independent directions that carry the same information as those over some spans.

    Moves over two spans are correlated by the share that the spans have in common, their signs by 2/pi times its
    arcsine (W. F. Sheppard, 1899, for normal moves).
    """
    return _effective(spans, lambda shared: 2 / np.pi * np.arcsin(shared))


def effective_moves(spans: Spans) -> float:
    """Number of independent price moves that carry the same information as those over some spans."""
    return _effective(spans, lambda shared: shared)


def effective_tickers(hits_DT: Values) -> float:
    """Number of independently moving tickers that carry the same information as those of a table of hits (D, T).

    A hit is 1, a miss 0, and NaN stands for neither. The number is m / (1 + (m - 1) r) for m tickers with a hit or a
    miss, where r is the mean correlation of two of them over the days that both have (Kish, "Survey Sampling", 1965,
    5.4), held within [1, m]. It is 1 if no correlation can be estimated, and 0 without a ticker.
    """
    known = np.isfinite(hits_DT)
    hits_DT, known = hits_DT[:, known.any(axis=0)], known[:, known.any(axis=0)]
    num_tickers = hits_DT.shape[1]
    if num_tickers < 2:
        return float(num_tickers)
    there = known.astype(np.float64)
    filled = np.where(known, hits_DT, 0.0)
    num_TT = np.maximum(there.T @ there, 1)
    mean_TT = filled.T @ there / num_TT
    variance_TT = np.square(filled).T @ there / num_TT - np.square(mean_TT)
    covariance_TT = filled.T @ filled / num_TT - mean_TT * mean_TT.T
    product_TT = variance_TT * variance_TT.T
    pairs = np.triu(np.minimum(variance_TT, variance_TT.T) > 1e-12, k=1)
    if not pairs.any():
        return 1.0
    correlation = float(np.mean(covariance_TT[pairs] / np.sqrt(product_TT[pairs])))
    inflation = 1 + (num_tickers - 1) * correlation
    return float(num_tickers) if inflation <= 1 else max(1.0, num_tickers / inflation)


def _effective(spans: Spans, correlation: Callable[[Values], Values]) -> float:
    """n squared divided by the sum of all correlations, lag by lag: the time is linear in n, since spans are short."""
    num_spans = len(spans.starts)
    if not num_spans:
        return 0.0
    order = np.lexsort((spans.stops, spans.starts))
    starts, stops = spans.starts[order], spans.stops[order]
    lengths = np.sqrt(stops - starts)
    total = float(num_spans)
    for lag in range(1, num_spans):
        overlaps = np.minimum(stops[:-lag], stops[lag:]) - starts[lag:]
        if overlaps.max() <= 0:
            break
        shared = np.maximum(overlaps, 0) / (lengths[:-lag] * lengths[lag:])
        total += 2 * float(correlation(np.minimum(shared, 1)).sum())
    return num_spans**2 / total
