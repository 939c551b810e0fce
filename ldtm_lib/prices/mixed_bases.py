"""Detection of deliveries that would leave two price bases in one history.

The current bars of a ticker are on one price basis. Several consecutive bars whose open, high, low and close are all at
one multiple of the stored ones are not corrections, but on another basis. If no session is both stored and delivered,
delivered prices that are far from the neighbouring stored ones count as another basis, too. Such a delivery is not
recorded, unless it replaces all bars of the other basis.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from ldtm_lib.prices.bars import PRICE_COLUMNS
from ldtm_lib.prices.split_ratios import Floats, fitting_ratios, is_large_move, ratio_bounds, rounding_of
from ldtm_lib.prices.splits import MIN_RESTATED_BARS, RATIO_TOLERANCE
from ldtm_lib.wording import counted

LONG_GAP = timedelta(days=31)
"""Time without bars after which prices before and after are not compared: the symbol may have another owner."""
NOISE = 0.005
"""Largest relative distance of a bar's prices from their multiple, if that is over 1%: vendors round other factors."""
MOST_MULTIPLES = 3
"""Multiples that a note names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """Two consecutive bars, one of them stored and the other delivered."""

    session: date
    close: float
    later_session: date
    later_close: float

    @property
    def is_large(self) -> bool:
        """True if the move may be a split."""
        return is_large_move(self.later_close / self.close)

    @property
    def is_gap(self) -> bool:
        """True if there is so much time between them that their prices are not compared."""
        return self.later_session - self.session > LONG_GAP

    @property
    def move(self) -> str:
        """The move in words."""
        return f"from {self.close:g} on {self.session} to {self.later_close:g} on {self.later_session}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Bars of one ticker on some basis, and how far each price may be from the exact one."""

    bars: pl.DataFrame
    rounding: Floats
    """(n, 4), in the units of the prices; by the decimals of the bars before they were restated."""

    @classmethod
    def restated(cls, bars: pl.DataFrame, original: pl.DataFrame) -> "Prices":
        """Bars that were restated from original ones, row by row; columns of BAR_SCHEMA."""
        factor = (bars["close"] / original["close"]).to_numpy()[:, None]
        return cls(bars=bars, rounding=rounding_of(original.select(PRICE_COLUMNS).to_numpy()) * factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescaled:
    """Bars that arrive at a multiple of their stored prices, in words; `is_mixed` if other stored bars remain."""

    message: str
    is_mixed: bool


def rescaled_bars(delivered: Prices, stored: Prices, closes: pl.DataFrame) -> Rescaled | None:
    """The bars of one ticker that a delivery has at one multiple of their stored prices; None if there are none.

    `closes` has session and close of the bars in `stored` and of the stored ones before and after them. If one that is
    not delivered is next to a rescaled one, two bases would be mixed.
    """
    sessions = delivered.bars["session"].to_numpy()
    _, at_old, at_new = np.intersect1d(stored.bars["session"].to_numpy(), sessions, return_indices=True)
    old, new = (side.bars.select(PRICE_COLUMNS).to_numpy()[at] for side, at in ((stored, at_old), (delivered, at_new)))
    of_prices = ratio_bounds(old, new, stored.rounding[at_old], delivered.rounding[at_new])
    least, greatest = of_prices[0].max(axis=1), of_prices[1].min(axis=1)
    ratio = old / new
    middle = np.median(ratio, axis=1)
    is_far = np.abs(middle - 1) > RATIO_TOLERANCE
    is_rescaled = (least <= greatest) & ((least > 1) | (greatest < 1))
    if len(old) < MIN_RESTATED_BARS:  # single bars may be corrected by less
        is_rescaled &= is_far
    is_rescaled |= is_far & (np.abs(ratio / middle[:, None] - 1).max(axis=1) <= NOISE)
    low = np.where(is_far, np.minimum(least, middle * (1 - NOISE)), least)
    high = np.where(is_far, np.maximum(greatest, middle * (1 + NOISE)), greatest)
    runs = _runs(low, high, is_rescaled, min(MIN_RESTATED_BARS, len(old)))
    if not runs:
        return None
    multiples = dict.fromkeys(f"{np.median(new[run] / old[run]):.6g}" for run in runs[-MOST_MULTIPLES:])
    num_ratios = len(fitting_ratios(float(least[runs[-1]].max()), float(greatest[runs[-1]].min())))
    num_bars = sum(len(old[run]) for run in runs)
    message = (
        f"{num_bars} of {counted(len(old), 'stored bar')} {'arrives' if num_bars == 1 else 'arrive'} at "
        f"{' and '.join(multiples)} times their prices, {_meaning(num_ratios, len(old))}"
    )
    at = closes["session"].to_numpy()
    is_delivered = np.ones(len(at) + 2, dtype=bool)  # with one place before the first bar and one after the last
    is_delivered[1:-1] = np.isin(at, sessions)
    rescaled = np.searchsorted(
        at, stored.bars["session"].to_numpy()[at_old[np.concatenate([np.r_[run] for run in runs])]]
    )
    is_mixed = not bool((is_delivered[rescaled] & is_delivered[rescaled + 2]).all())
    return Rescaled(message=message, is_mixed=is_mixed)


def _meaning(num_ratios: int, num_common: int) -> str:
    if num_ratios > 1:
        return "whose decimals allow several splits"
    if num_common < MIN_RESTATED_BARS:
        return f"and fewer than {MIN_RESTATED_BARS} bars cannot show a split"
    if num_ratios == 1:
        return "which may be a split, but other bars contradict it"
    return "which is not a split ratio: dividends taken out on one side only, or a spin-off"


def transitions_between(delivered: pl.DataFrame, stored: pl.DataFrame) -> list[Transition]:
    """The neighbouring bars of which one is stored and the other delivered, if no session is both; oldest first.

    Both frames have session and close, and are of one ticker.
    """
    parts = [
        part.select("session", "close", is_new=pl.lit(is_new)) for part, is_new in ((delivered, True), (stored, False))
    ]
    both = pl.concat(parts).sort("session")
    if both["session"].is_duplicated().any():
        return []
    rows = both.rows()
    return [
        Transition(session=one[0], close=one[1], later_session=two[0], later_close=two[1])
        for one, two in pairwise(rows)
        if one[2] != two[2]
    ]


def _runs(least: Floats, greatest: Floats, is_rescaled: npt.NDArray[np.bool_], length: int) -> Sequence[slice]:
    """Runs of at least `length` consecutive rescaled bars that one ratio explains."""
    runs: list[slice] = []
    start, low, high = 0, 0.0, np.inf
    for at in range(len(least) + 1):
        goes_on = at < len(least) and bool(is_rescaled[at]) and max(low, least[at]) <= min(high, greatest[at])
        if goes_on:
            low, high = max(low, float(least[at])), min(high, float(greatest[at]))
            continue
        if at - start >= length and at > start:
            runs.append(slice(start, at))
        if at < len(least) and is_rescaled[at]:
            start, low, high = at, float(least[at]), float(greatest[at])
        else:
            start, low, high = at + 1, 0.0, np.inf
    return runs


def gap_note(ticker: str, step: Transition) -> str:
    """A note on a large move over a long time without bars."""
    gap = counted((step.later_session - step.session).days, "day")
    return (
        f"{ticker}: no bar for {gap}, and prices go {step.move}: the symbol "
        "may have belonged to another company before, and no split is inferred across the gap; if it did, load only "
        "the history of the right company"
    )
