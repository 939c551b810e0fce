"""The windows that models were shown, kept byte for byte as vintages: another window is another row."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.statements import statement
from ldtm_lib.features.indicators import INPUTS
from ldtm_lib.features.windows import InputWindow


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedWindows:
    """What became of a batch of windows."""

    written: tuple[str, ...]
    """Tickers with a new vintage."""
    unchanged: tuple[str, ...]
    """Tickers whose window, or reason for having none, was on record already."""
    outdated: tuple[str, ...]
    """Tickers whose bars changed between reading them and storing the window: recorded as not ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWindow:
    """A window as it is on record, and the newest of the bars that it was made of."""

    window: InputWindow
    bars_recorded_until: datetime | None
    """recorded_at of that bar; None when the ticker had no bar at all."""


def record(conn: Connection, windows: Sequence[InputWindow]) -> RecordedWindows:
    """Store the windows of one session, or the reasons why there are none; what is on record already writes nothing.

    A window whose close is no longer that of its bar, as when a split was noticed in between, is not stored:
    the ticker is recorded as not ready, and making its features again mends it.
    """
    conn.execute(statement("ledger/take_turns"), {"work": "input windows"})
    rows = conn.execute(
        statement("ledger/record_input_windows"),
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
    rows = conn.execute(statement("ledger/input_windows"), {"session": session, "tickers": list(tickers)}, binary=True)
    return {
        ticker: StoredWindow(
            window=InputWindow(
                ticker=ticker,
                session=day,
                inputs=None if inputs is None else np.frombuffer(inputs, dtype="<f4").reshape(-1, len(INPUTS)),
                sha256=sha256,
                close=close,
                close_min=close_min,
                close_max=close_max,
                not_ready=not_ready,
            ),
            bars_recorded_until=recorded_until,
        )
        for ticker, day, inputs, sha256, close, close_min, close_max, not_ready, recorded_until in rows
    }
