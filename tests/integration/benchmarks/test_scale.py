"""The benchmark of large universes, with a small one."""

import re
import subprocess
import sys

import pytest

from tests.repository import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(900)]


def test_the_benchmark_of_large_universes_measures_a_small_one() -> None:
    stages = ("--by", "date", "--stages", "daily", "board")
    command = [sys.executable, "benchmarks/bench_scale.py", "--tickers", "4", *stages]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = re.findall(r"^  (.+?) {2,}([\d,.]+) .* a ticker", done.stdout, flags=re.MULTILINE)
    names = [name for name, _ in figures]
    for name in ("daily run, s", "UI page of a year, warm, s", "leaderboard, s"):
        assert names.count(name) == 1, done.stdout
    assert all(float(value.replace(",", "")) >= 0 for _, value in figures)
