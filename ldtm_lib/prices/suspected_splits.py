"""Notes for the operator on prices that look like an undeclared split.

A note changes no bar: it gives the observation, its possible meanings, and the remedy if it was a split.
"""

from datetime import date

from ldtm_lib.prices.split_ratios import is_large_move, suspected_ratio

JUMP_TOLERANCE = 0.1
"""An overnight move of the market comes on top of a split's ratio."""


def jump_note(ticker: str, session: date, close_before: float, close: float, remedy: str) -> str | None:
    """A note on two consecutive closes that are a split's ratio apart; None if they are not, or
    if a close is 0, which validation refuses later.

    `session` is that of the second close, `remedy` what to do if it was a split.
    """
    ratio = suspected_ratio(close_before / close, JUMP_TOLERANCE) if close else None
    if ratio is None or not is_large_move(ratio):
        return None
    move = "crash" if ratio > 1 else "leap"
    return (
        f"{ticker} goes from {close_before:g} to {close:g} on {session}: a {move}, or a split of {ratio:g} for 1; "
        f"if it was a split, {remedy}"
    )
