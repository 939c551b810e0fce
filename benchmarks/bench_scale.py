"""Measure time, statements, events, memory and storage of universes of 103, 1,000 and 5,000 synthetic tickers.

    python benchmarks/bench_scale.py [--tickers 103 1000 5000] [--by date_and_ticker date] [--stages daily gate]

Figures are printed with their ratio to those of the first universe, and per ticker. 103 and 1,000 tickers take about
ten minutes on 2 cores, 5,000 about an hour and 20 GiB of disk. Every stage runs in a separate process
(`scale_stages.py`), on an embedded PostgreSQL in a temporary folder: the work of a daily run without Dagster, a daily
run, the UI page of an asset with a year of partitions, the gate, the windows and plan of a retraining, and the
leaderboard. `--profile FOLDER` writes profiles of the stages, which then take longer.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ldtm_lib.database import embedded
from ldtm_lib.project import DATABASE_VARIABLE, home_of
from ldtm_lib.settings import PartitionConfig, load_settings

REPOSITORY = Path(__file__).parents[1]
UNIVERSES = (103, 1_000)
BY = "date_and_ticker"
STAGES: dict[str, tuple[str, ...]] = {
    "work": ("make_daily", "work"),
    "daily": ("make_daily", "daily", "ui"),
    "gate": ("make_gate", "gate"),
    "training": ("make_training", "training"),
    "board": ("make_board", "board"),
}
"""The processes of each group, which share a folder; only the group `daily` depends on the partitions."""
BOUNDS = {
    "daily run, s": {1_000: 60.0, 5_000: 300.0},
    "UI page of a year, cold, s": {5_000: 2.0},
    "UI page of a year, warm, s": {5_000: 2.0},
    "UI page of a year, after another session, s": {5_000: 2.0},
    **{f"{stage}, peak GiB": {5_000: 2.0} for stage in STAGES},
}
"""Upper bounds of figures, by the largest number of tickers for which they hold."""

Figures = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tickers", type=int, nargs="+", default=UNIVERSES)
    parser.add_argument("--by", nargs="+", default=[BY], choices=["date_and_ticker", "date"])
    parser.add_argument("--stages", nargs="+", default=[*STAGES], choices=[*STAGES])
    parser.add_argument("--profile", type=Path)
    parser.add_argument("--strict", action="store_true", help="exit with status 1 if a bound is exceeded")
    given = parser.parse_args()
    if "date" in given.by and "by" not in PartitionConfig.model_fields:
        parser.error("this version of LDTM has no setting partitions.by")
    exceeded = 0
    found: dict[tuple[str, int], Figures] = {}
    for by in given.by:
        print(f"partitions by {by}")
        for num_tickers in given.tickers:
            figures: Figures = {}
            for group in given.stages:
                if by == given.by[0] or group == "daily":
                    figures |= measure(STAGES[group], num_tickers, by, given.profile)
            found[by, num_tickers] = figures
            exceeded += show(num_tickers, figures, given.tickers[0], found[by, given.tickers[0]])
    if len(given.by) == 2:
        compare(given.by, given.tickers, found)
    sys.exit(1 if exceeded and given.strict else 0)


def measure(stages: Sequence[str], num_tickers: int, by: str, profiles: Path | None) -> Figures:
    """Run some stages in one folder, each in a separate process; returns the figures of all."""
    figures: Figures = {}
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    environment.pop(DATABASE_VARIABLE, None)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        home.chmod(0o755)
        try:
            for stage in stages:
                command = [sys.executable, str(REPOSITORY / "benchmarks" / "scale_stages.py"), stage, "--home", folder]
                command += ["--tickers", str(num_tickers), "--by", by]
                if profiles is not None:
                    command += ["--profile", str(profiles / f"{stage}_{by}_{num_tickers}.prof")]
                done = subprocess.run(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True)
                *lines, last = done.stdout.splitlines() or [""]
                print(*lines, sep="\n", end="\n" if lines else "", flush=True)
                if done.returncode:
                    sys.exit(f"{stage} of {num_tickers} tickers failed:\n{last}")
                figures |= json.loads(last)
        finally:
            if (home / "universe.toml").exists():
                embedded.stop(home_of(load_settings(home / "universe.toml")))
    return figures


def show(num_tickers: int, figures: Figures, smallest: int, first: Figures) -> int:
    """Print the figures of a universe; returns how many exceed their bound."""
    exceeded = 0
    print(f"{num_tickers:,} tickers ({num_tickers / smallest:.1f} x {smallest:,})", flush=True)
    for name, value in figures.items():
        bound = min((b for most, b in BOUNDS.get(name, {}).items() if num_tickers <= most), default=None)
        verdict = "" if bound is None else f"   bound {bound:g}: {'kept' if value <= bound else 'EXCEEDED'}"
        exceeded += bound is not None and value > bound
        ratio = f"{value / first[name]:6.1f} x" if first.get(name) else ""
        print(f"  {name:48} {value:12,.2f} {ratio:>9} {value / num_tickers:10.4f} a ticker{verdict}", flush=True)
    return exceeded


def compare(by: Sequence[str], universes: Sequence[int], found: dict[tuple[str, int], Figures]) -> None:
    """Print the figures of both designs of partitions, and their ratio."""
    plain, fast = by
    for num_tickers in universes:
        print(f"{num_tickers:,} tickers: {plain}, {fast}, ratio")
        for name, value in found[fast, num_tickers].items():
            before = found[plain, num_tickers][name]
            ratio = f"{before / value:.1f} x" if value else ""
            print(f"  {name:48} {before:12,.2f} {value:12,.2f} {ratio:>9}")


if __name__ == "__main__":
    main()
