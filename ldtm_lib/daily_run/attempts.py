"""Attempts at daily partitions, recorded before the work begins, so that killed processes are counted."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query

PartitionKey = tuple[date, str]
"""Session and ticker."""


def begin_attempt(conn: Connection, partitions: Iterable[PartitionKey]) -> None:
    """Record one more attempt at every partition; commit before the work begins."""
    keys = list(partitions)
    conn.execute(
        query("daily_run.begin_attempt"),
        {"sessions": [day for day, _ in keys], "tickers": [ticker for _, ticker in keys]},
    )


def finish_attempt(conn: Connection, done: Iterable[PartitionKey], failed: Mapping[PartitionKey, str]) -> None:
    """Record for every partition that it is complete, or why it failed."""
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
    """The start of the newest attempt at any partition; None before the first one."""
    row = conn.execute(query("daily_run.newest_attempt")).fetchone()
    assert row is not None
    return row[0]
