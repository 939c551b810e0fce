"""Rows of a statement as a frame, and the number of the newest event, which shows whether the record has changed."""

from collections.abc import Mapping

import polars as pl

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query

UTC_TIME = pl.Datetime(time_unit="us", time_zone="UTC")


def read_frame(conn: Connection, statement: bytes, parameters: Mapping[str, object], schema: pl.Schema) -> pl.DataFrame:
    """The rows of a statement, whose columns are those of the schema in their order."""
    with conn.cursor(binary=True) as cursor:
        rows = cursor.execute(statement, dict(parameters)).fetchall()
    return pl.DataFrame(rows, schema=schema, orient="row")


def newest_event(conn: Connection) -> int:
    """The number of the newest event of the record, -1 before the first. Every change of the record is an event."""
    row = conn.execute(query("dashboard.newest_event")).fetchone()
    assert row is not None
    return row[0]


def tickers_on_record(conn: Connection) -> list[str]:
    """Every ticker that has a row, including removed tickers."""
    return [ticker for (ticker,) in conn.execute(query("dashboard.tickers_on_record"))]
