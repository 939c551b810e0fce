"""Time the search for outliers in 103 tickers x 5,000 bars, and a naive loop over the bars.

Run: .venv/bin/python benchmarks/bench_outliers.py  (about ten seconds)
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from random_walks import synthetic_bars

from ldtm_lib.prices.bars import KEY
from ldtm_lib.prices.outliers import find_outliers, judge_delivery
from ldtm_lib.prices.volume_units import in_stored_units
from ldtm_lib.sessions import Calendar, exchange_calendar

REPOSITORY = Path(__file__).parents[1]
sys.path.append(str(REPOSITORY))
from tests.unit.prices.plain_outliers import plain_outliers  # noqa: E402

NUM_TICKERS, NUM_BARS, NUM_SPIKES = 103, 5_000, 500
LIMIT_SECONDS = 0.3


def spiked(bars: pl.DataFrame) -> pl.DataFrame:
    """The bars as a series to judge, with NUM_SPIKES closes multiplied by 3 to 300."""
    rng = np.random.default_rng(1)
    close = bars["close"].to_numpy().copy()
    close[rng.choice(len(close), NUM_SPIKES, replace=False)] *= rng.uniform(3, 300, NUM_SPIKES)
    return bars.select(KEY).with_columns(close=pl.Series(close), is_judged=pl.lit(value=True))


def plain(series: pl.DataFrame, calendar: Calendar) -> list[int]:
    """The rows of the outliers, by a loop over every bar."""
    at = np.searchsorted(calendar.days, series["session"].to_numpy())
    rows, start = list[int](), 0
    for own in series.partition_by("ticker", maintain_order=True):
        found = plain_outliers(
            own["close"].to_list(), at[start : start + len(own)].tolist(), own["is_judged"].to_list()
        )
        rows += [start + row for row in found]
        start += len(own)
    return rows


def seconds(action: Callable[[], object], repeats: int) -> float:
    """The median wall time of an action."""
    times: list[float] = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def main() -> None:
    calendar = exchange_calendar()
    bars = synthetic_bars(calendar, NUM_TICKERS, NUM_BARS)
    series = spiked(bars)
    rows = [at for run in find_outliers(series, calendar).runs for at in range(run.first, run.stop)]
    if rows != plain(series, calendar):
        sys.exit("the search and the naive loop found different outliers")
    took = seconds(lambda: judge_delivery(series, calendar), repeats=5)
    loop = seconds(lambda: plain(series, calendar), repeats=3)
    print(
        f"search        {took:6.3f} s  {len(series):,} bars, {len(rows)} outliers with reasons (goal {LIMIT_SECONDS} s)"
    )
    print(f"naive loop    {loop:6.3f} s  same outliers, without reasons")
    print(f"ratio         {loop / took:6.0f} times")
    lots = bars.with_columns(volume=(pl.col("volume") / 100).round())
    units = seconds(lambda: in_stored_units(lots, bars), repeats=5)
    print(f"volume units  {units:6.3f} s  every ticker in lots instead of shares (goal {LIMIT_SECONDS * 3:.1f} s)")
    if took > LIMIT_SECONDS or units > LIMIT_SECONDS * 3:
        sys.exit("a goal was missed")


if __name__ == "__main__":
    main()
