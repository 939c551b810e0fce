"""Checks of actuals against the stored bars and splits that they were computed from."""

from math import prod

import polars as pl

from ldtm_lib.audit.encoding import Field
from ldtm_lib.audit.hashed_rows import read_rows
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query

BARS = (
    Field("ticker", "text"),
    Field("target_session", "date"),
    Field("bar_recorded_at", "timestamptz"),
    Field("bar_close", "float8"),
)
SPLITS = (
    Field("ticker", "text"),
    Field("split_session", "date"),
    Field("split_id", "int8"),
    Field("split_recorded_at", "timestamptz"),
    Field("split_ratio", "float8"),
)
STATEMENT_TIME = 600 * 1_000_000
"""Microseconds before a fill in which its statement may already have run, without the splits recorded meanwhile."""


def actuals_without_bar(conn: Connection, fills: pl.DataFrame, closes: pl.DataFrame) -> pl.Series:
    """True for each fill whose actual does not follow from any stored bar, to the bit.

    `fills` has ticker, run_date, target_session, actual, bars_recorded_until and filled_at; `closes` the moment
    `closes_at` of every session. The bar must be of the target session and recorded between its close and the fill; the
    actual is its close times the splits after the run date that the forecast had not seen.
    """
    due = (
        fills.with_row_index("place")
        .join(closes, on="target_session", how="left")
        .filter(pl.col("actual").is_not_null())
    )
    matching = (
        due.join(read_rows(conn, query("audit.bars"), BARS), on=("ticker", "target_session"))
        .filter((pl.col("bar_recorded_at") >= pl.col("closes_at")) & (pl.col("bar_recorded_at") <= pl.col("filled_at")))
        .pipe(_with_ratios, read_rows(conn, query("audit.splits"), SPLITS))
        .filter(
            pl.any_horizontal(pl.col("bar_close") * pl.col(name) == pl.col("actual") for name in ("ratio", "older"))
        )
    )
    return (~pl.int_range(len(fills), eager=True).is_in(matching["place"].implode())) & fills["actual"].is_not_null()


def _with_ratios(fills: pl.DataFrame, splits: pl.DataFrame) -> pl.DataFrame:
    """The fills with the products of the splits known at the fill, and ten minutes before it.

    They are multiplied in the order of session and number, as in the database: another order can change the last bit.
    """
    affected = fills.join(splits, on="ticker").filter(
        (pl.col("split_session") > pl.col("run_date"))
        & (pl.col("split_recorded_at") > pl.col("bars_recorded_until"))
        & (pl.col("split_recorded_at") <= pl.col("filled_at"))
    )
    products: list[tuple[object, ...]] = []
    for keys, group in affected.sort("split_session", "split_id").group_by(
        "place", "bar_recorded_at", maintain_order=True
    ):
        seen = group["split_recorded_at"] <= group["filled_at"] - STATEMENT_TIME
        products.append((*keys, prod(group["split_ratio"]), prod(group["split_ratio"].filter(seen))))
    schema = {"place": fills.schema["place"], "bar_recorded_at": pl.Int64, "ratio": pl.Float64, "older": pl.Float64}
    found = pl.DataFrame(products, schema=schema, orient="row")
    return fills.join(found, on=("place", "bar_recorded_at"), how="left").with_columns(
        pl.col("ratio").fill_null(1.0), pl.col("older").fill_null(1.0)
    )
