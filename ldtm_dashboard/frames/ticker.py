"""One ticker: bars, forecasts and actuals, errors over time, calibration, splits, and the lifecycle of its models."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from ldtm_dashboard.frames.tables import UTC_TIME, read_frame
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.gate.model_card import model_card
from ldtm_lib.ledger.simulations import RowKind
from ldtm_lib.ledger.track_record import CalibrationBin, calibration
from ldtm_lib.registry.listing import JudgedNetwork, VersionEntry, judged_networks, list_versions

HORIZONS = {"next_day": "next day", "next_monday": "next Monday", "one_month": "one month"}
SPANS = {"3 months": 92, "1 year": 366, "3 years": 1097}
"""Days of history that the page may show."""
SMOOTHED_ROWS = 30
"""Forecasts whose errors one point of the line pools."""

BARS = pl.Schema(
    {
        "session": pl.Date,
        "open": pl.Float64,
        "high": pl.Float64,
        "low": pl.Float64,
        "close": pl.Float64,
        "volume": pl.Float64,
    }
)
FORECASTS = pl.Schema(
    {
        "run_date": pl.Date,
        "close": pl.Float64,
        "direction": pl.String,
        "is_correct": pl.Boolean,
        "reason": pl.String,
        "version": pl.String,
        "recorded_at": UTC_TIME,
    }
    | {
        f"{horizon}_{name}": kind
        for horizon in HORIZONS
        for name, kind in (
            ("session", pl.Date),
            ("pred", pl.Float64),
            ("actual", pl.Float64),
            ("low", pl.Float64),
            ("high", pl.Float64),
        )
    }
)
SPLITS = pl.Schema({"session": pl.Date, "ratio": pl.Float64, "recorded_at": UTC_TIME})


@dataclass(frozen=True, slots=True, kw_only=True)
class TickerView:
    """Data of a ticker that the page shows."""

    ticker: str
    bars: pl.DataFrame
    """The columns of BARS, the oldest first."""
    forecasts: pl.DataFrame
    """The columns of FORECASTS, the oldest first, on the price basis of the bars."""
    splits: pl.DataFrame
    calibration: tuple[CalibrationBin, ...]
    versions: tuple[VersionEntry, ...]
    cards: tuple[tuple[str, ...], ...]
    """Verdicts of the gate in sentences: on the active network, and on the newest other one."""


def ticker_view(conn: Connection, ticker: str, rows: RowKind, num_days: int) -> TickerView:
    """The ticker over the last `num_days` days that it has bars of."""
    row = conn.execute(query("dashboard.newest_bar"), {"ticker": ticker}).fetchone()
    newest = row[0] if row is not None else None
    since = date.min if newest is None else newest - timedelta(days=num_days)
    asked: Mapping[str, object] = {"ticker": ticker, "since": since, **rows.parameters}
    forecasts = read_frame(conn, query("dashboard.forecasts_of_ticker"), asked, FORECASTS)
    return TickerView(
        ticker=ticker,
        bars=read_frame(conn, query("dashboard.bars"), asked, BARS),
        forecasts=forecasts,
        splits=read_frame(conn, query("dashboard.splits"), asked, SPLITS),
        calibration=calibration(_filled(forecasts)),
        versions=tuple(list_versions(conn, ticker)),
        cards=tuple(tuple(_card(ticker, network)) for network in judged_networks(conn, ticker)),
    )


def forecasts_and_actuals(forecasts: pl.DataFrame, horizon: str) -> pl.DataFrame:
    """One horizon by target session: pred, low, high (80% interval), actual, run_date, error, no_change_error.

    Errors are in percent of the actual price.
    """
    chosen = forecasts.filter(pl.col(f"{horizon}_pred").is_not_null()).select(
        "run_date",
        "close",
        *(pl.col(f"{horizon}_{name}").alias(name) for name in ("session", "pred", "actual", "low", "high")),
    )
    return chosen.with_columns(
        (100 * (pl.col("pred") / pl.col("actual") - 1).abs()).alias("error"),
        (100 * (pl.col("close") / pl.col("actual") - 1).abs()).alias("no_change_error"),
    )


def errors_over_time(forecasts: pl.DataFrame, horizon: str) -> pl.DataFrame:
    """Mean absolute errors in percent over SMOOTHED_ROWS filled forecasts, and those of no change, by run date."""
    filled = forecasts_and_actuals(forecasts, horizon).filter(pl.col("actual").is_not_null())
    return filled.select(
        "run_date",
        *(pl.col(name).rolling_mean(window_size=SMOOTHED_ROWS, min_samples=1) for name in ("error", "no_change_error")),
    )


def lifecycle_sentences(versions: tuple[VersionEntry, ...]) -> list[str]:
    """One sentence a version, the newest first."""
    return [_life(version) for version in versions]


def _life(entry: VersionEntry) -> str:
    text = f"{entry.version}: trained on bars up to {entry.trained_on}, active since {entry.activated_at:%Y-%m-%d}"
    if entry.restores is not None:
        text += f", restored from {entry.restores} by {entry.restored_by} ({entry.restored_why})"
    if entry.retired_at is not None:
        how = f"retired {entry.retired_at:%Y-%m-%d}"
        if entry.retired_by is not None:
            how += f" by {entry.retired_by} ({entry.retired_why})"
        elif entry.next_version is not None:
            how += f", followed by {entry.next_version}"
        text += f", {how}"
    return f"{text}; used for {entry.num_forecasts} rows of the record."


def _card(ticker: str, network: JudgedNetwork) -> list[str]:
    return [f"Judged {network.decided_at:%Y-%m-%d %H:%M} UTC.", *model_card(ticker, network.version, network.verdict)]


def _filled(forecasts: pl.DataFrame) -> pl.DataFrame:
    """The filled next-day forecasts with the columns that the calibration reads."""
    return forecasts.filter(pl.col("next_day_actual").is_not_null()).select(
        "run_date", pl.col("close").alias("run_date_close"), "next_day_pred", "next_day_actual"
    )
