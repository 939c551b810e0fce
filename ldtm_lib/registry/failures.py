"""Recorded reasons why a ticker has no candidate, or its candidate no backtest, which the gate states later."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

from psycopg.rows import class_row

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.registry.inputs import InputKey, key_columns
from ldtm_lib.registry.trained_network import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One part of one ticker's training that failed."""

    key: InputKey
    part: Part
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingCheckpoint:
    """The newest training of a ticker that left no candidate."""

    ticker: str
    trained_on: date
    reason: str


def record(conn: Connection, failures: Sequence[Failure]) -> None:
    """Put failures on record; a later reason for the same part of the same training replaces the earlier one."""
    columns = key_columns(failure.key for failure in failures) | {
        "parts": [failure.part for failure in failures],
        "reasons": [failure.reason for failure in failures],
    }
    conn.execute(query("registry.record_failures"), columns)


def newest_missing_checkpoints(
    conn: Connection, tickers: Collection[str], *, trained_on: date | None = None
) -> dict[str, MissingCheckpoint]:
    """Each ticker's newest training, on the bars up to a session if one is given, that left no candidate."""
    with conn.cursor(row_factory=class_row(MissingCheckpoint)) as cursor:
        rows = cursor.execute(query("registry.newest_failures"), {"tickers": list(tickers), "trained_on": trained_on})
        return {row.ticker: row for row in rows}


def backtest_failures(conn: Connection, keys: Collection[InputKey]) -> dict[InputKey, str]:
    """Reasons why the backtests of some keys are not on record, where one is known."""
    rows = conn.execute(query("registry.backtest_failures"), key_columns(keys)).fetchall()
    return {
        InputKey(ticker=ticker, trained_on=on, architecture_sha256=a, recipe_sha256=r, data_sha256=d): reason
        for ticker, on, a, r, d, reason in rows
    }
