"""The input windows of models, stored byte for byte as vintages: a different window is a new row."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
from psycopg.rows import args_row

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.features.inputs import INPUTS
from ldtm_lib.features.windows import InputWindow

CHANGED_MEANWHILE = "has bars that changed while its window was made; make its features again"
"""The only reason for a missing window that does not follow from the bars; the database records it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedWindows:
    """The result of storing a batch of windows."""

    written: tuple[str, ...]
    """Tickers with a new vintage."""
    unchanged: tuple[str, ...]
    """Tickers whose window, or reason for having none, was on record already."""
    outdated: tuple[str, ...]
    """Tickers whose bars changed between reading them and storing the window: recorded as not ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWindow:
    """A window on record, and the time until which its bars were recorded."""

    window: InputWindow
    bars_recorded_until: datetime | None
    """`recorded_at` of the newest of its bars; None if the ticker had no bar at all."""


def record(conn: Connection, windows: Sequence[InputWindow]) -> RecordedWindows:
    """Store the windows of one session, or the reasons why there are none; those on record already are not written.

    A window whose close is no longer that of its bar, for example because a split was recognised in between, is not
    stored: the ticker is recorded as not ready, and making its features again fixes that.
    """
    conn.execute(query("database.lock"), {"work": "input windows"})
    rows = conn.execute(
        query("features.record_input_windows"),
        {
            "tickers": [w.ticker for w in windows],
            "sessions": [w.session for w in windows],
            "sha256s": [w.sha256 for w in windows],
            "inputs": [None if w.inputs is None else w.inputs.astype("<f4").tobytes() for w in windows],
            "closes": [w.close for w in windows],
            "close_mins": [w.close_min for w in windows],
            "close_maxs": [w.close_max for w in windows],
            "not_ready": [w.not_ready for w in windows],
        },
    ).fetchall()
    reasons: dict[str, str | None] = dict(rows)
    given = {w.ticker: w.not_ready for w in windows}
    return RecordedWindows(
        written=tuple(reasons),
        unchanged=tuple(t for t in given if t not in reasons),
        outdated=tuple(t for t, reason in reasons.items() if reason != given[t]),
    )


def read(conn: Connection, session: date, tickers: Sequence[str]) -> dict[str, StoredWindow]:
    """The current windows of a session by ticker; a ticker whose features were never made is absent."""
    with conn.cursor(binary=True, row_factory=args_row(_stored)) as cursor:
        found = cursor.execute(query("features.input_windows"), {"session": session, "tickers": list(tickers)})
        return {stored.window.ticker: stored for stored in found}


def read_shown(
    conn: Connection, session: date, ticker: str, *, sha256: str | None, until: datetime
) -> StoredWindow | None:
    """The newest window with a SHA-256 that was on record by `until`; for None, the newest reason for having none."""
    wanted = {"session": session, "ticker": ticker, "window_sha256": sha256, "until": until}
    with conn.cursor(binary=True, row_factory=args_row(_stored)) as cursor:
        return cursor.execute(query("features.input_window_shown"), wanted).fetchone()


def _stored(
    ticker: str,
    session: date,
    inputs: bytes | None,
    sha256: str | None,
    close: float | None,
    close_min: float | None,
    close_max: float | None,
    not_ready: str | None,
    bars_recorded_until: datetime | None,
) -> StoredWindow:
    window = InputWindow(
        ticker=ticker,
        session=session,
        inputs=None if inputs is None else np.frombuffer(inputs, dtype="<f4").reshape(-1, len(INPUTS)),
        sha256=sha256,
        close=close,
        close_min=close_min,
        close_max=close_max,
        not_ready=not_ready,
    )
    return StoredWindow(window=window, bars_recorded_until=bars_recorded_until)
