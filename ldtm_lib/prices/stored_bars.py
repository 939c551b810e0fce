"""Frames out of PostgreSQL: COPY as CSV, parsed by polars."""

from collections.abc import Mapping, Sequence
from datetime import date
from io import BytesIO

import polars as pl

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.statements import statement
from ldtm_lib.prices.bars import BAR_SCHEMA, KEY


def current_bars(
    conn: Connection, tickers: Sequence[str], *, first: date | None = None, last: date | None = None
) -> pl.DataFrame:
    """The newest vintage of every bar of some tickers, from one session to another, both included."""
    return read_frame(conn, "prices/current_bars", {"tickers": list(tickers), "first": first, "last": last}, BAR_SCHEMA)


def read_frame(conn: Connection, name: str, parameters: Mapping[str, object], schema: pl.Schema) -> pl.DataFrame:
    """The rows of one `copy (...) to stdout` as a frame of a schema, sorted by ticker and session."""
    text = BytesIO()
    with conn.cursor() as cursor, cursor.copy(statement(name), parameters) as rows:
        for block in rows:
            text.write(block)
    if not text.tell():
        return pl.DataFrame(schema=schema)
    text.seek(0)
    return pl.read_csv(text, has_header=False, new_columns=schema.names(), schema_overrides=schema).sort(KEY)
