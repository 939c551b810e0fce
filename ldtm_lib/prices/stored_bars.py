"""Stored bars as frames: the current vintages, and those that were current at an earlier moment.

Frames are sorted by ticker and session and have the columns of BAR_SCHEMA. COPY writes every float as the shortest text
that reads back as the same float, so no value is rounded on the way in or out.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from io import BytesIO

import polars as pl

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.prices.bars import BAR_SCHEMA, KEY


def current_bars(
    conn: Connection, tickers: Sequence[str], *, first: date | None = None, last: date | None = None
) -> pl.DataFrame:
    """The newest vintage of every bar of some tickers, from one session to another, both included."""
    return _read_frame(
        conn, query("prices.current_bars"), {"tickers": list(tickers), "first": first, "last": last}, BAR_SCHEMA
    )


def newest_sessions(conn: Connection, tickers: Sequence[str], *, last: date) -> dict[str, date]:
    """The newest session with a bar of each ticker, up to a session; a ticker without such a bar is absent."""
    return dict(conn.execute(query("prices.newest_sessions"), {"tickers": list(tickers), "last": last}).fetchall())


def recent_bars(conn: Connection, tickers: Sequence[str], *, last: date, num_bars: int) -> pl.DataFrame:
    """The newest current bars of each ticker up to a session, at most `num_bars` of each."""
    parameters = {"tickers": list(tickers), "last": last, "num_bars": num_bars}
    return _read_frame(conn, query("prices.recent_bars"), parameters, BAR_SCHEMA)


def bars_as_of(conn: Connection, tickers: Sequence[str], *, moment: datetime, last: date | None = None) -> pl.DataFrame:
    """The bars that were current at a moment (aware), up to a session: on the price basis of that moment."""
    return _read_frame(
        conn, query("prices.bars_as_of"), {"tickers": list(tickers), "moment": moment, "last": last}, BAR_SCHEMA
    )


def _read_frame(
    conn: Connection, statement: bytes, parameters: Mapping[str, object], schema: pl.Schema
) -> pl.DataFrame:
    """The rows of one `copy (...) to stdout` as a frame of a schema, sorted by ticker and session."""
    text = BytesIO()
    with conn.cursor() as cursor, cursor.copy(statement, parameters) as rows:
        for block in rows:
            text.write(block)
    if not text.tell():
        return pl.DataFrame(schema=schema)
    text.seek(0)
    return pl.read_csv(text, has_header=False, new_columns=schema.names(), schema_overrides=schema).sort(KEY)
