"""Fillbacks: fill the actuals that are due, in one batch, each written once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

import polars as pl
from psycopg.rows import class_row

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.sessions import HORIZONS
from ldtm_lib.settings import LedgerConfig

DUE_SCHEMA = pl.Schema(
    {
        "ticker": pl.String,
        "run_date": pl.Date,
        "simulation_id": pl.Int64,
        "horizon": pl.String,
        "target_session": pl.Date,
        "pred": pl.Float64,
        "bar_is_there": pl.Boolean,
        "actual": pl.Float64,
    }
)
RESTATED_SCHEMA = pl.Schema(
    {
        "ticker": pl.String,
        "run_date": pl.Date,
        "horizon": pl.String,
        "target_session": pl.Date,
        "actual": pl.Float64,
        "restated_actual": pl.Float64,
        "bar_recorded_at": pl.Datetime("us", "UTC"),
    }
)
VOIDED_SCHEMA = pl.Schema(
    {
        "ticker": pl.String,
        "run_date": pl.Date,
        "horizon": pl.String,
        "target_session": pl.Date,
        "reason": pl.String,
    }
)
OPEN_COLUMNS = [f"num_{state}_{horizon}" for state in ("open", "without_bar") for horizon in HORIZONS]
FILLED_COLUMNS = [f"num_filled_{horizon}" for horizon in HORIZONS]


@dataclass(frozen=True, slots=True, kw_only=True)
class FillReport:
    """The actuals that a fill wrote, and those that it had to leave open."""

    as_of: date
    per_ticker: pl.DataFrame
    """One row per ticker that has open or filled forecasts: ticker, and for each horizon num_filled_* (by this call),
    num_open_* (the target session has not closed, or is after as_of) and num_without_bar_* (it has closed, and there
    is no bar that was recorded after its close)."""
    num_filled: int
    num_correct: int
    """Next-day directions filled by this call that were right."""
    num_directional: int
    """Next-day forecasts filled by this call that gave a direction."""
    voided: pl.DataFrame
    """Forecasts that this call gave up waiting for, with the reason; columns of VOIDED_SCHEMA."""
    restated: pl.DataFrame
    """Actuals that differ from a later vintage of their bar; columns of RESTATED_SCHEMA."""


def due(conn: Connection, *, as_of: date, tickers: Sequence[str] | None = None) -> pl.DataFrame:
    """The forecasts that `fill` would fill, and the due ones without a bar; writes nothing.

    One row per ticker, run date, simulation and horizon whose target session has closed and is not after `as_of`;
    `actual` is on the price basis of the forecast and null without a bar.
    """
    rows = conn.execute(query("ledger.due_fills"), _scope(as_of, tickers)).fetchall()
    return pl.DataFrame(rows, schema=DUE_SCHEMA, orient="row")


def fill(conn: Connection, *, as_of: date, config: LedgerConfig, tickers: Sequence[str] | None = None) -> FillReport:
    """Write every actual that is due: its target session has closed, is not after `as_of`, and has a bar.

    One statement reads the bars and writes the actuals. An actual that is due and has no bar is noted. It is voided,
    with the reason, once the store has bars of any ticker for `config.void_after_sessions` sessions that opened since.
    Later vintages of bars that differ from an actual are recorded in addition to it, for all tickers. The number of
    statements does not depend on the number of due actuals. A second call finds nothing to do; simultaneous calls wait
    for each other.
    """
    scope = _scope(as_of, tickers)
    conn.execute(query("database.lock"), {"work": "fillbacks"})
    written = conn.execute(query("ledger.fill"), scope).fetchall()
    conn.execute(query("ledger.record_overdue"), scope)
    waited = scope | {"wait_sessions": config.void_after_sessions}
    voided = conn.execute(query("ledger.void_overdue"), waited).fetchall()
    restated = conn.execute(query("ledger.restate")).fetchall()
    left = conn.execute(query("ledger.open_fills"), scope).fetchall()

    filled = pl.DataFrame(
        [(ticker, *flags) for ticker, _, *flags in written],
        schema={"ticker": pl.String, **dict.fromkeys(FILLED_COLUMNS, pl.Boolean)},
        orient="row",
    )
    still_open = pl.DataFrame(left, schema={"ticker": pl.String, **dict.fromkeys(OPEN_COLUMNS, pl.Int64)}, orient="row")
    per_ticker = (
        filled.group_by("ticker")
        .agg(pl.all().sum().cast(pl.Int64))
        .join(still_open, on="ticker", how="full", coalesce=True)
        .with_columns(pl.exclude("ticker").fill_null(0))
        .sort("ticker")
    )
    calls = [is_correct for _, is_correct, is_next_day, _, _ in written if is_next_day and is_correct is not None]
    return FillReport(
        as_of=as_of,
        per_ticker=per_ticker,
        num_filled=sum(sum(flags) for _, _, *flags in written),
        num_correct=sum(calls),
        num_directional=len(calls),
        voided=pl.DataFrame(voided, schema=VOIDED_SCHEMA, orient="row"),
        restated=pl.DataFrame(restated, schema=RESTATED_SCHEMA, orient="row"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizonState:
    """State of one horizon of one forecast."""

    ticker: str
    horizon: str
    target_session: date
    state: Literal["open", "filled", "voided", "waiting for its bar", "abstained"]


def horizon_states(conn: Connection, run_date: date, tickers: Sequence[str]) -> list[HorizonState]:
    """The horizons of the forecasts that the daily run of one run date made; a ticker without a row is absent."""
    with conn.cursor(row_factory=class_row(HorizonState)) as cursor:
        return cursor.execute(
            query("ledger.horizon_states"), {"run_date": run_date, "tickers": list(tickers)}
        ).fetchall()


def tickers_with_open_fills(conn: Connection, tickers: Iterable[str]) -> set[str]:
    """The given tickers that have a forecast with an open actual: a removed ticker is filled until it has none."""
    listed = list(tickers)
    if not listed:
        return set()
    return {ticker for (ticker,) in conn.execute(query("ledger.tickers_with_open_fills"), {"tickers": listed})}


def overdue(conn: Connection, *, as_of: date, tickers: Sequence[str] | None = None) -> pl.DataFrame:
    """Actuals that are due and have no bar; `fill` voids them after the configured number of sessions."""
    return due(conn, as_of=as_of, tickers=tickers).filter(~pl.col("bar_is_there"))


def restated_actuals(conn: Connection, tickers: Sequence[str] | None = None) -> pl.DataFrame:
    """Actuals whose bar was restated later: one row per later vintage, with the value on record and the restated one.

    `actual` is null if the fill had been voided before a bar came.
    """
    rows = conn.execute(
        query("ledger.restated_actuals"), {"tickers": None if tickers is None else list(tickers)}
    ).fetchall()
    return pl.DataFrame(rows, schema=RESTATED_SCHEMA, orient="row")


def _scope(as_of: date, tickers: Sequence[str] | None) -> dict[str, object]:
    return {"as_of": as_of, "tickers": None if tickers is None else list(tickers)}
