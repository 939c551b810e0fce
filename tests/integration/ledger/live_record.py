"""Filled live forecasts of a model, right or wrong as a test chooses."""

from collections.abc import Sequence
from datetime import date

import numpy as np

from ldtm_lib.database.connection import Connection
from ldtm_lib.sessions import Calendar
from tests.integration.ledger_rows import simulation

FIRST = date(2012, 1, 3)
TRAINED_ON = date(2011, 12, 30)


def put_live(
    conn: Connection,
    calendar: Calendar,
    ticker: str,
    checkpoint_id: int,
    is_right: Sequence[bool | None],
    *,
    errors: Sequence[float] | float = 1.0,
    kind: str = "live",
    first: date = FIRST,
) -> list[date]:
    """Filled rows of consecutive sessions, planted by the tables' owner; None is a neutral forecast. Errors in percent.

    The close is 100 and the price rises to 101; a forecast of another direction is a wrong one.
    """
    days = calendar.between(first, date(2013, 12, 31))[: len(is_right)]
    targets = [calendar.targets(day) for day in days]
    said = ["neutral" if right is None else "bullish" if right else "bearish" for right in is_right]
    preds = 101 * (1 + np.broadcast_to(np.asarray(errors, float), len(days)) / 100)
    simulation_id = simulation(conn) if kind == "simulated" else 0
    conn.execute("alter table snapshot disable trigger user")
    conn.execute(
        """insert into snapshot (ticker, run_date, simulation_id, recorded_at, kind, next_day_session,
            next_monday_session, one_month_session, run_date_close, next_day_pred, next_monday_pred, one_month_pred,
            direction_pred, checkpoint_id, model_status, model_version, checkpoint_sha256, window_sha256,
            bars_recorded_until, next_day_actual, next_day_pct_error, next_day_direction_actual,
            next_day_direction_correct, next_day_filled_at)
        select %s, d, %s, now(), %s, s1, s2, s3, 100, p, p, p, w, %s, 'active', 'v', 'c', 'w', now(),
               101, pct_error(p, 101), 'bullish', case when w <> 'neutral' then w = 'bullish' end, now()
        from unnest(%s::date[], %s::date[], %s::date[], %s::date[], %s::float8[], %s::text[])
            as f (d, s1, s2, s3, p, w)""",
        (
            *(ticker, simulation_id, kind, checkpoint_id, days, [t.next_day for t in targets]),
            *([t.next_monday for t in targets], [t.one_month for t in targets], preds.tolist(), said),
        ),
    )
    return days


def calls(num_right: int, num_wrong: int) -> list[bool]:
    """Right and wrong ones in a seeded order."""
    outcomes = [True] * num_right + [False] * num_wrong
    return [outcomes[n] for n in np.random.default_rng(0).permutation(len(outcomes))]
