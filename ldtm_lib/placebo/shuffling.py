"""Placebo windows: each gets the labels of another window, so that its inputs tell a network nothing about them.

Axes: n labelled windows, 3 horizons.
"""

import math
from dataclasses import replace

import numpy as np

from ldtm_lib.errors import TooFewBars
from ldtm_lib.features.indicators import WARMUP_BARS
from ldtm_lib.features.scaling import Integers, scale_prices
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.sessions import ONE_MONTH_SESSIONS
from ldtm_lib.wording import counted

BLOCK_ROWS = ONE_MONTH_SESSIONS
"""Number of windows whose futures stay together, so that the one-month moves of neighbours overlap as in real data."""
FEWEST_GUARDS = 3
"""Fewest blocks of a history, in units of the distance by which a block must move."""
MARK = "~"
"""Separates a ticker from the number of its copy; no ticker contains it."""


def shuffled(windows: WindowSet, *, seed: int, copy: int) -> WindowSet:
    """A copy of one ticker's windows whose futures are exchanged among them, with a name such as `AAPL~17`.

    The future of a labelled window is the ratio of each of its three target prices to its close. Futures move in blocks
    of 21 consecutive labelled windows; a window's new target prices are its close times the ratios that it receives.
    Inputs and sessions stay and are shared, not copied. A block moves so far that its future overlaps neither the
    future of the windows that receive it nor any bar that these read: a window must not see in its past the future that
    it receives. (Wilder's RSI reads all of the past; (13/14)^34 = 8% of a move is left in it where the window begins.)

    The same (ticker, seed, copy) gives the same windows; `seed` and `copy` must not be negative. Raises TooFewBars when
    there are too few labelled windows for blocks that far apart.
    """
    rows = np.flatnonzero(windows.labelled)
    distance = math.ceil((ONE_MONTH_SESSIONS + windows.window_sessions + WARMUP_BARS) / BLOCK_ROWS)
    fewest = FEWEST_GUARDS * distance * BLOCK_ROWS
    if len(rows) < fewest:
        raise TooFewBars(
            f"{windows.ticker} has {counted(len(rows), 'labelled window')}, but {fewest} are needed to exchange "
            "futures such that no window sees the future that it receives; use more bars, or leave the ticker out"
        )
    generator = np.random.default_rng([seed, copy, *windows.ticker.encode()])
    sources = rows[_sources(len(rows), distance, generator)]
    target_prices, targets = windows.target_prices.copy(), windows.targets.copy()
    moves = windows.target_prices[sources] / windows.close[sources, None]
    target_prices[rows] = windows.close[rows, None] * moves
    scaled = scale_prices(target_prices[rows], windows.close_min[rows], windows.close_max[rows])
    targets[rows] = scaled.astype(np.float32)
    return replace(windows, ticker=f"{windows.ticker}{MARK}{copy}", target_prices=target_prices, targets=targets)


def original_of(name: str) -> str:
    """The ticker from whose windows a shuffled copy was made."""
    return name.partition(MARK)[0]


def _sources(num_rows: int, distance: int, generator: np.random.Generator) -> Integers:
    """The row (n,) whose future each row receives: every future once, from at least `distance` blocks away.

    Rows at the end that do not fill a block exchange futures with the head of a block. All other rows keep their places
    in their blocks: if blocks were shifted by a few rows instead, one could end up a few rows from where it was.
    """
    num_blocks, num_left = divmod(num_rows, BLOCK_ROWS)
    blocks = far_order(num_blocks, distance, generator)
    sources = (blocks[:, None] * BLOCK_ROWS + np.arange(BLOCK_ROWS)).ravel()
    if not num_left:
        return sources
    far = (num_blocks - np.arange(num_blocks) >= distance) & (num_blocks - blocks >= distance)
    head = generator.choice(np.flatnonzero(far)) * BLOCK_ROWS + np.arange(num_left)
    tail = sources[head]
    sources[head] = np.arange(num_blocks * BLOCK_ROWS, num_rows)
    return np.concatenate([sources, tail])


def far_order(num: int, distance: int, generator: np.random.Generator) -> Integers:
    """A random permutation of `num` places that moves each place by at least `distance`.

    `num` is at least three times `distance`. In a random permutation, each entry that moves too little is swapped with
    a random one such that both move far enough.
    """
    places = np.arange(num)
    order = generator.permutation(num)
    while len(near := np.flatnonzero(np.abs(order - places) < distance)):
        here = near[0]
        fits = (np.abs(order - here) >= distance) & (np.abs(order[here] - places) >= distance)
        if not fits.any():
            order = generator.permutation(num)
            continue
        there = generator.choice(np.flatnonzero(fits))
        order[[here, there]] = order[[there, here]]
    return order
