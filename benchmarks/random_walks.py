"""Daily bars of synthetic tickers, which take as much work as real ones, for benchmarks without a source."""

from datetime import date

import numpy as np
import polars as pl

from ldtm_lib.sessions import Calendar


def synthetic_bars(calendar: Calendar, num_tickers: int, num_bars: int, last: date = date(2025, 9, 30)) -> pl.DataFrame:
    """Seeded random walks of daily bars up to a session."""
    stop = int(np.searchsorted(calendar.days, np.datetime64(last))) + 1
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, (num_tickers, num_bars)), axis=1)).ravel()
    return pl.DataFrame(
        {
            "ticker": np.repeat([f"T{n:03}" for n in range(num_tickers)], num_bars),
            "session": np.tile(calendar.days[stop - num_bars : stop], num_tickers),
            "open": close * 1.001,
            "high": close * 1.02,
            "low": close * 0.98,
            "close": close,
            "volume": rng.integers(100_000, 100_000_000, close.size).astype(np.float64),
        }
    )
