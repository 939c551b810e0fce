"""Volume units: volumes of a source that begins to count in lots of 100 shares, or in shares instead of lots.

Volume is an input of every network, and a change of unit would look like a day with a hundredth of the trading. Stored
bars stay unchanged, and delivered ones are converted to their unit. A split is not taken for a change of unit, since it
also changes prices.
"""

from dataclasses import dataclass

import polars as pl

from ldtm_lib.prices.bars import BAR_COLUMNS, KEY
from ldtm_lib.prices.splits import HALF_A_CENT
from ldtm_lib.wording import counted

LOT = 100
"""Shares in a round lot."""
LEAST_BARS = 3
"""Fewest common bars with volumes that differ by LOT; fewer may be a plain correction."""
LARGEST_CORRECTION = 2.0
"""A corrected volume of a bar is within this factor of the first one; LOT is far beyond it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InStoredUnits:
    """Delivered bars with volumes in the unit of the stored ones, and a note for each ticker delivered in another."""

    bars: pl.DataFrame
    notes: tuple[str, ...]


def in_stored_units(delivered: pl.DataFrame, stored: pl.DataFrame) -> InStoredUnits:
    """Put delivered volumes into the unit of the stored bars; both frames have the columns of BAR_SCHEMA.

    The evidence is common bars with equal closes and volumes above zero. The unit changed if at least LEAST_BARS of
    them differ by LOT up to rounding to whole lots, and each of the others either differs by LOT or has the stored
    volume, up to a correction. If some have the stored volume, the unit changed within the stored range; a new bar then
    has the unit of the common bar before it. A volume that differs only by its unit becomes the stored one.
    """
    common = _common(delivered, stored)
    judged = _judged(common)
    if judged.is_empty():
        return InStoredUnits(bars=delivered, notes=())
    own = delivered.join(judged.select("ticker", "factor"), on="ticker").join(common, on=KEY, how="left").sort(KEY)
    is_other = pl.col("is_other").forward_fill().over("ticker")
    is_other = pl.coalesce(is_other, pl.col("is_other").backward_fill().over("ticker"))
    own = own.with_columns(is_other=is_other.fill_null(value=False)).with_columns(
        volume=pl.when("is_rounded").then("volume_stored").when("is_other").then(pl.col("volume") * pl.col("factor"))
        .otherwise("volume")
    )  # fmt: skip
    is_new = own.join(stored, on=KEY, how="anti").group_by("ticker").agg(num_new=pl.col("is_other").sum())
    others = delivered.join(judged, on="ticker", how="anti")
    return InStoredUnits(
        bars=pl.concat([others, own.select(BAR_COLUMNS)]),
        notes=tuple(_note(row) for row in judged.join(is_new, on="ticker", how="left").sort("ticker").to_dicts()),
    )


def _common(delivered: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """The common bars with equal closes and volumes above zero: KEY, volume_stored, and what their volumes show.

    `is_other`: the volumes differ by LOT up to a correction; `is_rounded`: up to rounding to whole lots, in which case
    the volumes are equal but for the unit; `is_same`: equal up to a correction. `lot` is the factor from the delivered
    to the stored volume, LOT or 1 / LOT.
    """
    volume, before = pl.col("volume"), pl.col("volume_stored")
    is_equal = (pl.col("close") - pl.col("close_stored")).abs() <= 2 * HALF_A_CENT
    lot = pl.when(before > volume).then(float(LOT)).otherwise(1 / LOT)
    converted = volume * lot
    return (
        delivered.join(stored, on=KEY, suffix="_stored")
        .filter(is_equal & (volume > 0) & (before > 0))
        .select(
            *KEY,
            "volume_stored",
            lot=lot,
            is_other=_is_within(converted / before),
            is_rounded=_is_within(converted / before) & ((converted - before).abs() <= pl.max_horizontal(lot, 1.0)),
            is_same=_is_within(volume / before),
        )
    )


def _is_within(ratio: pl.Expr) -> pl.Expr:
    return ratio.is_between(1 / LARGEST_CORRECTION, LARGEST_CORRECTION)


def _judged(common: pl.DataFrame) -> pl.DataFrame:
    """The tickers whose unit changed: ticker, factor from delivered to stored volume, counts and sessions."""
    is_other, is_rounded = pl.col("is_other"), pl.col("is_rounded")
    factor = pl.col("lot").filter(is_other)
    return (
        common.group_by("ticker")
        .agg(
            factor=factor.first(),
            num_factors=factor.n_unique(),
            num_common=pl.len(),
            num_other=is_other.sum(),
            num_rounded=is_rounded.sum(),
            num_same=pl.col("is_same").sum(),
            first=pl.col("session").filter(is_other).min(),
            last=pl.col("session").filter(is_other).max(),
        )
        .filter(
            (pl.col("num_rounded") >= LEAST_BARS)
            & (pl.col("num_factors") == 1)
            & (pl.col("num_other") + pl.col("num_same") == pl.col("num_common"))
        )
    )


def _note(row: dict[str, object]) -> str:
    """A note on the changed unit of one ticker, a row of `_judged` with `num_new`."""
    is_lots = row["factor"] == LOT
    partly = row["num_other"] != row["num_common"]
    num_new = row["num_new"] or 0
    assert isinstance(num_new, int)
    return (
        f"{row['ticker']}: the volumes of {row['num_other']} of {row['num_common']} stored bars, {row['first']} to "
        f"{row['last']}, arrive {'divided' if is_lots else 'multiplied'} by {LOT}: the source seems to count in "
        f"{'lots of 100 shares' if is_lots else 'shares instead of lots'}; the stored bars stay as they are, and the "
        f"volumes of {counted(num_new, 'new bar')} are {'multiplied' if is_lots else 'divided'} by {LOT}"
        + (
            "; the unit changed within these bars, so that stored or delivered volumes are in two units: compare them "
            "with another source"
            if partly
            else ""
        )
    )
