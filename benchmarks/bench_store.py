"""Time loading 515,000 bars into an empty store, loading them again and reading them, and one INSERT per bar.

Run: .venv/bin/python benchmarks/bench_store.py
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from ldtm_lib.database import embedded
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.migrate import migrate
from ldtm_lib.prices.bars import BAR_COLUMNS, BAR_SCHEMA
from ldtm_lib.prices.ingest import ingest
from ldtm_lib.prices.sources.protocol import Delivery
from ldtm_lib.prices.stored_bars import current_bars, recent_bars
from ldtm_lib.sessions import Calendar, exchange_calendar

NUM_TICKERS = 103
NUM_SESSIONS = 5_000
NUM_PLAIN_BARS = 5_150
PLAIN_SELECT = b"""
select close from bar where ticker = %(ticker)s and session = %(session)s order by recorded_at desc limit 1
"""
PLAIN_INSERT = b"""
insert into bar (ticker, session, recorded_at, open, high, low, close, volume, source)
values (%(ticker)s, %(session)s, clock_timestamp(), %(open)s, %(high)s, %(low)s, %(close)s, %(volume)s, 'plain')
"""


def synthetic_bars(calendar: Calendar) -> pl.DataFrame:
    """Seeded random walks on the newest sessions before 2026, all of which have closed."""
    random = np.random.default_rng(0)
    days = calendar.days[calendar.days < np.datetime64("2026-01-01")][-NUM_SESSIONS:]
    shape = (NUM_TICKERS, NUM_SESSIONS)
    close = np.round(50 * np.exp(np.cumsum(random.normal(0, 0.01, shape), axis=1)), 2) + 0.01
    spread = np.abs(random.normal(0, 0.005, (2, *shape)))
    columns = {
        "ticker": np.repeat([f"T{i:03}" for i in range(NUM_TICKERS)], NUM_SESSIONS),
        "session": np.tile(days, NUM_TICKERS),
        "open": close.ravel(),
        "high": np.round(close * (1 + spread[0]) + 0.01, 2).ravel(),
        "low": np.round(close * (1 - spread[1]), 2).ravel().clip(max=close.ravel()),
        "close": close.ravel(),
        "volume": random.integers(10**4, 10**8, NUM_TICKERS * NUM_SESSIONS),
    }
    return pl.DataFrame(columns).cast(dict(BAR_SCHEMA)).select(BAR_COLUMNS)


def one_by_one(conn: Connection, bars: pl.DataFrame) -> None:
    """Record bars one by one: select each of them, and insert it if it is missing or differs."""
    for row in bars.iter_rows(named=True):
        held = conn.execute(PLAIN_SELECT, row).fetchone()
        if held is None or held[0] != row["close"]:
            conn.execute(PLAIN_INSERT, row)


def timed(what: str, work: Callable[[], object], num_bars: int) -> float:
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    print(f"{what:<46} {num_bars:>8,} bars {seconds:8.3f} s {num_bars / seconds:>12,.0f} bars/s")
    return seconds / num_bars


def measure(database: Database, calendar: Calendar) -> None:
    bars = synthetic_bars(calendar)
    delivery = Delivery(bars=bars)
    tickers = bars["ticker"].unique().sort().to_list()

    def load() -> None:
        with database.transaction() as conn:
            recorded = ingest(conn, delivery, source="bench", calendar=calendar)
        assert recorded.per_ticker["num_refused"].sum() == 0

    with database.connect() as conn:
        plain = timed(
            "naive: one select and insert per bar", lambda: one_by_one(conn, bars[:NUM_PLAIN_BARS]), NUM_PLAIN_BARS
        )
        conn.rollback()
    fast = timed("record into an empty store", load, len(bars))
    again = timed("record the same again", load, len(bars))
    with database.connect() as conn:
        timed("current_bars of all", lambda: current_bars(conn, tickers), len(bars))
        last = bars["session"].max()
        assert last is not None
        recent = 280 * NUM_TICKERS
        timed("recent_bars, 280 per ticker", lambda: recent_bars(conn, tickers, last=last, num_bars=280), recent)
        newest_bars = bars.group_by("ticker", maintain_order=True).tail(6)
        timed(
            "record a daily run, 6 sessions per ticker",
            lambda: ingest(conn, Delivery(bars=newest_bars), source="bench", calendar=calendar),
            len(newest_bars),
        )
        conn.rollback()
    print(f"filling an empty store is {plain / fast:.0f} times, a reload {plain / again:.0f} times as fast as naive")


def main() -> None:
    calendar = exchange_calendar()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        home.chmod(0o755)
        database = Database(url=embedded.start(home), schema="bench_store")
        try:
            migrate(database, calendar)
            measure(database, calendar)
        finally:
            embedded.stop(home)


if __name__ == "__main__":
    main()
