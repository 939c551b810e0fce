"""Rows of attempts, and the type of the fixture that reads the pending partitions."""

from collections.abc import Callable
from datetime import date

from ldtm_lib.daily_run.pending_partitions import PendingPartition, daily_run_start
from ldtm_lib.database.connection import Connection

ReadPending = Callable[..., list[PendingPartition]]


def begin_in_time(conn: Connection, session: date, *tickers: str) -> None:
    """An attempt at tickers on the evening of their session, which did all: their own record begins with it."""
    conn.execute(
        """insert into daily_attempt (session, ticker, first_attempt_at, last_attempt_at, done_at)
        select %(session)s, ticker, %(at)s, %(at)s, %(at)s from unnest(%(tickers)s::text[]) as ticker""",
        {"session": session, "at": daily_run_start(session), "tickers": list(tickers)},
    )
