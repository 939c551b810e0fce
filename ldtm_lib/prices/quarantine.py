"""Bars that were refused: kept with the reason until a valid bar of their session arrives."""

import polars as pl

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.prices.bars import KEY

QUARANTINE_SCHEMA = pl.Schema(
    {
        "ticker": pl.String,
        "session": pl.Date,
        "reason": pl.String,
        "bar": pl.String,
        "source": pl.String,
        "first_seen_at": pl.Datetime("us", "UTC"),
        "last_seen_at": pl.Datetime("us", "UTC"),
    }
)


def quarantine(conn: Connection, refused: pl.DataFrame, source: str) -> None:
    """Keep refused bars (columns of BAR_SCHEMA and `reason`); one that is there already is only dated again."""
    if not refused.is_empty():
        conn.execute(query("prices.quarantine"), {"source": source} | refused.to_dict(as_series=False))


def resolve(conn: Connection, valid: pl.DataFrame) -> None:
    """Close the refusals of the sessions that valid bars have arrived for."""
    tickers = valid["ticker"].unique().to_list()
    rows = conn.execute(query("prices.open_refusals"), {"tickers": tickers}).fetchall()
    if not rows:
        return
    schema = {"quarantined_id": pl.Int64, "ticker": pl.String, "session": pl.Date}
    refusals = pl.DataFrame(rows, schema=schema, orient="row")
    resolved = refusals.join(valid, on=KEY, how="semi")
    if not resolved.is_empty():
        conn.execute(query("prices.resolve"), {"ids": resolved["quarantined_id"].to_list()})


def without_valid_bar(conn: Connection, per_ticker: pl.DataFrame) -> dict[str, str]:
    """The tickers without a valid bar in a delivery, each with the reason for its newest refused bar.

    `per_ticker` counts the bars of the delivery, as in `IngestReport`.
    """
    valid = pl.sum_horizontal("num_new", "num_restated", "num_unchanged")
    lacking = per_ticker.filter((valid == 0) & (pl.col("num_refused") > 0))
    if lacking.is_empty():
        return {}
    reasons = open_quarantine(conn).sort("last_seen_at", "session").group_by("ticker").agg(pl.col("reason").last())
    return {
        row["ticker"]: _none_is_valid(row["ticker"], row["num_refused"], row["reason"])
        for row in lacking.join(reasons, on="ticker", how="left").iter_rows(named=True)
    }


def _none_is_valid(ticker: str, num_bars: int, reason: str) -> str:
    if num_bars == 1:
        return f"the only delivered bar of {ticker} is not valid: {reason}; correct it in the source, and load it again"
    found = f"none of the {num_bars:,} bars of {ticker} is valid, such as {reason}"
    return f"{found}; correct them in the source, and load them again"


def open_quarantine(conn: Connection) -> pl.DataFrame:
    """Every refusal that no valid bar has resolved yet: columns of QUARANTINE_SCHEMA, `bar` as JSON."""
    rows = conn.execute(query("prices.open_quarantine")).fetchall()
    return pl.DataFrame(rows, schema=QUARANTINE_SCHEMA, orient="row")
