"""Direction accuracy pooled over all tickers judged together, corrected for the correlation between tickers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ldtm_lib.backtest.walk_forward import FoldReport
from ldtm_lib.features.neutral_band import neutral_bands
from ldtm_lib.gate.evidence import NEXT_DAY
from ldtm_lib.settings import ForecastConfig, GateConfig
from ldtm_lib.statistics.directions import calls_of, coin_passes
from ldtm_lib.statistics.overlap import effective_tickers
from ldtm_lib.statistics.wilson import Interval, wilson_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Universe:
    """Next-day direction accuracy of many tickers' backtests together."""

    num_tickers: int
    """Number of tickers that named a direction at least once."""
    effective_tickers: float
    """Number of independently moving tickers that carry the same information."""
    num_directional: int
    num_correct: int
    interval: Interval | None
    """The 95% interval of the pooled accuracy, for the effective number of tickers; None without a direction."""
    coins_expected: float
    """Expected number of coins that meet the gate's bound on direction accuracy, one in the place of each ticker."""

    @property
    def accuracy(self) -> float | None:
        """Accuracy of all forecasts that named a direction."""
        return self.num_correct / self.num_directional if self.num_directional else None


def universe_of(reports: Mapping[str, Sequence[FoldReport]], gate: GateConfig, forecast: ForecastConfig) -> Universe:
    """Pool the folds of many tickers. `forecast` is as in `judge`."""
    hits_of = {ticker: hits for ticker, folds in reports.items() if (hits := _hits(folds, forecast))}
    sessions = sorted({session for hits in hits_of.values() for session in hits})
    place_of = {session: place for place, session in enumerate(sessions)}
    hits_DT = np.full((len(sessions), len(hits_of)), np.nan)
    for column, hits in enumerate(hits_of.values()):
        hits_DT[[place_of[session] for session in hits], column] = list(hits.values())
    num_directional, num_correct = int(np.isfinite(hits_DT).sum()), int(np.nansum(hits_DT))
    num_effective = effective_tickers(hits_DT)
    return Universe(
        num_tickers=len(hits_of),
        effective_tickers=num_effective,
        num_directional=num_directional,
        num_correct=num_correct,
        interval=wilson_interval(num_correct / num_directional, num_directional * num_effective / len(hits_of))
        if num_directional
        else None,
        coins_expected=sum(coin_passes(len(hits), gate.min_direction_accuracy) for hits in hits_of.values()),
    )


def _hits(folds: Sequence[FoldReport], forecast: ForecastConfig) -> dict[int, float]:
    """1 for a right call and 0 for a wrong one, by session (days since 1970); sessions without a call are absent."""
    hits: dict[int, float] = {}
    for report in folds:
        bands = neutral_bands(forecast, report.volatility)
        calls = calls_of(report.close, report.predictions[:, NEXT_DAY], report.actuals[:, NEXT_DAY], bands)
        days = report.sessions[calls.directional].astype("datetime64[D]").astype(np.int64)
        right = np.where(calls.up, calls.rose, calls.fell)
        hits |= dict(zip(days.tolist(), right.astype(np.float64).tolist(), strict=True))
    return hits
