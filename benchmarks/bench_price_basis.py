"""Time the comparison of deliveries with the stored price basis: a repeated day, splits of all tickers, a whole reload.

The naive version delivers one ticker after the other. Run: .venv/bin/python benchmarks/bench_price_basis.py
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from bench_store import NUM_TICKERS, synthetic_bars

from ldtm_lib.database import embedded
from ldtm_lib.database.connection import Database
from ldtm_lib.database.migrate import migrate
from ldtm_lib.prices.bars import PRICE_COLUMNS
from ldtm_lib.prices.ingest import ingest
from ldtm_lib.prices.sources.protocol import Delivery
from ldtm_lib.sessions import exchange_calendar

OVERLAP = 5


def main() -> None:
    calendar = exchange_calendar()
    bars = synthetic_bars(calendar)
    sessions = bars["session"].unique().sort()
    before, newest = (
        bars.filter(pl.col("session") < sessions[-1]),
        bars.filter(pl.col("session") >= sessions[-OVERLAP - 1]),
    )
    split = newest.with_columns((pl.col(PRICE_COLUMNS) / 2).round(2), volume=pl.col("volume") * 2)
    rounded = bars.with_columns(pl.col(PRICE_COLUMNS) * (1 + 1e-4 * np.sin(np.arange(len(bars)))))
    parts = [Delivery(bars=part) for part in split.partition_by("ticker")]
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o755)
        database = Database(url=embedded.start(Path(home)), schema="ldtm_bench_basis")
        try:
            migrate(database, calendar)
            with database.connect() as conn:
                ingest(conn, Delivery(bars=before), source="bench", calendar=calendar)
                conn.commit()
                for name, deliveries in {
                    "the same day again, unchanged": [Delivery(bars=before.filter(pl.col("session") >= sessions[-6]))],
                    "every ticker splits, one delivery": [Delivery(bars=split)],
                    "every ticker splits, one ticker after the other": parts,
                    "whole histories with other prices": [Delivery(bars=rounded)],
                }.items():
                    started = time.perf_counter()
                    with conn.transaction(force_rollback=True):
                        reports = [ingest(conn, each, source="bench", calendar=calendar) for each in deliveries]
                    num_splits = sum(len(report.splits) for report in reports)
                    elapsed = time.perf_counter() - started
                    print(f"{name}: {elapsed:.2f} s, {num_splits} of {NUM_TICKERS} splits recorded", flush=True)
        finally:
            embedded.stop(Path(home))


if __name__ == "__main__":
    main()
