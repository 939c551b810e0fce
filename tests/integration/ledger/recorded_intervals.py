"""Filled live forecasts with intervals, whose actuals lie inside or outside as a test chooses."""

from collections.abc import Sequence
from datetime import date

import numpy as np

from ldtm_lib.database.connection import Connection
from ldtm_lib.sessions import HORIZONS, Calendar
from tests.integration.ledger_rows import simulation

VOLATILITY = 0.02
HALF_WIDTHS = (2.0, 4.0)
"""In percent of the close of 100, around a forecast of 100: 98 to 102 and 96 to 104."""


def put_intervals(
    conn: Connection,
    calendar: Calendar,
    ticker: str,
    actuals: Sequence[float | None],
    *,
    kind: str = "live",
    first: date = date(2012, 1, 3),
    without: Sequence[int] = (),
) -> list[date]:
    """Rows of consecutive sessions, planted by the tables' owner; an actual is that of all three horizons.

    `without` are the places of rows that have no interval.
    """
    days = calendar.between(first, date(2014, 12, 31))[: len(actuals)]
    targets = calendar.targets_of(np.array(days, "datetime64[D]")).tolist()
    simulation_id = simulation(conn) if kind == "simulated" else 0
    conn.execute("alter table snapshot disable trigger user")
    columns = [
        *("ticker", "run_date", "simulation_id", "kind", "next_day_session", "next_monday_session"),
        *("one_month_session", "run_date_close", "next_day_pred", "next_monday_pred", "one_month_pred"),
        *("direction_pred", "model_status", "checkpoint_sha256", "window_sha256", "volatility"),
        *(f"{horizon}_actual" for horizon in HORIZONS),
        *(f"{horizon}_pct_error" for horizon in HORIZONS),
        "next_day_direction_actual",
        *(f"{h}_{end}_{level}" for h in HORIZONS for level in (80, 95) for end in ("low", "high")),
    ]
    ends = [100 + sign * width for width in HALF_WIDTHS for sign in (-1, 1)] * len(HORIZONS)
    with conn.cursor() as cursor:
        cursor.executemany(
            f"""insert into snapshot ({", ".join(columns)}, recorded_at, bars_recorded_until, next_day_filled_at,
                next_monday_filled_at, one_month_filled_at)
            select {", ".join(["%s"] * len(columns))}, now(), now(), filled_at, filled_at, filled_at
            from (select case when %s then now() end as filled_at) f""",  # type: ignore[arg-type]
            [
                (
                    *(ticker, day, simulation_id, kind, *of_day, 100, 100, 100, 100),
                    *("neutral", "active", "c", "w", VOLATILITY, *[actual] * 3, *[None if actual is None else 1.0] * 3),
                    None if actual is None else "neutral",
                    *(None if at in without else end for end in ends),
                    actual is not None,
                )
                for at, (day, of_day, actual) in enumerate(zip(days, targets, actuals, strict=True))
            ],
        )
    return days
