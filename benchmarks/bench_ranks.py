"""Measure time and memory of rank intervals of 103 to 5,000 tickers, and of examining every pair in every draw.

Run on an idle machine: `python benchmarks/bench_ranks.py`. Directions are random, with a part that all tickers share.
"""

import resource
import time

import numpy as np

from ldtm_lib.ledger import ranking

PLAIN_UP_TO = 2000
"""Largest number of tickers for which every pair in every draw is timed as well."""


def main() -> None:
    for num_days in (30, 252):
        for num_tickers in (103, 1000, 2000, 5000):
            correct, is_given = directions(num_days, num_tickers)
            started = time.perf_counter()
            found = ranking.rank_intervals(correct, is_given)
            fast = time.perf_counter() - started
            print(f"{num_tickers:,} tickers, {num_days} days: {fast:.2f} s", end="")
            if num_tickers <= PLAIN_UP_TO:
                few, ranking.FEW_TICKERS = ranking.FEW_TICKERS, PLAIN_UP_TO + 1
                started = time.perf_counter()
                plain = ranking.rank_intervals(correct, is_given)
                seconds = time.perf_counter() - started
                ranking.FEW_TICKERS = few
                same = np.array_equal(plain.low_T, found.low_T) and np.array_equal(plain.high_T, found.high_T)
                print(f", every pair in every draw {seconds:.2f} s, {seconds / fast:.1f} x, same: {same}", end="")
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"; peak memory so far {peak:,.0f} MiB", flush=True)


def directions(num_days: int, num_tickers: int) -> tuple[np.ndarray, np.ndarray]:
    """Random marks of right directions and of given directions, by day and ticker (D, T)."""
    rng = np.random.default_rng(num_days)
    common, own = rng.random((num_days, 1)) < 0.5, rng.random((num_days, num_tickers)) < 0.5
    correct = np.where(rng.random(own.shape) < 0.3, common, own)
    return correct, rng.random(own.shape) < rng.uniform(0.4, 1.0, num_tickers)


if __name__ == "__main__":
    main()
