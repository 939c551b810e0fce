"""Time epochs of training on real bars, float32 on the CPU: eight networks, the minimum of several runs.

The methods take turns, each in a separate process, so that other load on the machine affects all of them and none
inherits the heap of another one. The naive version is the simplest code: a DataLoader over windows that are gathered
one at a time, AdamW unfused, one network after the other on all cores.

Run: .venv/bin/python benchmarks/bench_training.py  (about three minutes)
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from unittest.mock import patch

import numpy as np
import polars as pl
import torch
from bokeh_sampledata import stocks
from torch import Tensor
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, Dataset

from ldtm_lib.features.windows import windows_of
from ldtm_lib.models.cpu import keep_freed_memory, one_thread_each
from ldtm_lib.models.fit import FitTask
from ldtm_lib.models.fused.trainer import fit_fused
from ldtm_lib.models.lstm import LdtmNetwork
from ldtm_lib.models.single_fit import fit_alone
from ldtm_lib.models.trainer import fit_universe
from ldtm_lib.sessions import exchange_calendar
from ldtm_lib.settings import ArchitectureConfig, GpuConfig, TrainingConfig, WindowConfig

NUM_TASKS = 8
TRAINING_ROWS = 512
VALIDATION_ROWS = 64
REPETITIONS, RUNS = 2, 3
SHAPE = ArchitectureConfig()
BATCH_SIZES = (32, 64, 128)
CPU = torch.device("cpu")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.way:
        print(json.dumps([fastest(WAYS[given.way], batch_size) for batch_size in BATCH_SIZES]))
        return
    num_rows = NUM_TASKS * TRAINING_ROWS
    print(f"one epoch of {NUM_TASKS} networks x {TRAINING_ROWS} windows, {torch.get_num_threads()} cores, float32")
    rounds = [{name: in_a_process(name) for name in WAYS} for _ in range(REPETITIONS)]
    for at, batch_size in enumerate(BATCH_SIZES):
        print(f"batch {batch_size}")
        best = {name: min(seconds[name][at] for seconds in rounds) for name in WAYS}
        for name, seconds in best.items():
            print(
                f"  {name:38} {seconds:6.2f} s   {num_rows / seconds:6.0f} windows/s"
                f"   {seconds * 3200 / num_rows:5.2f} s per 3,200 windows   {best[PLAIN] / seconds:4.2f} x naive"
            )


def in_a_process(way: str) -> list[float]:
    """The seconds of one method by batch size."""
    done = subprocess.run([sys.executable, __file__, "--way", way], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def fastest(way: Callable[[Sequence[FitTask], TrainingConfig], None], batch_size: int) -> float:
    recipe, tasks = TrainingConfig(batch_size=batch_size, max_epochs=1), ibm_tasks()
    return min(seconds_of(lambda: way(tasks, recipe)) for _ in range(RUNS))


def ibm_tasks() -> list[FitTask]:
    """Tasks with the same rows under several names; only the amount of work matters here."""
    columns = ("open", "high", "low", "close", "volume")
    bars = pl.DataFrame({name: stocks.IBM[name] for name in ("date", *columns)}).select(
        pl.lit("IBM").alias("ticker"), pl.col("date").str.to_date().alias("session"), pl.col(columns).cast(pl.Float64)
    )
    windows = windows_of(bars, exchange_calendar(), WindowConfig())["IBM"]
    rows = np.arange(TRAINING_ROWS + VALIDATION_ROWS)
    return [
        FitTask(
            ticker=f"IBM{n}",
            fold=None,
            windows=windows,
            training_rows=rows[:TRAINING_ROWS],
            validation_rows=rows[TRAINING_ROWS:],
        )
        for n in range(NUM_TASKS)
    ]


def seconds_of(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def a_core_each(tasks: Sequence[FitTask], recipe: TrainingConfig) -> None:
    list(fit_universe(tasks, recipe=recipe, architecture=SHAPE, device=CPU))


def a_core_each_heap_given_back(tasks: Sequence[FitTask], recipe: TrainingConfig) -> None:
    with patch("ldtm_lib.models.trainer.keep_freed_memory", nullcontext):
        a_core_each(tasks, recipe)


def fused_on_each_core(tasks: Sequence[FitTask], recipe: TrainingConfig) -> None:
    def train(some: Sequence[FitTask]) -> None:
        list(
            fit_fused(
                some,
                recipe=recipe,
                architecture=SHAPE,
                device=CPU,
                gpu=GpuConfig(mib_per_job=4000),
                on_progress=lambda _: None,
            )
        )

    with (
        one_thread_each() as num_cores,
        keep_freed_memory(),
        ThreadPoolExecutor(num_cores, initializer=torch.set_num_threads, initargs=(1,)) as cores,
    ):
        list(cores.map(train, [tasks[at::num_cores] for at in range(num_cores)]))


def one_after_the_other(tasks: Sequence[FitTask], recipe: TrainingConfig) -> None:
    for task in tasks:
        fit_alone(task, recipe=recipe, architecture=SHAPE, device=CPU, on_progress=lambda _: None)


class Windows(Dataset[tuple[np.ndarray, np.ndarray]]):
    """A data set that gathers one window at a time."""

    def __init__(self, task: FitTask) -> None:
        self.task = task

    def __len__(self) -> int:
        return len(self.task.training_rows)

    def __getitem__(self, at: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self.task.training_rows[at : at + 1]
        return self.task.windows.gather(rows)[0], self.task.windows.targets[rows][0]


def one_after_the_other_plainly(tasks: Sequence[FitTask], recipe: TrainingConfig) -> None:
    for task in tasks:
        network = LdtmNetwork(SHAPE)
        optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate)
        batches: DataLoader[tuple[Tensor, Tensor]] = DataLoader(Windows(task), recipe.batch_size, shuffle=True)
        for inputs, targets in batches:
            optimizer.zero_grad()
            mse_loss(network(inputs), targets).backward()
            optimizer.step()
        with torch.inference_mode():
            rows = task.validation_rows
            mse_loss(network(torch.from_numpy(task.windows.gather(rows))), torch.from_numpy(task.windows.targets[rows]))


PLAIN = "naive: DataLoader, one by one"
WAYS: dict[str, Callable[[Sequence[FitTask], TrainingConfig], None]] = {
    PLAIN: one_after_the_other_plainly,
    "gathered once, all cores on one": one_after_the_other,
    "fused networks on each core": fused_on_each_core,
    "one per core, freed memory given back": a_core_each_heap_given_back,
    "one per core (fit_universe)": a_core_each,
}

if __name__ == "__main__":
    main()
