"""Stock splits: their effect on prices, and the ratio by which a split restated stored bars."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl

from ldtm_lib.prices.bars import PRICE_COLUMNS
from ldtm_lib.prices.split_ratios import Floats, only_ratio, ratio_bounds, rounding_of

RATIO_TOLERANCE = 0.01
"""Largest relative difference between two closes of a session that count as the same."""
HALF_A_CENT = 0.005
"""A quoted price is rounded to cents: a restated one of a cheap share may be off by this much more."""
MIN_RESTATED_BARS = 3
"""Fewer bars that all changed by one ratio may be a plain correction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A split of one ticker: `session` is the first on the new basis, `ratio` new shares for one old share."""

    ticker: str
    session: date
    ratio: float


def adjust(bars: pl.DataFrame, splits: Iterable[Split]) -> pl.DataFrame:
    """Restate bars on the basis after some splits: before each one, prices / ratio and volume * ratio.

    `bars` has the columns of BAR_SCHEMA; the order of its rows is kept.
    """
    factor = pl.lit(1.0)
    splits = tuple(splits)
    for split in splits:
        before = (pl.col("ticker") == split.ticker) & (pl.col("session") < split.session)
        factor *= pl.when(before).then(split.ratio).otherwise(1.0)
    if not splits:
        return bars
    return (
        bars.with_columns(factor.alias("_factor"))
        .with_columns(pl.col(PRICE_COLUMNS) / pl.col("_factor"), pl.col("volume") * pl.col("_factor"))
        .drop("_factor")
    )


def restatement_ratio(stored: npt.ArrayLike, delivered: npt.ArrayLike) -> float | None:
    """The split ratio by which all bars of a ticker were restated, or None if it was not a split.

    Both arrays, (n,) or (n, 4), hold prices of the same sessions. All of them, of at least three bars, must have
    changed by one ratio of SPLIT_RATIOS, up to the rounding of the prices. If several ratios fit, the result is None.
    """
    old, new = np.asarray(stored, dtype=np.float64), np.asarray(delivered, dtype=np.float64)
    if len(old) < MIN_RESTATED_BARS or is_same_price(old, new).any():
        return None
    least, greatest = ratio_bounds(old, new, rounding_of(old), rounding_of(new))
    return only_ratio(float(least.max()), float(greatest.min()))


def is_same_price(stored: Floats, delivered: Floats, ratio: float = 1.0) -> npt.NDArray[np.bool_]:
    """True if stored prices are delivered ones times a ratio, within 1% and the rounding to cents."""
    rounding = HALF_A_CENT * (1 + ratio)
    return np.abs(stored - ratio * delivered) <= RATIO_TOLERANCE * np.minimum(stored, ratio * delivered) + rounding
