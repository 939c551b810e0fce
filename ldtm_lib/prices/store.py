"""The store of bars: every value ever recorded, and the newest of each at hand.

What is read here is sorted by ticker and session and has the columns of BAR_SCHEMA. Bars leave PostgreSQL as the
shortest text that gives the same float again, and enter it likewise: no value is rounded on the way.
"""

from collections.abc import Sequence
from datetime import date, datetime

import polars as pl

from ldtm_lib.database.connection import Connection
from ldtm_lib.prices.bars import BAR_SCHEMA
from ldtm_lib.prices.ingest import Recorded, record
from ldtm_lib.prices.quarantine import open_quarantine
from ldtm_lib.prices.stored_bars import current_bars, read_frame

__all__ = [
    "Recorded",
    "bars_as_of",
    "current_bars",
    "open_quarantine",
    "recent_bars",
    "record",
]


def recent_bars(conn: Connection, tickers: Sequence[str], *, last: date, num_bars: int) -> pl.DataFrame:
    """The newest current bars of each ticker up to a session, at most so many of each."""
    wanted = {"tickers": list(tickers), "last": last, "num_bars": num_bars}
    return read_frame(conn, "prices/recent_bars", wanted, BAR_SCHEMA)


def bars_as_of(conn: Connection, tickers: Sequence[str], *, moment: datetime, last: date | None = None) -> pl.DataFrame:
    """The bars that were current at a moment (aware), up to a session: on the price basis of that moment."""
    return read_frame(conn, "prices/bars_as_of", {"tickers": list(tickers), "moment": moment, "last": last}, BAR_SCHEMA)
