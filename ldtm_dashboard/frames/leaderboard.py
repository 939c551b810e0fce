"""The leaderboard over a window, of one kind of rows and one model version, and the universe over time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from ldtm_dashboard.frames.tables import read_frame
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.ledger.counted_forecasts import ranks_of
from ldtm_lib.ledger.daily_clusters import Estimate, share_of_days
from ldtm_lib.ledger.simulations import LATE, LIVE, RowKind, simulations

WINDOWS = (30, 90, 252)
"""Filled sessions of a ticker that a leaderboard may count."""
SMOOTHED_SESSIONS = 30
"""Sessions that one point of the universe's line pools."""
COIN = 0.5
SHARE_ABOVE_BY_LUCK = 0.025
"""Share of 95% intervals that lie entirely above the true value."""

SCHEMA = pl.Schema(
    {
        "ticker": pl.String,
        "rank": pl.Int64,
        "num_filled": pl.Int64,
        "num_directional": pl.Int64,
        "num_correct": pl.Int64,
        "accuracy": pl.Float64,
        "accuracy_low": pl.Float64,
        "accuracy_high": pl.Float64,
        "coverage": pl.Float64,
        "next_day_error": pl.Float64,
        "next_day_no_change_error": pl.Float64,
        "next_monday_error": pl.Float64,
        "next_monday_no_change_error": pl.Float64,
        "one_month_error": pl.Float64,
        "one_month_no_change_error": pl.Float64,
        "first_run_date": pl.Date,
        "last_run_date": pl.Date,
        "active_version": pl.String,
        "gate_passed": pl.Boolean,
        "gate_reasons": pl.List(pl.String),
    }
)
DIRECTIONS = pl.Schema({"ticker": pl.String, "days": pl.List(pl.Int32), "are_correct": pl.List(pl.Boolean)})
DAYS = pl.Schema(
    {
        "run_date": pl.Date,
        "num_directional": pl.Int64,
        "num_correct": pl.Int64,
        "num_filled": pl.Int64,
        "error": pl.Float64,
        "no_change_error": pl.Float64,
    }
)
HORIZONS = ("next_day", "next_monday", "one_month")


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardFilter:
    """The rows that a leaderboard counts."""

    rows: RowKind = LIVE
    num_sessions: int = WINDOWS[0]
    """The newest filled sessions of each ticker."""
    version: str | None = None
    """Only forecasts of the models of this version; None for all."""

    @property
    def parameters(self) -> dict[str, object]:
        """Parameters of the statements."""
        return {**self.rows.parameters, "num_sessions": self.num_sessions, "version": self.version}


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardView:
    """Data of the leaderboard that the page shows."""

    tickers: pl.DataFrame
    """A row per ticker, ranked ones first: the columns of SCHEMA, `rank_low`, `rank_high`, `status`, and for each
    horizon `*_ratio`, the error divided by that of forecasting no change."""
    universe: Mapping[str, object]
    """The same figures for all of these forecasts together."""
    universe_accuracy: Estimate | None
    """Its direction accuracy with days as clusters, since tickers move together; None without a direction."""

    @property
    def num_above_coin(self) -> int:
        """Tickers whose whole interval is above one half."""
        return self.tickers.filter(pl.col("accuracy_low") > COIN).height

    @property
    def num_expected_above(self) -> float:
        """Expected number of coins, out of as many, whose whole interval would be above one half."""
        return SHARE_ABOVE_BY_LUCK * self.tickers["accuracy"].count()


def row_kinds(conn: Connection) -> list[RowKind]:
    """Live rows, late rows, and the simulations that have rows, the newest first."""
    return [LIVE, LATE, *(each.rows for each in simulations(conn) if each.num_rows)]


def versions(conn: Connection) -> list[str]:
    """The versions of models, the newest first."""
    return [version for (version,) in conn.execute(query("dashboard.versions"))]


def board_view(conn: Connection, asked: BoardFilter, left: Mapping[str, date]) -> BoardView:
    """The leaderboard; `left` has the first session on which a ticker no longer belonged to the universe."""
    found = read_frame(conn, query("dashboard.scores"), asked.parameters, SCHEMA)
    found = found.with_columns(
        (pl.col(f"{horizon}_error") / pl.col(f"{horizon}_no_change_error")).alias(f"{horizon}_ratio")
        for horizon in HORIZONS
    )
    tickers = found.filter(pl.col("ticker").is_not_null())
    directions = _directions(conn, asked)
    ranks = ranks_of(directions)
    intervals = pl.DataFrame(
        [(ticker, ranks[ticker].low, ranks[ticker].high) for ticker in ranks],
        schema={"ticker": pl.String, "rank_low": pl.Int64, "rank_high": pl.Int64},
        orient="row",
    )
    statuses = [_status(row, left) for row in tickers.iter_rows(named=True)]
    return BoardView(
        tickers=tickers.join(intervals, on="ticker", how="left", maintain_order="left").with_columns(
            pl.Series("status", statuses, dtype=pl.String)
        ),
        universe=found.filter(pl.col("ticker").is_null()).row(0, named=True),
        universe_accuracy=_pooled(directions),
    )


def universe_over_time(conn: Connection, rows: RowKind, num_sessions: int) -> pl.DataFrame:
    """The universe by run date, each over the SMOOTHED_SESSIONS up to it.

    Columns: run_date, accuracy, low, high (of the 95% interval, with days as clusters), ratio (the next-day error over
    that of no change).
    """
    asked = {**rows.parameters, "num_sessions": num_sessions + SMOOTHED_SESSIONS}
    days = read_frame(conn, query("dashboard.universe_days"), asked, DAYS)
    directional, correct = days["num_directional"].to_numpy(), days["num_correct"].to_numpy()
    error, no_change = days["error"].to_numpy(), days["no_change_error"].to_numpy()
    points: list[tuple[date, float, float | None, float | None, float | None]] = []
    for place, run_date in enumerate(days["run_date"]):
        window = slice(max(0, place + 1 - SMOOTHED_SESSIONS), place + 1)
        share = share_of_days(correct[window].astype(np.float64), directional[window].astype(np.float64))
        if share is not None:
            beaten = float(no_change[window].sum())
            ratio = float(error[window].sum()) / beaten if beaten else None
            points.append((run_date, share.value, share.low, share.high, ratio))
    schema = {"run_date": pl.Date, "accuracy": pl.Float64, "low": pl.Float64, "high": pl.Float64, "ratio": pl.Float64}
    return pl.DataFrame(points, schema=schema, orient="row").tail(num_sessions)


def _pooled(directions: pl.DataFrame) -> Estimate | None:
    days = directions.group_by("run_date").agg(pl.col("is_correct").sum(), pl.len())
    return share_of_days(days["is_correct"].to_numpy().astype(np.float64), days["len"].to_numpy().astype(np.float64))


def _directions(conn: Connection, asked: BoardFilter) -> pl.DataFrame:
    packed = read_frame(conn, query("dashboard.counted_directions"), asked.parameters, DIRECTIONS)
    return packed.explode("days", "are_correct", empty_as_null=False).select(
        "ticker",
        (pl.date(2000, 1, 1) + pl.duration(days=pl.col("days"))).alias("run_date"),
        pl.col("are_correct").alias("is_correct"),
    )


def _status(row: Mapping[str, object], left: Mapping[str, date]) -> str:
    """The state of a ticker in words."""
    if (since := left.get(str(row["ticker"]))) is not None:
        return f"left the universe on {since}"
    if row["active_version"] is not None:
        return f"active {row['active_version']}"
    if row["gate_passed"] is None:
        return "never judged"
    reasons: list[str] = row["gate_reasons"]  # pyright: ignore[reportAssignmentType]
    return f"refused: {'; '.join(reasons)}" if reasons else "no active model"
