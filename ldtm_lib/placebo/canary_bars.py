"""Bars of tickers that do not exist: one is a coin flip, one announces its own future."""

from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl

from ldtm_lib.prices.bars import BAR_SCHEMA
from ldtm_lib.sessions import Calendar

LAST_SESSION = date(2024, 12, 31)
"""Of all made-up bars: they are the same whenever they are made."""
FIRST_CLOSE = 100.0
DAILY_MOVE = 0.015
"""The standard deviation of a coin's log returns, and the size of a planted move."""
PULL = 0.1
"""The share of the way back to its level that a planted price goes in a session: a month ahead it is no random walk, so
that forecasting no change is the worse forecast at every horizon."""
NOISE = 0.4
"""The standard deviation of what is not announced of a planted move, in units of its size. Together with the pull, 0.23
such units at the price's usual distance from its level, it leaves 98 of 100 moves their announced direction."""
USUAL_VOLUME = 1e6
LOUD = 0.7
"""The log of a planted volume is so far above its usual one before a rise, and as far below before a fall."""
QUIET = 0.1
"""The standard deviation of a volume's log beside that."""

Values = npt.NDArray[np.float64]


def coin_flip(ticker: str, calendar: Calendar, num_bars: int, *, seed: int) -> pl.DataFrame:
    """Bars whose log returns are independent, with median 0: the next close is above this one with probability 1/2.

    Columns of BAR_SCHEMA, on the last `num_bars` sessions up to LAST_SESSION, or all that the calendar has; valid by
    the rules of `prices.bars`. Seeded by (seed, ticker).
    """
    generator = _generator(ticker, seed)
    returns = generator.normal(0, DAILY_MOVE, num_bars)
    volume = USUAL_VOLUME * np.exp(generator.normal(0, 3 * QUIET, num_bars))
    return _bars(ticker, calendar, np.cumsum(returns), volume, generator)


def planted(ticker: str, calendar: Calendar, num_bars: int, *, seed: int) -> pl.DataFrame:
    """Bars whose volume says whether the next close is higher, 98 times in 100, by about how much it moves.

    High volume stands for a rise and low volume for a fall, four to one, so that a window's own scale keeps them apart.
    The sides are drawn like coins: nothing else gives them away. Columns and seed as those of `coin_flip`.
    """
    generator = _generator(ticker, seed)
    sides = generator.choice([-1.0, 1.0], num_bars)
    unannounced = generator.normal(0, NOISE * DAILY_MOVE, num_bars)
    log_close = np.zeros(num_bars)
    for bar in range(1, num_bars):
        log_close[bar] = (1 - PULL) * log_close[bar - 1] + DAILY_MOVE * sides[bar - 1] + unannounced[bar]
    volume = USUAL_VOLUME * np.exp(LOUD * sides + generator.normal(0, QUIET, num_bars))
    return _bars(ticker, calendar, log_close, volume, generator)


def _generator(ticker: str, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, *ticker.encode()])


def _bars(
    ticker: str, calendar: Calendar, log_close: Values, volume: Values, generator: np.random.Generator
) -> pl.DataFrame:
    """Bars around some closes: each opens near the close before, and its range reaches beyond both of its ends."""
    days = calendar.days[calendar.days <= np.datetime64(LAST_SESSION)][-len(log_close) :]
    log_close, volume = log_close[: len(days)], volume[: len(days)]
    close = FIRST_CLOSE * np.exp(log_close)
    before = np.concatenate([[FIRST_CLOSE], close[:-1]])
    opened = before * np.exp(generator.normal(0, DAILY_MOVE / 3, len(close)))
    above, below = np.exp(np.abs(generator.normal(0, DAILY_MOVE / 3, (2, len(close)))))
    columns = {
        "ticker": [ticker] * len(days),
        "session": days,
        "open": opened,
        "high": np.maximum(opened, close) * above,
        "low": np.minimum(opened, close) / below,
        "close": close,
        "volume": volume,
    }
    return pl.DataFrame(columns, schema=BAR_SCHEMA)
