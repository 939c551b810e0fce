"""The leaderboard's pictures on the pages: accuracy over time, the ranked tickers, calibration."""

import dagster as dg

from ldtm_assets.assets.images import picture
from ldtm_lib.ledger.leaderboard import Leaderboard, LeaderboardRow
from ldtm_lib.ledger.track_record import TrackRecord
from ldtm_lib.plots.accuracy_over_time import accuracy_over_time
from ldtm_lib.plots.calibration import CalibrationPoint, calibration_picture
from ldtm_lib.plots.ranked_tickers import RankedTicker, ranked_tickers


def pictures_of(board: Leaderboard, record: TrackRecord, *, kind: str) -> dict[str, dg.MetadataValue]:
    """One picture per name, or in its place a sentence that says why there is none; `kind` is whose rows count."""
    return {
        "accuracy over time": _accuracy_over_time(record, kind),
        "tickers": _tickers(board, kind),
        "calibration": _calibration(record, kind),
    }


def _accuracy_over_time(record: TrackRecord, kind: str) -> dg.MetadataValue:
    if not record.accuracy:
        return dg.MetadataValue.text(f"no {kind} forecast that named a direction has been filled yet")
    newest = record.accuracy[-1]
    title = f"{kind}: {newest.accuracy.value:.1%} right in the 30 sessions to {newest.run_date}"
    if newest.accuracy.low is not None and newest.accuracy.high is not None:
        title += f" ({newest.accuracy.low:.0%} – {newest.accuracy.high:.0%})"
    png = accuracy_over_time(
        title,
        [point.run_date for point in record.accuracy],
        [point.accuracy.value for point in record.accuracy],
        [(point.accuracy.low, point.accuracy.high) for point in record.accuracy],
    )
    return picture(png, of="share of directions that were right, over time")


def _tickers(board: Leaderboard, kind: str) -> dg.MetadataValue:
    ranked = [row for row in board.rows if row.score.num_filled]
    if not ranked:
        return dg.MetadataValue.text(f"no {kind} forecast has been filled yet")
    title = f"{kind}: {len(ranked)} tickers by rank, last 30 filled sessions"
    return picture(ranked_tickers(title, [_bar(row) for row in ranked]), of="direction accuracy and error by ticker")


def _bar(row: LeaderboardRow) -> RankedTicker:
    return RankedTicker(
        name=f"{row.rank} {row.ticker}",
        accuracy=row.score.direction_accuracy,
        low=row.score.accuracy_low,
        high=row.score.accuracy_high,
        error_ratio=row.score.next_day_error_ratio,
    )


def _calibration(record: TrackRecord, kind: str) -> dg.MetadataValue:
    if not record.calibration:
        return dg.MetadataValue.text(f"no {kind} forecast has been filled yet")
    num_forecasts = sum(group.num_forecasts for group in record.calibration)
    title = f"{kind}: {num_forecasts:,} forecasts in {len(record.calibration)} bins, what was said and what came"
    points = [
        CalibrationPoint(
            predicted=group.predicted, actual=group.actual.value, low=group.actual.low, high=group.actual.high
        )
        for group in record.calibration
    ]
    return picture(calibration_picture(title, points), of="predicted against actual returns")
