"""Active models for comparisons with candidates: the forecasts of their own backtests, for all tickers at once."""

import io
from collections.abc import Collection
from typing import cast

import numpy as np
import polars as pl

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.gate.comparison import ActiveModel, NextDayTests
from ldtm_lib.settings import BacktestConfig, fingerprint

SCHEMA = {
    "ticker": pl.String,
    "checkpoint_id": pl.Int64,
    "version": pl.String,
    "session": pl.Date,
    "close": pl.Float64,
    "volatility": pl.Float64,
    "next_day_pred": pl.Float64,
    "next_day_actual": pl.Float64,
}


def active_models(
    conn: Connection, tickers: Collection[str], *, plan: BacktestConfig, degraded: Collection[int]
) -> dict[str, ActiveModel]:
    """The active models of some tickers, by ticker, in one statement.

    Each has the forecasts of the backtest with the training inputs of its network: the one with folds cut by `plan`,
    otherwise the newest one. `degraded` are the checkpoints of active models that were found degraded.
    """
    if not tickers:
        return {}
    content = bytearray()
    parameters = {"tickers": list(tickers), "plan": fingerprint(plan)}
    with conn.cursor() as cursor, cursor.copy(query("backtest.copy_tests_of_active_out"), parameters) as copy:
        for chunk in copy:
            content += chunk
    rows = pl.read_csv(io.BytesIO(content), schema=SCHEMA)
    by_ticker = rows.partition_by("ticker", "checkpoint_id", "version", as_dict=True)
    return {
        cast(str, ticker): ActiveModel(
            version=cast(str, version),
            tests=_tests(found.drop_nulls("session")),
            is_degraded=checkpoint_id in degraded,
        )
        for (ticker, checkpoint_id, version), found in by_ticker.items()
    }


def _tests(rows: pl.DataFrame) -> NextDayTests:
    return NextDayTests(
        sessions=rows["session"].to_numpy().astype("datetime64[D]"),
        close=rows["close"].to_numpy(),
        volatility=rows["volatility"].fill_null(np.nan).to_numpy(),
        predicted=rows["next_day_pred"].to_numpy(),
        actual=rows["next_day_actual"].to_numpy(),
    )
