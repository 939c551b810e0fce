"""Rows for the ledger, written with plain SQL: what a test needs on record before the code under test comes in."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import pytest

from ldtm_lib.database.connection import Connection
from ldtm_lib.sessions import Calendar


@dataclass(frozen=True, slots=True)
class LedgerRows:
    conn: Connection
    calendar: Calendar

    def bar(self, ticker: str, session: date, close: float) -> None:
        """A new vintage of a bar, as of now."""
        self.conn.execute(
            "insert into bar values (%s, %s, clock_timestamp(), %s, %s, %s, %s, 1000, 'test')",
            (ticker, session, close, close * 1.01, close * 0.99, close),
        )

    def split(self, ticker: str, session: date, ratio: float) -> None:
        """A split noticed now, with every stored bar before it restated, as the store does."""
        self.conn.execute(
            """with noticed as (insert into split values (%(ticker)s, %(session)s, %(ratio)s) returning recorded_at)
            insert into bar
            select ticker, session, noticed.recorded_at, open / %(ratio)s, high / %(ratio)s, low / %(ratio)s,
                   close / %(ratio)s, volume * %(ratio)s, 'split'
            from current_bar, noticed where ticker = %(ticker)s and session < %(session)s""",
            {"ticker": ticker, "session": session, "ratio": ratio},
        )

    def forecast(
        self,
        ticker: str,
        run_date: date,
        *,
        close: float = 100.0,
        preds: Sequence[float] = (101.0, 102.0, 103.0),
        direction: str = "bullish",
        kind: str = "simulated",
        next_day_session: date | None = None,
    ) -> None:
        """A forecast that saw everything recorded until now."""
        targets = self.calendar.targets(run_date)
        self.conn.execute(
            """insert into snapshot (ticker, run_date, kind, next_day_session, next_monday_session, one_month_session,
                run_date_close, next_day_pred, next_monday_pred, one_month_pred, direction_pred,
                model_status, checkpoint_sha256, window_sha256, bars_recorded_until)
            values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'active', 'c', 'w', clock_timestamp())""",
            (
                *(ticker, run_date, kind, next_day_session or targets.next_day, targets.next_monday),
                *(targets.one_month, close, *preds, direction),
            ),
        )

    def abstention(self, ticker: str, run_date: date, *, kind: str = "simulated") -> None:
        targets = self.calendar.targets(run_date)
        self.conn.execute(
            """insert into snapshot (ticker, run_date, kind, next_day_session, next_monday_session, one_month_session,
                abstained_reason, bars_recorded_until)
            values (%s, %s, %s, %s, %s, %s, 'has no active model', clock_timestamp())""",
            (ticker, run_date, kind, *targets.as_tuple()),
        )

    def verdict(self, ticker: str, *, passed: bool, reasons: Sequence[str] = ()) -> None:
        rules = [{"rule": "direction", "figure": 0.6, "bound": 0.52, "passed": True, "reason": "0.6 >= 0.52"}]
        rules += [{"rule": "price", "figure": 9, "bound": 5, "passed": False, "reason": reason} for reason in reasons]
        self.conn.execute(
            "insert into gate_verdict (ticker, trained_on, passed, rules) values (%s, '2020-01-02', %s, %s)",
            (ticker, passed, json.dumps(rules)),
        )


@pytest.fixture
def ledger_rows(conn: Connection, calendar: Calendar) -> LedgerRows:
    return LedgerRows(conn, calendar)
