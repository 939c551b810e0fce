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
    """Keep refused bars (columns of BAR_SCHEMA and `reason`); one that is there already is only seen again."""
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


def open_quarantine(conn: Connection) -> pl.DataFrame:
    """Every refusal that no valid bar has answered yet: columns of QUARANTINE_SCHEMA, `bar` as JSON."""
    rows = conn.execute(query("prices.open_quarantine")).fetchall()
    return pl.DataFrame(rows, schema=QUARANTINE_SCHEMA, orient="row")
