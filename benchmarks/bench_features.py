"""Time features and windows of 103 tickers x 5,000 bars: from a frame in memory, from PostgreSQL, and by naive loops.

Run: .venv/bin/python benchmarks/bench_features.py  (about a minute; starts an embedded PostgreSQL)
"""

import math
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import MappingProxyType

import numpy as np
import polars as pl
from psycopg.conninfo import make_conninfo
from random_walks import synthetic_bars

from ldtm_lib.database import embedded
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.migrate import migrate
from ldtm_lib.features.inputs import INPUTS
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.features.windows import InputWindow, latest_windows, windows_of
from ldtm_lib.prices.ingest import ingest
from ldtm_lib.prices.sources.protocol import Delivery
from ldtm_lib.prices.stored_bars import current_bars, recent_bars
from ldtm_lib.sessions import Calendar, exchange_calendar
from ldtm_lib.settings import WindowConfig

NUM_TICKERS, NUM_BARS, NUM_PLAIN_TICKERS = 103, 5_000, 2
LIMIT_MEMORY_SECONDS, LIMIT_DATABASE_SECONDS, LIMIT_RSS_GIB = 1.5, 4.0, 1.5
CONFIG = WindowConfig()


def plain_windows(bars: pl.DataFrame) -> list[np.ndarray]:
    """The scaled windows of one ticker by a loop over its bars and one over its windows; no gaps expected."""
    rows = bars.to_dicts()
    closes = [row["close"] for row in rows]
    gain = loss = 0.0
    for i, row in enumerate(rows):
        row["log_return_1"] = math.log(closes[i] / closes[i - 1]) if i >= 1 else math.nan
        row["log_return_5"] = math.log(closes[i] / closes[i - 5]) if i >= 5 else math.nan
        change = closes[i] - closes[i - 1] if i else 0.0
        weight, kept = (1 / 14, 1.0) if i <= 14 else (1 / 14, 13 / 14)
        gain, loss = kept * gain + weight * max(change, 0.0), kept * loss + weight * max(-change, 0.0)
        row["rsi_14"] = 100 * gain / (gain + loss) if i >= 14 else math.nan
        for n in (5, 10, 20):
            row[f"close_to_ma_{n}"] = closes[i] * n / sum(closes[i - n + 1 : i + 1]) if i >= n - 1 else math.nan
    windows: list[np.ndarray] = []
    for end in range(48, len(rows)):
        window = np.array([[row[name] for name in INPUTS] for row in rows[end - 29 : end + 1]], dtype=np.float32)
        low, high = window.min(axis=0), window.max(axis=0)
        windows.append((window - low) / np.where(high > low, high - low, 1))
    return windows


def seconds(action: Callable[[], object], repeats: int) -> float:
    """The median wall time of an action."""
    times: list[float] = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def gather_all(sets: dict[str, WindowSet]) -> None:
    for windows in sets.values():
        windows.gather(np.arange(len(windows)))


def from_memory(bars: pl.DataFrame, calendar: Calendar) -> float:
    """Print the figures of a frame in memory; returns its time in seconds."""
    took = seconds(lambda: windows_of(bars, calendar, CONFIG), repeats=5)
    sets = windows_of(bars, calendar, CONFIG)
    gathering = seconds(lambda: gather_all(sets), repeats=3)
    num_windows = sum(len(w) for w in sets.values())
    print(
        f"from memory      {took:6.2f} s  {bars.height:,} bars, {num_windows:,} windows (goal {LIMIT_MEMORY_SECONDS} s)"
    )
    print(f"every window     {gathering:6.2f} s  gathered and scaled once")

    plain_bars = bars.filter(pl.col("ticker").is_in([f"T{n:03}" for n in range(NUM_PLAIN_TICKERS)]))
    groups = plain_bars.partition_by("ticker")
    plain = seconds(lambda: [plain_windows(group) for group in groups], repeats=1) / NUM_PLAIN_TICKERS * NUM_TICKERS
    fast = sets["T000"].gather(np.arange(len(sets["T000"])))
    # Float64 sums in another order move an input by one float32 unit, 1e-7 of its size, over a range of a few percent.
    np.testing.assert_allclose(fast, np.stack(plain_windows(groups[0])), rtol=0, atol=1e-4)
    print(f"naive loops      {plain:6.1f} s  scaled up from {NUM_PLAIN_TICKERS} tickers; same windows")
    print(f"ratio            {plain / (took + gathering):6.0f} times, windows gathered and scaled in both")
    return took


def from_database(bars: pl.DataFrame, calendar: Calendar) -> float:
    """Print the figures of bars in PostgreSQL; returns the time of the whole history in seconds."""
    tickers = bars["ticker"].unique(maintain_order=True).to_list()
    session: date = bars["session"].to_list()[-1]
    with tempfile.TemporaryDirectory() as home:
        url = make_conninfo(embedded.start(Path(home)), dbname="postgres")
        try:
            database = Database(url=url, schema="bench_features")
            migrate(database, calendar)
            with database.connect() as conn:
                delivery = Delivery(bars=bars, splits=(), failures=MappingProxyType({}), notes=())
                ingest(conn, delivery, source="synthetic", calendar=calendar)
                conn.commit()
                conn.autocommit = True
                conn.execute("analyze")
                took = seconds(lambda: windows_of(current_bars(conn, tickers), calendar, CONFIG), repeats=3)
                latest = seconds(lambda: windows_of_session(conn, tickers, session, calendar), repeats=5)
        finally:
            embedded.stop(Path(home))
    print(f"from PostgreSQL  {took:6.2f} s  COPY out included (goal {LIMIT_DATABASE_SECONDS} s)")
    print(f"one session      {latest:6.2f} s  newest 280 bars of {len(tickers)} tickers read, one window each")
    return took


def windows_of_session(conn: Connection, tickers: list[str], session: date, calendar: Calendar) -> list[InputWindow]:
    num_bars = CONFIG.window_sessions + CONFIG.warmup_bars
    bars = recent_bars(conn, tickers, last=session, num_bars=num_bars)
    return latest_windows(bars, tickers, session, calendar, CONFIG)


def main() -> None:
    calendar = exchange_calendar()
    bars = synthetic_bars(calendar, NUM_TICKERS, NUM_BARS)
    memory_seconds = from_memory(bars, calendar)
    database_seconds = from_database(bars, calendar)
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory      {peak_gib:6.2f} GiB of this process over all of the above (goal {LIMIT_RSS_GIB} GiB)")
    if memory_seconds > LIMIT_MEMORY_SECONDS or database_seconds > LIMIT_DATABASE_SECONDS or peak_gib > LIMIT_RSS_GIB:
        sys.exit("a goal was missed")


if __name__ == "__main__":
    main()
