"""The single forecasts that the leaderboard counts, and the rank intervals that follow from them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.ledger.ranking import rank_intervals
from ldtm_lib.ledger.simulations import LIVE, RowKind

COUNTED_SCHEMA = pl.Schema(
    {
        "ticker": pl.String,
        "run_date": pl.Date,
        "is_correct": pl.Boolean,
        "run_date_close": pl.Float64,
        "next_day_pred": pl.Float64,
        "next_day_actual": pl.Float64,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RankInterval:
    """The best and the worst rank by direction accuracy that a ticker may truly have, with 95% confidence for all."""

    low: int
    high: int


def counted_forecasts(conn: Connection, rows: RowKind = LIVE) -> pl.DataFrame:
    """One row per filled forecast that counts, in the order of run dates and tickers.

    `is_correct` is null for a neutral forecast. Prices are on the basis of the forecast.
    """
    found = conn.execute(query("ledger.counted_forecasts"), rows.parameters).fetchall()
    return pl.DataFrame(found, schema=COUNTED_SCHEMA, orient="row")


def ranks_of(forecasts: pl.DataFrame) -> Mapping[str, RankInterval]:
    """The rank interval of every ticker that gave a direction; see `rank_intervals` for its meaning and limits.

    A ticker whose newest 30 filled sessions are older than another one's shares only some days with it.
    """
    given = forecasts.filter(pl.col("is_correct").is_not_null())
    tickers = given["ticker"].unique().sort()
    days = given["run_date"].rank("dense").cast(pl.Int64).to_numpy() - 1
    columns = tickers.search_sorted(given["ticker"]).to_numpy()
    is_given_DT = np.zeros((given["run_date"].n_unique(), len(tickers)), np.bool_)
    correct_DT = np.zeros_like(is_given_DT)
    is_given_DT[days, columns] = True
    correct_DT[days, columns] = given["is_correct"].to_numpy()
    ranks = rank_intervals(correct_DT, is_given_DT)
    return {
        ticker: RankInterval(low=int(low), high=int(high))
        for ticker, low, high in zip(tickers, ranks.low_T, ranks.high_T, strict=True)
    }
