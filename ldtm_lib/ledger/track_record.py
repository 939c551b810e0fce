"""Data of the leaderboard's charts: the universe's accuracy over time, and actual returns by predicted return."""

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.ledger.counted_forecasts import counted_forecasts
from ldtm_lib.ledger.daily_clusters import Estimate, mean_of_days, share_of_days
from ldtm_lib.ledger.simulations import LIVE, RowKind

WINDOW_SESSIONS = 30
"""Sessions per accuracy, as many as the leaderboard counts per ticker."""
MAX_BINS = 10
MIN_FORECASTS_PER_BIN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedAccuracy:
    """The share of directions that were right over all tickers, in the 30 sessions up to a run date."""

    run_date: date
    accuracy: Estimate
    """Its interval assumes that days are independent, and estimates from the data how similar tickers of a day are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationBin:
    """Forecasts of about the same return, and actual returns: next-day returns in percent of the run date's close."""

    num_forecasts: int
    predicted: float
    """Mean of the forecasts."""
    actual: Estimate
    """Mean of the actual returns, with days as clusters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackRecord:
    """Results of the universe, for the rows of one kind."""

    accuracy: tuple[DatedAccuracy, ...]
    """Accuracies over all of the ledger, oldest first: every run date with a filled forecast, from the first direction
    on."""
    calibration: tuple[CalibrationBin, ...]
    """Bins of the forecasts that the leaderboard counts, from the smallest prediction to the largest."""


def track_record(conn: Connection, rows: RowKind = LIVE) -> TrackRecord:
    """The record of live forecasts, of late ones, or of those of a simulation."""
    days = conn.execute(query("ledger.daily_directions"), rows.parameters).fetchall()
    return TrackRecord(accuracy=_accuracy(days), calibration=calibration(counted_forecasts(conn, rows)))


def calibration(forecasts: pl.DataFrame) -> tuple[CalibrationBin, ...]:
    """Up to ten bins with about the same number of forecasts, by predicted return; equal predictions share a bin.

    `forecasts` are those of `counted_forecasts`. Bins of fewer than ten forecasts carry no information: there are fewer
    bins when there are few forecasts.
    """
    if forecasts.is_empty():
        return ()
    predicted, actual = (
        (100 * (forecasts[price] / forecasts["run_date_close"] - 1)).to_numpy()
        for price in ("next_day_pred", "next_day_actual")
    )
    days = forecasts["run_date"].rank("dense").cast(pl.Int64).to_numpy() - 1
    num_bins = int(np.clip(len(predicted) // MIN_FORECASTS_PER_BIN, 1, MAX_BINS))
    edges = np.quantile(predicted, np.arange(1, num_bins) / num_bins)
    bin_of = np.searchsorted(edges, predicted)
    bins: list[CalibrationBin] = []
    for number in np.unique(bin_of):
        inside = bin_of == number
        total = np.bincount(days[inside], weights=actual[inside])
        mean = mean_of_days(total.astype(np.float64), np.bincount(days[inside]).astype(np.float64))
        assert mean is not None  # no bin is empty
        said = float(predicted[inside].mean())
        bins.append(CalibrationBin(num_forecasts=int(inside.sum()), predicted=said, actual=mean))
    return tuple(bins)


def _accuracy(days: list[tuple[date, int, int]]) -> tuple[DatedAccuracy, ...]:
    num_directional = np.array([number for _, number, _ in days], np.float64)
    num_correct = np.array([number for _, _, number in days], np.float64)
    points: list[DatedAccuracy] = []
    for place, (run_date, _, _) in enumerate(days):
        window = slice(max(0, place + 1 - WINDOW_SESSIONS), place + 1)
        accuracy = share_of_days(num_correct[window], num_directional[window])
        if accuracy is not None:
            points.append(DatedAccuracy(run_date=run_date, accuracy=accuracy))
    return tuple(points)
