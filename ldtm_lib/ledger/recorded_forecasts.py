"""Forecasts on record: prices, target sessions, the model, and their kind, such as live."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Literal

from psycopg.rows import class_row

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.ledger.intervals import ends_of

if TYPE_CHECKING:  # the record is read without torch
    from ldtm_lib.ledger.backends import BackendOnRecord

NUM_ROWS_OF_A_TICKER = 30
"""Number of run dates that are shown for one ticker, the newest ones."""


SAME_SESSION = (
    "Next day and next Monday are the same session. The network has a head for each, so the two prices differ."
)
"""The sentence shown with a forecast that names one session twice, as on most Fridays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedForecast:
    """One row of the ledger. Prices are in the currency and on the price basis of the run date's close."""

    ticker: str
    run_date: date
    kind: Literal["live", "late", "simulated"]
    simulation_id: int
    """The simulation that made it; 0 for a daily run."""
    recorded_at: datetime
    deadline: datetime
    """The open of the next session: a row that was recorded before it is live, unless it is simulated."""
    run_date_close: float | None
    next_day_session: date
    next_day_pred: float | None
    next_day_actual: float | None
    next_monday_session: date
    next_monday_pred: float | None
    next_monday_actual: float | None
    one_month_session: date
    one_month_pred: float | None
    one_month_actual: float | None
    direction_pred: Literal["bullish", "neutral", "bearish"] | None
    model_version: str | None
    """None for a candidate, which has no version, and for an abstention."""
    model_status: Literal["active", "retired", "candidate"] | None
    """The status of the model when it made the forecast."""
    abstained_reason: str | None
    """Reason why there is no forecast; None if there is one."""
    volatility: float | None
    """Standard deviation of the daily log returns inside the input window."""
    neutral_band: float | None
    """The predicted next-day return up to which the direction is neutral."""
    next_day_low_80: float | None
    next_day_high_80: float | None
    next_day_low_95: float | None
    next_day_high_95: float | None
    next_monday_low_80: float | None
    next_monday_high_80: float | None
    next_monday_low_95: float | None
    next_monday_high_95: float | None
    one_month_low_80: float | None
    one_month_high_80: float | None
    one_month_low_95: float | None
    one_month_high_95: float | None
    """The ends of the intervals; None if there is none."""
    backend: "BackendOnRecord | None"
    """Backend that computed the network; None for an abstention and for rows of older versions, where it was torch."""

    def interval(self, horizon: str, percent: int) -> tuple[float, float] | None:
        """The ends of the 80% or 95% interval of a horizon, if there is one."""
        return ends_of(self, horizon, percent)


def forecasts_of_run_date(conn: Connection, run_date: date | None = None) -> list[RecordedForecast]:
    """The rows of a run date, by ticker; those of the newest run date on record when none is given.

    The rows are those of daily runs and of the newest simulation. The newest run date is that of daily runs if there is
    any.
    """
    if run_date is None:
        row = conn.execute(query("ledger.newest_run_date")).fetchone()
        if row is None or row[0] is None:
            return []
        run_date = row[0]
    return _read(conn, run_date=run_date, ticker=None, num_rows=None)


def forecasts_of_ticker(conn: Connection, ticker: str) -> list[RecordedForecast]:
    """The rows of a ticker's newest NUM_ROWS_OF_A_TICKER run dates, the newest first."""
    return _read(conn, run_date=None, ticker=ticker, num_rows=NUM_ROWS_OF_A_TICKER)


def _read(
    conn: Connection, *, run_date: date | None, ticker: str | None, num_rows: int | None
) -> list[RecordedForecast]:
    with conn.cursor(row_factory=class_row(RecordedForecast)) as cursor:
        values = {"run_date": run_date, "ticker": ticker, "num_rows": num_rows}
        return cursor.execute(query("ledger.recorded_forecasts"), values).fetchall()
