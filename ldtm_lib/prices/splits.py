"""Stock splits: their effect on prices, and how to distinguish one from a crash or a dividend."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl

from ldtm_lib.prices.bars import KEY, PRICE_COLUMNS

Floats = npt.NDArray[np.float64]

FORWARD_RATIOS = (2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 50, 3 / 2, 4 / 3, 5 / 4)
SPLIT_RATIOS: Floats = np.sort(np.array([*FORWARD_RATIOS, *(1 / ratio for ratio in FORWARD_RATIOS)]))
"""The ratios that splits of listed shares have, reverse ones included."""
RATIO_TOLERANCE = 0.01
"""How far, relatively, a measured ratio may lie from that of a split."""
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


def near_split_ratio(ratio: float, tolerance: float = RATIO_TOLERANCE) -> float | None:
    """The split ratio within a relative tolerance of a measured one, or None."""
    if not np.isfinite(ratio) or ratio <= 0:
        return None
    nearest = float(SPLIT_RATIOS[np.argmin(np.abs(np.log(SPLIT_RATIOS / ratio)))])
    return nearest if abs(ratio / nearest - 1) <= tolerance else None


def splits_from_adjusted_close(bars: pl.DataFrame) -> tuple[Split, ...]:
    """Find the splits of raw bars by the jumps of close / adj_close.

    `bars` has the columns ticker, session, close (raw) and adj_close. A dividend moves the quotient by its yield,
    a split by its ratio; only jumps within 1% of a split's ratio count.
    """
    jump = pl.col("factor").shift(1).over("ticker") / pl.col("factor")
    found = (
        bars.sort(KEY)
        .filter((pl.col("close") > 0) & (pl.col("adj_close") > 0))
        .with_columns(factor=pl.col("close") / pl.col("adj_close"))
        .select(*KEY, jump=jump)
        .filter((pl.col("jump") - 1).abs() > 0.1)
    )
    measured = [(row["ticker"], row["session"], near_split_ratio(row["jump"])) for row in found.iter_rows(named=True)]
    return tuple(Split(ticker=t, session=s, ratio=ratio) for t, s, ratio in measured if ratio is not None)


def restatement_ratio(
    stored_close: Sequence[float] | Floats, delivered_close: Sequence[float] | Floats
) -> float | None:
    """The split ratio by which all bars of a ticker were restated, or None when it was no split.

    Both arrays hold the closes of the same sessions. All of them, at least three, must have changed by one ratio
    that splits have, within 1% and the rounding of a price to cents.
    """
    stored, delivered = np.asarray(stored_close, dtype=np.float64), np.asarray(delivered_close, dtype=np.float64)
    if len(stored) < MIN_RESTATED_BARS or _same(stored, delivered, 1.0).any():
        return None
    ratio = near_split_ratio(float(np.median(stored / delivered)), tolerance=2 * RATIO_TOLERANCE)
    return ratio if ratio is not None and _same(stored, delivered, ratio).all() else None


def is_same_price(stored: Floats, delivered: Floats, ratio: float = 1.0) -> npt.NDArray[np.bool_]:
    """Whether stored prices are delivered ones times a ratio, within 1% and the rounding to cents."""
    return _same(stored, delivered, ratio)


def _same(stored: Floats, delivered: Floats, ratio: float) -> npt.NDArray[np.bool_]:
    rounding = HALF_A_CENT * (1 + ratio)
    return np.abs(stored - ratio * delivered) <= RATIO_TOLERANCE * np.minimum(stored, ratio * delivered) + rounding
