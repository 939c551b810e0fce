"""Backtests of networks that a test put in the registry, as a training would have recorded them."""

from datetime import date

import numpy as np

from ldtm_lib.database.connection import Connection
from ldtm_lib.sessions import HORIZONS, Calendar

VOLATILITY = 0.02


def put_backtest(
    conn: Connection,
    calendar: Calendar,
    checkpoint_id: int,
    scores: np.ndarray,
    *,
    last: date,
    plan: str = "p",
    volatility: float | None = VOLATILITY,
) -> list[date]:
    """Test rows of a checkpoint up to a session, with closes of 100 and forecasts of no change.

    `scores` (n, 3) are the distances of the actuals in units of close and VOLATILITY.
    """
    end = int(np.searchsorted(calendar.days, np.datetime64(last), side="right"))
    days = calendar.days[end - len(scores) : end].tolist()
    actuals = 100 * (1 + VOLATILITY * scores)
    (backtest_id,) = conn.execute(
        """insert into backtest (ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256, plan_sha256)
        select ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256, %s
        from checkpoint where checkpoint_id = %s returning backtest_id""",
        (plan, checkpoint_id),
    ).fetchone() or (0,)
    conn.execute(
        """insert into backtest_fold (backtest_id, fold, train_cutoff, first_test_session, last_test_session,
            num_training_rows, num_validation_rows, num_leakage_rows, num_epochs, validation_loss)
        values (%s, 1, %s, %s, %s, 1, 1, 0, 1, 1)""",
        (backtest_id, calendar.offset(days[0], -1), days[0], days[-1]),
    )
    with conn.cursor() as cursor:
        cursor.executemany(
            """insert into backtest_prediction (backtest_id, fold, session, close, next_day_pred, next_monday_pred,
                one_month_pred, next_day_actual, next_monday_actual, one_month_actual, volatility)
            values (%s, 1, %s, 100, 100, 100, 100, %s, %s, %s, %s)""",
            [(backtest_id, day, *row, volatility) for day, row in zip(days, actuals.tolist(), strict=True)],
        )
    assert scores.shape == (len(days), len(HORIZONS))
    return days
