"""Actuals on the basis of their forecast, with bars that went through the store as a source delivers them."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from ldtm_lib.database.connection import Connection
from ldtm_lib.ledger.fillbacks import fill, restated_actuals
from ldtm_lib.prices.ingest import ingest
from ldtm_lib.prices.sources.protocol import Delivery
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import LedgerConfig

FIRST, RUN_DATE, LAST = date(2012, 11, 1), date(2013, 1, 2), date(2013, 2, 20)
SPLIT_ON = date(2013, 1, 15)
RATIOS = {"TWO": 2.0, "TEN": 10.0, "REVERSE": 0.1, "CRASH": 1.0}
"""CRASH loses 60% on the day on which the others split, and splits not."""


def _bars(calendar: Calendar, ticker: str, last: date, *, ratio: float) -> pl.DataFrame:
    """A seeded walk up to a session, all of it on the basis after a split once that has happened."""
    sessions = calendar.between(FIRST, last)
    steps = np.random.default_rng(len(ticker)).normal(0, 0.01, len(calendar.between(FIRST, LAST)))
    close = 400 * np.exp(np.cumsum(steps))[: len(sessions)]
    days = np.array(sessions)
    if ticker == "CRASH":
        close = np.where(days >= SPLIT_ON, close * 0.4, close)
    if last >= SPLIT_ON:
        close = close / ratio
    return pl.DataFrame(
        {
            "ticker": [ticker] * len(sessions),
            "session": sessions,
            "open": close,
            "high": close * 1.01,
            "low": close * 0.99,
            "close": close,
            "volume": np.full(len(sessions), 1e6),
        }
    )


def _deliver(conn: Connection, calendar: Calendar, last: date) -> None:
    bars = pl.concat([_bars(calendar, ticker, last, ratio=ratio) for ticker, ratio in RATIOS.items()])
    ingest(conn, Delivery(bars=bars), source="test", calendar=calendar)
    conn.commit()


@pytest.mark.parametrize("days_apart", [1, 9])
def test_splits_between_forecast_and_fill_change_no_actual_and_a_crash_is_no_split(
    conn: Connection, calendar: Calendar, ledger_rows, days_apart: int
) -> None:
    """Whether the daily runs come one by one, or several sessions at once after an outage."""
    _deliver(conn, calendar, RUN_DATE)
    known = {ticker: _bars(calendar, ticker, RUN_DATE, ratio=ratio)["close"][-1] for ticker, ratio in RATIOS.items()}
    for ticker, close in known.items():
        ledger_rows.forecast(ticker, RUN_DATE, close=close, preds=(close, close, close))
    conn.commit()
    for session in calendar.between(RUN_DATE, LAST)[days_apart::days_apart]:
        _deliver(conn, calendar, session)
        fill(conn, as_of=session, config=LedgerConfig())
        conn.commit()
    targets = calendar.targets(RUN_DATE)
    for ticker in RATIOS:
        unsplit = dict(_bars(calendar, ticker, LAST, ratio=1.0).select("session", "close").iter_rows())
        row = conn.execute(
            "select next_day_actual, next_monday_actual, one_month_actual from snapshot where ticker = %s", (ticker,)
        ).fetchone()
        assert row == pytest.approx([unsplit[target] for target in targets.as_tuple()], rel=1e-9), ticker
    assert restated_actuals(conn).is_empty(), "a split restates prices and no actual"
    splits = conn.execute("select ticker, ratio from split order by ticker").fetchall()
    assert dict(splits) == pytest.approx({t: r for t, r in RATIOS.items() if r != 1.0}, rel=1e-6)
