"""Evenings by the real clock: the newest closed session, and rows for it."""

from collections.abc import Callable
from datetime import UTC, date, datetime

import psycopg
import pytest

from ldtm_lib.config import Settings
from ldtm_lib.daily_run.pending_partitions import OpenCell, evening_of, open_cells
from ldtm_lib.database.connection import Connection
from ldtm_lib.sessions import Calendar
from tests.integration.conftest import LedgerRows

Look = Callable[..., list[OpenCell]]


class CountingCursor(psycopg.Cursor[tuple[object, ...]]):
    num_statements = 0

    def execute(self, *args: object, **kwargs: object):
        CountingCursor.num_statements += 1
        return super().execute(*args, **kwargs)  # pyright: ignore[reportArgumentType, reportCallIssue]


@pytest.fixture
def ledger_rows(conn: Connection, calendar: Calendar) -> LedgerRows:
    return LedgerRows(conn, calendar)


@pytest.fixture
def newest(calendar: Calendar) -> date:
    return calendar.last_closed(datetime.now(UTC))


@pytest.fixture
def look(conn: Connection, calendar: Calendar, settings: Settings) -> Look:
    """The open cells at this moment, or at another one and with other settings."""

    def open_now(moment: datetime | None = None, with_settings: Settings | None = None) -> list[OpenCell]:
        return open_cells(conn, with_settings or settings, calendar, moment or datetime.now(UTC))

    return open_now


def begin_in_time(conn: Connection, session: date, *tickers: str) -> None:
    """An attempt at tickers on the evening of their session, which did all: their own record begins with it."""
    conn.execute(
        """insert into evening_attempt (session, ticker, first_attempt_at, last_attempt_at, done_at)
        select %(session)s, ticker, %(at)s, %(at)s, %(at)s from unnest(%(tickers)s::text[]) as ticker""",
        {"session": session, "at": evening_of(session), "tickers": list(tickers)},
    )
