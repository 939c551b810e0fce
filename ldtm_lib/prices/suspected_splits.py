"""Prices that look like a split or a dividend which nobody declared, in words for the operator who can tell.

Nothing here changes a bar: a note says what was seen, what it may be, and what to do if it was that.
"""

from datetime import date

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from ldtm_lib.prices.splits import HALF_A_CENT, MIN_RESTATED_BARS, Floats, near_split_ratio

JUMP_TOLERANCE = 0.1
"""An overnight move of the market comes on top of a split's ratio."""
SMALLEST_JUMP = 1.5
"""A split of less than 3 for 2, either way, is too like a bad day to be suspected on every one."""
FLOAT_ROUNDING = 1e-6


def jump_note(ticker: str, session: date, close_before: float, close: float, remedy: str) -> str | None:
    """A note on two closes that follow each other and lie a split's ratio apart; None where they do not.

    `session` is that of the second close, `remedy` what to do if it was a split.
    """
    ratio = near_split_ratio(close_before / close, JUMP_TOLERANCE)
    if ratio is None or 1 / SMALLEST_JUMP < ratio < SMALLEST_JUMP:
        return None
    move = "crash" if ratio > 1 else "leap"
    return (
        f"{ticker} goes from {close_before:g} to {close:g} on {session}: a {move}, or a split of {ratio:g} for 1; "
        f"if it was a split, {remedy}"
    )


def rescaling_note(ticker: str, stored: Floats, delivered: Floats) -> str | None:
    """A note on stored bars that arrive at a constant multiple of their prices which is no split's; else None.

    Both arrays are (n, 4): open, high, low and close of the same sessions, oldest first. Files whose dividends are
    taken out look like this after every dividend: all bars before it move by its yield.
    """
    ratio = _constant_ratio(stored, delivered)
    if ratio is None or near_split_ratio(ratio) is not None:
        return None
    return (
        f"{ticker}: {int(_differs(stored, delivered).sum())} of {len(stored)} stored bars arrive at other prices, the "
        f"newest of them at {1 / ratio:.6g} times the stored ones, which is no split: dividends seem to be taken out "
        "of one side and not of the other, and two price bases get mixed; use prices that are adjusted for splits only"
    )


def _constant_ratio(stored: Floats, delivered: Floats) -> float | None:
    """Stored over delivered price of the newest bars in a row that all differ by one ratio, if most that differ do."""
    differs = _differs(stored, delivered)
    if len(stored) < MIN_RESTATED_BARS or not differs.any():
        return None
    ratios = np.median(stored / delivered, axis=1)
    ratio = np.median(sliding_window_view(ratios, MIN_RESTATED_BARS), axis=1)
    old, new = (sliding_window_view(prices, MIN_RESTATED_BARS, axis=0) for prices in (stored, delivered))
    factor = ratio[:, None, None]
    is_constant = (np.abs(old - factor * new) <= HALF_A_CENT * (1 + factor) + FLOAT_ROUNDING * old).all(axis=(1, 2))
    runs = is_constant & sliding_window_view(differs, MIN_RESTATED_BARS).all(axis=1)
    in_runs = np.convolve(runs, np.ones(MIN_RESTATED_BARS)) > 0
    if 2 * np.count_nonzero(in_runs) <= np.count_nonzero(differs):
        return None
    return float(ratio[np.flatnonzero(runs)[-1]])


def _differs(stored: Floats, delivered: Floats) -> npt.NDArray[np.bool_]:
    """Which bars differ in all four prices by more than two roundings to cents."""
    beyond_rounding = np.abs(stored - delivered) > 2 * HALF_A_CENT + FLOAT_ROUNDING * stored
    return np.all(beyond_rounding, axis=1)
