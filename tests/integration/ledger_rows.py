"""Rows for the ledger, written with plain SQL: what a test needs on record before the code under test comes in."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from ldtm_lib.database.connection import Connection
from ldtm_lib.ledger.simulations import RowKind, SimulationPlan, begin_simulation
from ldtm_lib.sessions import Calendar
from tests.integration.gate_fixtures import pass_the_gate


@dataclass(frozen=True, slots=True)
class Model:
    """What a forecast says of the network that made it."""

    status: str
    version: str | None
    checkpoint_id: int | None


SIMULATED = RowKind(kind="simulated", simulation_id=1)
"""The rows of the one simulation that tests record."""


def simulation(conn: Connection) -> int:
    """The number of that simulation."""
    return begin_simulation(conn, SimulationPlan(origin="a test"))


def enter_service(conn: Connection, ticker: str, first_session: date) -> None:
    """Put a ticker in service from a session on."""
    conn.execute(
        "insert into service_entry (ticker, first_session) values (%s, %s) on conflict do nothing",
        (ticker, first_session),
    )


NOBODY_IN_THE_REGISTRY = Model("active", None, None)


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

    def bars(self, ticker: str, closes: Mapping[date, float]) -> None:
        for session, close in closes.items():
            self.bar(ticker, session, close)

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
        model: Model = NOBODY_IN_THE_REGISTRY,
    ) -> None:
        """A forecast that saw everything recorded until now."""
        targets = self.calendar.targets(run_date)
        simulation_id = self._place(ticker, run_date, kind)
        self.conn.execute(
            """insert into snapshot (ticker, run_date, simulation_id, next_day_session, next_monday_session,
                one_month_session, run_date_close, next_day_pred, next_monday_pred, one_month_pred, direction_pred,
                model_status, model_version, checkpoint_id, checkpoint_sha256, window_sha256, bars_recorded_until)
            values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'c', 'w', clock_timestamp())""",
            (
                *(ticker, run_date, simulation_id, next_day_session or targets.next_day, targets.next_monday),
                *(targets.one_month, close, *preds, direction),
                *(model.status, model.version, model.checkpoint_id),
            ),
        )

    def baselines(self, ticker: str, run_date: date, preds: Mapping[str, Sequence[float]], *, direction: str) -> None:
        """Baseline forecasts beside a simulated row of this transaction, which names a checkpoint."""
        self.conn.execute(
            """insert into fitted_baselines (checkpoint_id, num_training_rows, num_validation_rows, drift,
                ar1_intercept, ar1_slope, ridge_penalties, ridge_coefficients)
            select distinct checkpoint_id, num_training_rows, num_validation_rows, 0, 0, 0, '{1,1,1}'::float8[],
                ''::bytea
            from snapshot join checkpoint using (ticker, checkpoint_id) where ticker = %s on conflict do nothing""",
            (ticker,),
        )
        for baseline, pred in preds.items():
            self.conn.execute(
                """insert into baseline_forecast (ticker, run_date, simulation_id, baseline, checkpoint_id, recorded_at,
                    next_day_pred, next_monday_pred, one_month_pred, direction_pred)
                select ticker, run_date, simulation_id, %s, checkpoint_id, recorded_at, %s, %s, %s, %s
                from snapshot where ticker = %s and run_date = %s and simulation_id = 1""",
                (baseline, *pred, direction, ticker, run_date),
            )

    def abstention(self, ticker: str, run_date: date, *, kind: str = "simulated") -> None:
        targets = self.calendar.targets(run_date)
        simulation_id = self._place(ticker, run_date, kind)
        self.conn.execute(
            """insert into snapshot (ticker, run_date, simulation_id, next_day_session, next_monday_session,
                one_month_session, abstained_reason, bars_recorded_until)
            values (%s, %s, %s, %s, %s, %s, 'has no active model', clock_timestamp())""",
            (ticker, run_date, simulation_id, *targets.as_tuple()),
        )

    def _place(self, ticker: str, run_date: date, kind: str) -> int:
        """The number under which a row of a kind stands; a ticker with a row that is not simulated is in service."""
        if kind == "simulated":
            return simulation(self.conn)
        enter_service(self.conn, ticker, run_date)
        return 0

    def promoted(self, ticker: str, trained_on: date) -> int:
        """A version that becomes the active one, the previous one retiring; returns its checkpoint_id.

        The ticker is in service from the session after the training on.
        """
        enter_service(self.conn, ticker, self.calendar.offset(trained_on, 1))
        self.conn.execute(
            "update checkpoint set status = 'retired', retired_at = now() where ticker = %s and status = 'active'",
            (ticker,),
        )
        checkpoint_id = self.candidate(ticker, trained_on)
        self.conn.execute(
            "update checkpoint set status = 'active', major = 1, version = %s, activated_at = now()"
            " where checkpoint_id = %s",
            (f"v1.{trained_on}", checkpoint_id),
        )
        pass_the_gate(self.conn)
        return checkpoint_id

    def candidate(self, ticker: str, trained_on: date) -> int:
        row = self.conn.execute(
            """insert into checkpoint (ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256, file_name,
                file_sha256, seed, num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss,
                duration_seconds, device)
            values (%(ticker)s, %(day)s, 'a', 'r', 'd', %(ticker)s || %(day)s::date || '.pt', 's', 0, 1, 1, 1, 1, 1, 1,
                'cpu')
            returning checkpoint_id""",
            {"ticker": ticker, "day": trained_on},
        ).fetchone()
        assert row is not None
        return row[0]

    def move_the_calendar(self, by: timedelta) -> None:
        """Move all sessions in time, as only the owner of the tables can."""
        self.conn.execute("alter table trading_session disable trigger user")
        self.conn.execute("alter table trading_session drop constraint if exists trading_session_is_on_its_day")
        self.conn.execute("update trading_session set opens_at = opens_at + %s, closes_at = closes_at + %s", (by, by))

    def open_the_session_after(self, run_date: date, ahead: timedelta) -> timedelta:
        """Move the calendar so that the session after a run date opens so far ahead of now; returns by how much."""
        by = datetime.now(UTC) + ahead - self.calendar.opens_at(self.calendar.offset(run_date, 1))
        self.move_the_calendar(by)
        return by

    def verdict(self, ticker: str, *, passed: bool, reasons: Sequence[str] = ()) -> None:
        rules = [{"rule": "direction", "figure": 0.6, "bound": 0.52, "passed": True, "reason": "0.6 >= 0.52"}]
        rules += [{"rule": "price", "figure": 9, "bound": 5, "passed": False, "reason": reason} for reason in reasons]
        self.conn.execute(
            "insert into gate_verdict (ticker, trained_on, passed, rules) values (%s, '2020-01-02', %s, %s)",
            (ticker, passed, json.dumps(rules)),
        )
