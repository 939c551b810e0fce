"""The forecasts of the newest run date: prices, directions, abstentions, and whether each row was in time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from ldtm_dashboard.frames.tables import UTC_TIME
from ldtm_lib.database.connection import Connection
from ldtm_lib.ledger.recorded_forecasts import RecordedForecast, forecasts_of_run_date

DIRECTIONS = {"bullish": "▲ bullish", "neutral": "● neutral", "bearish": "▼ bearish"}
"""A sign with each word, so that no colour is needed."""
ABSTAINED = "– abstained"
IN_TIME = {"live": "✓ in time", "late": "✗ late", "simulated": "simulated"}

SCHEMA = pl.Schema(
    {
        "ticker": pl.String,
        "direction": pl.String,
        "close": pl.Float64,
        "next_day": pl.Float64,
        "next_day_change": pl.Float64,
        "next_day_low": pl.Float64,
        "next_day_high": pl.Float64,
        "next_monday": pl.Float64,
        "next_monday_low": pl.Float64,
        "next_monday_high": pl.Float64,
        "one_month": pl.Float64,
        "one_month_low": pl.Float64,
        "one_month_high": pl.Float64,
        "model": pl.String,
        "in_time": pl.String,
        "recorded_at": UTC_TIME,
        "reason": pl.String,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tonight:
    """The rows of one run date."""

    run_date: date
    kind: str
    """`live` for rows of a daily run, late ones included; `simulation 3` where there are only simulated ones."""
    deadline: datetime
    """The open of the next session."""
    targets: Mapping[str, date]
    """The target session of each horizon."""
    rows: pl.DataFrame
    """The columns of SCHEMA; the change is in percent of the close, the ends are those of the 80% interval."""
    counts: Mapping[str, int]
    """Rows by direction, abstentions included."""
    num_late: int


def tonight(conn: Connection) -> Tonight | None:
    """The newest run date on record, of daily runs where there is one; None for an empty record."""
    found = forecasts_of_run_date(conn)
    daily = [row for row in found if not row.simulation_id]
    rows = daily or found
    if not rows:
        return None
    first = rows[0]
    words = Counter(_direction(row) for row in rows)
    return Tonight(
        run_date=first.run_date,
        kind=f"simulation {first.simulation_id}" if first.simulation_id else "live",
        deadline=first.deadline,
        targets={
            "next day": first.next_day_session,
            "next Monday": first.next_monday_session,
            "one month": first.one_month_session,
        },
        rows=_frame(rows),
        counts={word: words[word] for word in (*DIRECTIONS.values(), ABSTAINED)},
        num_late=sum(row.kind == "late" for row in rows),
    )


def _direction(row: RecordedForecast) -> str:
    return ABSTAINED if row.direction_pred is None else DIRECTIONS[row.direction_pred]


def _frame(rows: Sequence[RecordedForecast]) -> pl.DataFrame:
    return pl.DataFrame([_values(row) for row in rows], schema=SCHEMA, orient="row")


def _values(row: RecordedForecast) -> tuple[object, ...]:
    change = None
    if row.next_day_pred is not None and row.run_date_close is not None:
        change = 100 * (row.next_day_pred / row.run_date_close - 1)
    ends = {horizon: row.interval(horizon, 80) or (None, None) for horizon in ("next_day", "next_monday", "one_month")}
    return (
        *(row.ticker, _direction(row), row.run_date_close, row.next_day_pred, change, *ends["next_day"]),
        *(row.next_monday_pred, *ends["next_monday"], row.one_month_pred, *ends["one_month"]),
        *(row.model_version or row.model_status, IN_TIME[row.kind], row.recorded_at, row.abstained_reason),
    )
