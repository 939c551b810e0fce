"""Attempts at evenings, noted before the work begins: a process that is killed in the middle has been counted."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query

CellKey = tuple[date, str]
"""Session and ticker."""


def begin(conn: Connection, partitions: Iterable[CellKey]) -> None:
    """Note one more attempt at every partition; commit before the work begins."""
    keys = list(partitions)
    conn.execute(
        query("daily_run.begin_attempt"),
        {"sessions": [day for day, _ in keys], "tickers": [ticker for _, ticker in keys]},
    )


def finish(conn: Connection, done: Iterable[CellKey], failed: Mapping[CellKey, str]) -> None:
    """Note for every partition that all of its evening is there now, or why it is not."""
    reasons = dict.fromkeys(done) | dict(failed)
    conn.execute(
        query("daily_run.finish_attempt"),
        {
            "sessions": [day for day, _ in reasons],
            "tickers": [ticker for _, ticker in reasons],
            "reasons": list(reasons.values()),
        },
    )


def newest_attempt_at(conn: Connection) -> datetime | None:
    """When the newest attempt at anything began; None before the first one."""
    row = conn.execute(query("daily_run.newest_attempt")).fetchone()
    assert row is not None
    return row[0]
