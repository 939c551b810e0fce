"""Bars made for a test: random walks and given closes on consecutive sessions."""

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl

from ldtm_lib.sessions import Calendar

PRICES = ("open", "high", "low", "close", "volume")
SAMPLE_TICKERS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")


class Bars:
    """Makes bars of one ticker on sessions that follow each other in the calendar."""

    def __init__(self, calendar: Calendar) -> None:
        self.calendar = calendar

    def walk(self, num_bars: int, *, seed: int = 0, ticker: str = "T", first: date = date(2012, 1, 3)) -> pl.DataFrame:
        """A seeded random walk of prices near 100 with daily moves of 2%."""
        moves = np.random.default_rng(seed).normal(0, 0.02, num_bars)
        return self.of_closes((100 * np.exp(np.cumsum(moves))).tolist(), ticker=ticker, first=first, seed=seed)

    def of_closes(
        self, closes: Sequence[float], *, ticker: str = "T", first: date = date(2012, 1, 3), seed: int = 0
    ) -> pl.DataFrame:
        """Bars with these closes; the other prices stand at seeded distances around them."""
        rng = np.random.default_rng(seed + 1)
        close = np.asarray(closes, dtype=np.float64)
        start = int(np.searchsorted(self.calendar.days, np.datetime64(first)))
        return pl.DataFrame(
            {
                "ticker": [ticker] * len(close),
                "session": self.calendar.days[start : start + len(close)],
                "open": close * rng.uniform(0.99, 1.01, len(close)),
                "high": close * rng.uniform(1.01, 1.03, len(close)),
                "low": close * rng.uniform(0.97, 0.99, len(close)),
                "close": close,
                "volume": rng.integers(10_000, 10_000_000, len(close)).astype(np.float64),
            },
            schema_overrides={"session": pl.Date, "ticker": pl.String},
        )
