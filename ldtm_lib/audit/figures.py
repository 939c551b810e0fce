"""The figures of a row that follow from its values: direction, error, and whether a direction was right.

The database computes them when a row is written. Here they are computed again, by the definitions of the specification,
so that neither its functions nor its triggers have to be trusted. `verify_proof.py` does the same for one forecast.
"""

import polars as pl

SAME_PRICE = 1e-9
"""Relative difference up to which a price counts as unchanged: rounding of a division by a split ratio and back."""


def is_wrong_direction(rows: pl.DataFrame) -> pl.Series:
    """True for rows whose direction does not follow from `next_day_pred`, `run_date_close` and `neutral_band`.

    Rows without a band, of older versions, are wrong if the price moves against the direction.
    """
    expected_return = pl.col("next_day_pred") / pl.col("run_date_close") - 1
    direction = (
        pl.when(expected_return.abs() <= pl.col("neutral_band"))
        .then(pl.lit("neutral"))
        .when(expected_return > 0)
        .then(pl.lit("bullish"))
        .otherwise(pl.lit("bearish"))
    )
    against = ((pl.col("direction_pred") == "bullish") & (expected_return <= 0)) | (
        (pl.col("direction_pred") == "bearish") & (expected_return >= 0)
    )
    has_band = pl.col("neutral_band").is_not_null()
    wrong = pl.when(has_band).then(pl.col("direction_pred") != direction).otherwise(against)
    return rows.select(wrong & pl.col("next_day_pred").is_not_null()).to_series()


def is_wrong_fill(rows: pl.DataFrame) -> pl.Series:
    """True for rows whose `pct_error`, `direction_actual` or `direction_correct` do not follow from actual and
    forecast.

    Only the next day has directions; a neutral forecast has no correctness.
    """
    actual, close = pl.col("actual"), pl.col("close")
    error = (pl.col("pred") - actual) / actual * 100
    is_next_day = pl.col("horizon") == "next_day"
    direction = (
        pl.when((actual - close).abs() <= SAME_PRICE * close)
        .then(pl.lit("neutral"))
        .when(actual > close)
        .then(pl.lit("bullish"))
        .otherwise(pl.lit("bearish"))
    )
    is_correct = pl.when(pl.col("direction_pred") != "neutral").then(pl.col("direction_pred") == direction)
    wrong = (
        error.ne_missing(pl.col("pct_error"))
        | pl.col("direction_actual").ne_missing(pl.when(is_next_day).then(direction))
        | pl.col("direction_correct").ne_missing(pl.when(is_next_day).then(is_correct))
    )
    return rows.select(wrong & actual.is_not_null()).to_series()
