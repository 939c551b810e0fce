"""Bars of made-up tickers: a coin flip, and a planted signal, whose volume announces the next move."""

from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl

from ldtm_lib.prices.bars import BAR_SCHEMA
from ldtm_lib.sessions import Calendar

LAST_SESSION = date(2024, 12, 31)
"""Last session of all made-up bars, fixed so that they are the same whenever they are made."""
FIRST_CLOSE = 100.0
DAILY_MOVE = 0.015
"""The standard deviation of a coin's log returns, and the size of a planted move."""
PULL = 0.1
"""Share of its distance from its level that a planted price returns in a session. The price is thus not a random walk
a month ahead, and forecasting no change is the worse forecast at every horizon."""
NOISE = 0.4
"""Standard deviation of the unannounced part of a planted move, in units of the move's size. With it and the pull, 0.23
such units at the price's usual distance from its level, 98 of 100 moves keep their announced direction."""
USUAL_VOLUME = 1e6
LOUD = 0.7
"""Distance of the log of a planted volume from its usual value: above it before a rise, below it before a fall."""
QUIET = 0.1
"""Standard deviation of the random part of the log of a volume."""

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
    """Bars whose volume announces the next move, of about DAILY_MOVE: its direction is right 98 times in 100.

    High volume announces a rise and low volume a fall; they differ by a factor of four, so that scaling within a window
    keeps them apart. The announced directions are drawn like coins: nothing else reveals them. Columns and seed are
    those of `coin_flip`.
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
    """Bars around some closes: each opens near the close before; its high and low are beyond its open and close."""
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
