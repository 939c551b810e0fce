"""Bars that are made up for tests of the store, and counts of what it recorded."""

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl

from ldtm_lib.database.connection import Connection
from ldtm_lib.prices.bars import BAR_SCHEMA
from ldtm_lib.prices.ingest import IngestReport
from ldtm_lib.sessions import Calendar


def made(
    calendar: Calendar, closes: Sequence[float], ticker: str = "XYZ", first: date = date(2001, 1, 2)
) -> pl.DataFrame:
    """Bars with given closes on sessions that follow each other."""
    start = int(np.searchsorted(calendar.days, np.datetime64(first)))
    close = np.array(closes)
    columns = {
        "ticker": [ticker] * len(close),
        "session": calendar.days[start : start + len(close)],
        "open": close * 1.01,
        "high": close * 1.02,
        "low": close * 0.98,
        "close": close,
        "volume": np.full(len(close), 1000.0),
    }
    return pl.DataFrame(columns).cast(BAR_SCHEMA)


def num_rows(conn: Connection, table: bytes = b"bar") -> int:
    row = conn.execute(b"select count(*) from " + table).fetchone()
    assert row is not None
    return row[0]


def counts(recorded: IngestReport) -> dict[str, tuple[int, ...]]:
    return {row[0]: row[1:] for row in recorded.per_ticker.iter_rows()}


def walk(num_bars: int, start: float = 100.0) -> list[float]:
    """Closes that move by up to 3% a session, seeded."""
    moves = np.random.default_rng(7).uniform(-0.03, 0.03, num_bars)
    return np.round(start * np.cumprod(1 + moves), 2).tolist()
