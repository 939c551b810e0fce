"""Time training on a Ray cluster and on this machine, with the same networks on the same cores, to find Ray's cost.

The clusters are real processes on this host: a head without cores, and one node with all cores or a node for each core.
All times on Ray include its start (connecting, versions of all nodes, a process with torch for each slot).

Do not change files of the packages during the run: nodes and driver compare their code.

Run: PYTHONPATH=. .venv/bin/python benchmarks/bench_ray.py  (about five minutes)
"""

import argparse
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from bokeh_sampledata import stocks

from ldtm_lib.features.windows import windows_of
from ldtm_lib.models.cpu import available_cores
from ldtm_lib.models.fit import Fit, FitTask
from ldtm_lib.models.on_ray.engine import RayEngine, TrainingEngine
from ldtm_lib.models.trainer import fit_universe
from ldtm_lib.sessions import exchange_calendar
from ldtm_lib.settings import ArchitectureConfig, EngineConfig, TrainingConfig, WindowConfig
from tests.integration.ray.clusters import LocalCluster, marked

SHAPE = ArchitectureConfig()
TINY = ArchitectureConfig(hidden=4, head_hidden=4)
NUM_TICKERS, NETWORKS_PER_TICKER, ROWS, EPOCHS = 8, 3, 1500, 3
NUM_SMALL, NUM_LARGE = 200, 100
STORE_MIB = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A training: its time, and the highest sum of the resident memory of processes in MiB."""

    seconds: float
    here_mib: float
    cluster_mib: float


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="a hundredth of the work, to try the script")
    quick = arguments.parse_args().quick
    rows, num_tickers = (60, 4) if quick else (ROWS, NUM_TICKERS)
    num_small, num_large = (8, 4) if quick else (NUM_SMALL, NUM_LARGE)
    num_cores = available_cores()
    recipe, one_epoch = TrainingConfig(max_epochs=EPOCHS), TrainingConfig(max_epochs=1)
    work = tasks(num_tickers, NETWORKS_PER_TICKER, rows)
    print(f"{len(work)} networks of {num_tickers} tickers x {rows} windows x {EPOCHS} epochs, {num_cores} cores")
    local = measured(fit_universe, work, SHAPE, recipe, None)
    show("this machine", local, local)
    with cluster(1, num_cores) as one:
        show(f"1 node of {num_cores} cores", measured(engine(one), work, SHAPE, recipe, one), local)
    with cluster(num_cores, 1) as many:
        show(f"{num_cores} nodes of 1 core", measured(engine(many), work, SHAPE, recipe, many), local)
        small = tasks(num_small, 1, 60)
        here = measured(fit_universe, small, TINY, one_epoch, None)
        print(f"{num_small} tiny networks ({sum(p.nbytes for p in arrays(small[0])) / 2**20:.1f} MiB of windows each)")
        show("this machine", here, here)
        start = measured(engine(many), small[:num_cores], TINY, one_epoch, many)
        for per_shard in (1, 10):
            found = measured(engine(many, per_shard), small, TINY, one_epoch, many)
            num_shards = -(-num_small // per_shard)
            cost = (found.seconds - start.seconds - here.seconds) / num_shards
            show(f"tasks of {per_shard}: {1000 * cost:.0f} ms per task beyond the start", found, here)
        large = tasks(num_large, 1, 60)
        here = measured(fit_universe, large, SHAPE, one_epoch, None)
        print(f"{num_large} networks of the default shape, 60 windows, one epoch")
        show("this machine", here, here)
        show("one task", measured(engine(many, num_large), large, SHAPE, one_epoch, many), here)


def show(name: str, found: Measured, local: Measured) -> None:
    print(
        f"  {name:48} {found.seconds:7.1f} s   {found.seconds / local.seconds:5.2f} x this machine"
        f"   peak {found.here_mib:6.0f} MiB here, {found.cluster_mib:6.0f} MiB head and nodes"
    )


@contextmanager
def cluster(num_nodes: int, cpus: int) -> Iterator[LocalCluster]:
    with LocalCluster(object_store_mib=STORE_MIB) as started:
        for _ in range(num_nodes):
            started.node(cpus=cpus)
        yield started


def engine(on: LocalCluster, tickers_per_shard: int | None = None) -> RayEngine:
    return RayEngine(config=EngineConfig(kind="ray", address=on.address, tickers_per_shard=tickers_per_shard))


def measured(
    train: TrainingEngine,
    some: Sequence[FitTask],
    architecture: ArchitectureConfig,
    recipe: TrainingConfig,
    on: LocalCluster | None,
) -> Measured:
    peaks = [0.0, 0.0]
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.5):
            driver = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
            peaks[0] = max(peaks[0], sum(resident_mib(pid) for pid in (os.getpid(), *map(int, driver if on else ()))))
            if on is not None:
                pids = [pid for process in (on.head, *on.nodes) for pid in marked(process.mark)]
                peaks[1] = max(peaks[1], sum(resident_mib(pid) for pid in pids))

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    try:
        results = list(train(some, recipe=recipe, architecture=architecture, device="cpu"))
        seconds = time.perf_counter() - start
    finally:
        is_over.set()
        watcher.join()
    assert len(results) == len(some)
    assert all(isinstance(result, Fit) for result in results)
    return Measured(seconds=seconds, here_mib=peaks[0], cluster_mib=peaks[1])


def resident_mib(pid: int) -> float:
    """Memory of the process itself in MiB, without files and shared memory."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def tasks(num_tickers: int, networks_each: int, rows: int) -> list[FitTask]:
    """Tasks with the same rows under several names; only the amount of work matters here."""
    columns = ("open", "high", "low", "close", "volume")
    frame = pl.DataFrame({name: stocks.IBM[name] for name in ("date", *columns)}).select(
        pl.col("date").str.to_date().alias("session"), pl.col(columns).cast(pl.Float64)
    )
    names = [f"IBM{number}" for number in range(num_tickers)]
    bars = pl.concat(frame.select(pl.lit(name).alias("ticker"), pl.all()) for name in names)
    at = np.arange(rows + 60)
    return [
        FitTask(ticker=name, fold=fold, windows=windows, training_rows=at[:rows], validation_rows=at[rows:])
        for name, windows in windows_of(bars, exchange_calendar(), WindowConfig()).items()
        for fold in (*range(networks_each - 1), None)
    ]


def arrays(task: FitTask) -> list[np.ndarray]:
    return [value for name in task.windows.__slots__ if isinstance(value := getattr(task.windows, name), np.ndarray)]


if __name__ == "__main__":
    main()
