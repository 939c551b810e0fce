"""Windows that are asked for the future of others: nothing that a network could know is left in them.

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

BLOCK_ROWS = ONE_MONTH_SESSIONS
"""Windows whose futures stay together: the one-month moves of neighbours overlap as they do in truth."""
FEWEST_GUARDS = 3
"""Blocks that it takes, in units of the distance that they must keep."""
MARK = "~"
"""Stands between a ticker and the number of its copy; no ticker has it."""


def shuffled(windows: WindowSet, *, seed: int, copy: int) -> WindowSet:
    """A copy of one ticker's windows with the futures of its other windows, named such as `AAPL~17`.

    What moves is each labelled window's three target prices over its close, all three together, in blocks of 21
    consecutive labelled windows; the target prices are these moves from the new window's close. Inputs and sessions
    stay and are shared, not copied. A block goes so far away that its future overlaps neither the future of the
    windows that it comes to nor any bar that those read: what was the future must not become a past that they see.
    (Wilder's RSI reads all of the past, of which (13/14)^34 = 8% of a move is left where it begins.)

    The same (ticker, seed, copy) gives the same windows; `seed` and `copy` must not be negative. Raises TooFewBars when
    there are too few labelled windows for blocks that far apart.
    """
    rows = np.flatnonzero(windows.labelled)
    distance = math.ceil((ONE_MONTH_SESSIONS + windows.window_sessions + WARMUP_BARS) / BLOCK_ROWS)
    fewest = FEWEST_GUARDS * distance * BLOCK_ROWS
    if len(rows) < fewest:
        raise TooFewBars(
            f"{windows.ticker} has {len(rows)} labelled windows, {fewest} are needed to exchange their futures so far "
            "apart that nothing is given away; take more bars, or leave the ticker out"
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
    """The ticker that a shuffled copy was made of."""
    return name.partition(MARK)[0]


def _sources(num_rows: int, distance: int, generator: np.random.Generator) -> Integers:
    """For each row (n,) the row whose future it gets; every row gives its own once, at least `distance` blocks away.

    Rows that fill no block at the end trade with the head of a block, so that all others stay in step with theirs:
    moved on by a few rows instead, a block could come to lie a few rows from where it was.
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
    """A permutation of `num` places that moves each of them by at least `distance`, of which `num` holds three.

    A random one, in which what is too near then changes places with another one, by chance, that lets both go far
    enough.
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
