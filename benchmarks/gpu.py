"""Training on a GPU: speed against a process per ticker, memory against the formula, manners beside another tenant.

Run on a machine with CUDA: .venv/bin/python benchmarks/gpu.py  (less than 8 minutes; --quick takes two)

The windows are those of seeded random walks: the work is that of real ones, the forecasts mean nothing. The retrain
needs a PostgreSQL: the embedded one, or the server that LDTM_TEST_DATABASE_URL names.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pynvml
import torch
from random_walks import synthetic_bars

from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.features.windows import windows_of
from ldtm_lib.models.cuda_memory import uuid_of
from ldtm_lib.models.fit import Fit, FitTask, Progress
from ldtm_lib.models.forecast import predict
from ldtm_lib.models.fused.kernels.interface import REFERENCE, Operations, operations_for
from ldtm_lib.models.fused.memory import plan_memory
from ldtm_lib.models.fused.trainer import fit_fused
from ldtm_lib.models.single_fit import fit_alone
from ldtm_lib.sessions import exchange_calendar
from ldtm_lib.settings import ArchitectureConfig, BacktestConfig, GpuConfig, Settings, TrainingConfig, WindowConfig

NUM_TICKERS, NUM_BARS, NUM_ROWS, NUM_VALIDATION_ROWS = 103, 5_350, 5_000, 64
SHAPE = ArchitectureConfig()
CUDA = torch.device("cuda:0")
ROOMY = GpuConfig(mib_per_job=20_000)
TARGETS = {64: 0.18, 256: 0.12}
"""Seconds an epoch that are asked for on an H100, by batch size."""
SAMPLE_SECONDS = 0.25
SECTION_SECONDS = 240.0
"""How long one section may take."""
TENANT_MIB, TENANT_SECONDS, TENANT_SIZE = 39_000, 12.0, 4096


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="leave out the retrain and the other tenant")
    arguments.add_argument("--child", choices=["alone", "tenant"], help=argparse.SUPPRESS)
    arguments.add_argument("--section", choices=[section.__name__ for section in SECTIONS], help="this one alone")
    arguments.add_argument("--batch", type=int, default=64, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.child == "alone":
        print(json.dumps(float(np.median(epochs_alone(given.batch)[1:]))))
        return
    if given.child == "tenant":
        print(json.dumps(tenant_steps(TENANT_SECONDS)))
        return
    if not torch.cuda.is_available():
        sys.exit("needs a CUDA device; torch finds none")
    began = time.monotonic()
    if given.section:
        section = next(section for section in SECTIONS if section.__name__ == given.section)
        print(f"\n{section.__doc__}", flush=True)
        section()
        return
    name, free = torch.cuda.get_device_name(CUDA), torch.cuda.mem_get_info(CUDA)[0] // 2**20
    print(f"{name}, {free:,} MiB free, torch {torch.__version__}, CUDA {torch.version.cuda}", flush=True)
    for section in SECTIONS[: 3 if given.quick else None]:  # in processes: a broken context takes no other figure along
        command = [sys.executable, __file__, "--section", section.__name__]
        try:
            subprocess.run(command, check=True, timeout=SECTION_SECONDS)
        except subprocess.SubprocessError as error:
            print(f"  failed: {error}", flush=True)
    print(f"\n{time.monotonic() - began:.0f} s in all")


# What is trained


def synthetic_tasks(num_tasks: int = NUM_TICKERS, num_rows: int = NUM_ROWS) -> list[FitTask]:
    """One network per ticker, on so many windows each."""
    calendar = exchange_calendar()
    num_bars = num_rows + NUM_BARS - NUM_ROWS
    sets: dict[str, WindowSet] = windows_of(synthetic_bars(calendar, num_tasks, num_bars), calendar, WindowConfig())
    return [
        FitTask(
            ticker=ticker,
            fold=None,
            windows=windows,
            training_rows=np.arange(num_rows),
            validation_rows=np.arange(num_rows + 21, num_rows + 21 + NUM_VALIDATION_ROWS),
        )
        for ticker, windows in sets.items()
    ]


class Epochs:
    """Notes when the first network of a training ends its epochs: all fused networks end together."""

    def __init__(self) -> None:
        self.first: str | None = None
        self.ends: list[float] = []

    def __call__(self, progress: Progress) -> None:
        self.first = self.first or progress.ticker
        if progress.ticker == self.first:
            self.ends.append(time.perf_counter())

    def seconds(self) -> list[float]:
        """From the end of each epoch to that of the next."""
        return np.diff(self.ends).tolist()


def fused(
    tasks: Sequence[FitTask], recipe: TrainingConfig, gpu: GpuConfig = ROOMY, operations: Operations | None = None
) -> tuple[list[Fit], list[float]]:
    """All tasks fused; the fits and the seconds of the epochs after the first."""
    clock = Epochs()
    results = fit_fused(
        tasks, recipe=recipe, architecture=SHAPE, device=CUDA, gpu=gpu, on_progress=clock, operations=operations
    )
    return [result for result in results if isinstance(result, Fit)], clock.seconds()


# The sections


def sameness() -> None:
    """Sameness: fused in FP16, fused without kernels in FP16, the reference in FP32 on the CPU"""
    tasks, recipe = synthetic_tasks(8, 400), TrainingConfig(max_epochs=5)
    kernels, _ = fused(tasks, recipe)
    plain, _ = fused(tasks, recipe, operations=REFERENCE)
    named = {fit.task.ticker: fit for fit in plain}
    for fit in kernels[:4]:
        reference = fit_alone(
            fit.task, recipe=recipe, architecture=SHAPE, device=torch.device("cpu"), on_progress=lambda _: None
        )
        rows = fit.task.validation_rows
        prices = [
            predict(each.state, fit.task.windows, rows, SHAPE, "cpu")
            for each in (fit, named[fit.task.ticker], reference)
        ]
        apart = [float(np.abs(price / prices[2] - 1).max()) for price in prices[:2]]
        print(
            f"  {fit.task.ticker}: validation loss {fit.validation_loss:.5f}, without kernels "
            f"{named[fit.task.ticker].validation_loss:.5f}, reference {reference.validation_loss:.5f}; forecasts apart "
            f"by at most {apart[0]:.2e} and {apart[1]:.2e} of the price"
        )


def epochs() -> None:
    """One epoch of 103 networks x 5,000 windows, FP16, seconds (minimum); of one network per process (median)"""
    tasks = synthetic_tasks()
    print("  batch    fused  asked  busy %  no kernels   alone  4 at once  ratio")
    for batch_size, target in TARGETS.items():
        recipe = TrainingConfig(batch_size=batch_size, max_epochs=40, patience=40)
        with watched_gpu() as busy:
            _, seconds = fused(tasks, recipe)
            busy.last(sum(seconds))
        _, without = fused(tasks, recipe.replace(max_epochs=3), operations=REFERENCE)
        single = float(np.median(epochs_alone(batch_size)[1:]))
        four = np.median(in_processes(4, "alone", batch_size))
        best = min(seconds)
        print(
            f"  {batch_size:5} {best:8.3f} {target:6.2f} {busy.percent():7.0f} {min(without):11.3f} {single:7.3f} "
            f"{four:10.3f} {four * NUM_TICKERS / 4 / best:5.0f} x"
        )


def memory() -> None:
    """Memory: the allocator's peak against the formula, MiB; seconds an epoch within that budget"""
    tasks = synthetic_tasks()
    for budget in (600, 1200, 4096):
        for batch_size in TARGETS:
            recipe = TrainingConfig(batch_size=batch_size, max_epochs=3)
            plan = plan_memory(
                tasks,
                recipe=recipe,
                architecture=SHAPE,
                budget_mib=budget,
                half_precision=True,
                kernels=operations_for(CUDA, SHAPE) is not REFERENCE,
            )
            began = time.perf_counter()
            fits, _ = fused(tasks, recipe, GpuConfig(mib_per_job=budget))
            seconds = (time.perf_counter() - began) / recipe.max_epochs
            peak = max(fit.vram_peak_mib or 0 for fit in fits)
            print(
                f"  budget {budget:5}, batch {batch_size:3}: {plan.num_networks:3} networks at once, formula "
                f"{plan.peak_mib:6.0f}, peak {peak:6.0f} ({peak / plan.peak_mib - 1:+.0%}); {seconds:.2f} s an epoch"
            )


def retrains() -> None:
    """The whole retrain, 103 tickers x 20 years, early stopping on, database to registry, seconds"""
    from ldtm_lib.database import embedded
    from ldtm_lib.database.connection import Database
    from ldtm_lib.database.migrate import migrate
    from ldtm_lib.prices.ingest import ingest
    from ldtm_lib.prices.sources.protocol import Delivery
    from ldtm_lib.prices.stored_bars import current_bars
    from ldtm_lib.training.plan import PARTS
    from ldtm_lib.training.record import TrainingRecord, retrain
    from ldtm_lib.training.run import TrainingContext

    calendar = exchange_calendar()
    bars = synthetic_bars(calendar, NUM_TICKERS, NUM_BARS)
    tickers = tuple(bars["ticker"].unique(maintain_order=True))
    with tempfile.TemporaryDirectory() as home:
        os.chmod(home, 0o755)
        given = os.environ.get("LDTM_TEST_DATABASE_URL")
        database = Database(url=given or embedded.start(Path(home)), schema="ldtm_bench_gpu")
        try:
            migrate(database, calendar)
            with database.transaction() as conn:
                ingest(conn, Delivery(bars=bars), source="sample", calendar=calendar)
            for folds, asked in ((False, 30), (True, 120)):
                settings = Settings(
                    path=Path("bench.toml"), tickers=tickers, gpu=ROOMY, backtest=BacktestConfig(num_folds=4)
                )
                began = time.perf_counter()
                with watched_gpu() as busy, database.transaction() as conn:
                    windows = windows_of(current_bars(conn, tickers), calendar, settings.window)
                    report = retrain(
                        windows,
                        TrainingContext(settings=settings, device="cuda:0"),
                        TrainingRecord(database=database, folder=Path(home) / f"checkpoints{folds}"),
                        trained_on=date(2025, 9, 30),
                        parts=PARTS if folds else ["checkpoint"],
                    )
                seconds = time.perf_counter() - began
                num_trained = sum(outcome.status == "trained" for outcome in report.outcomes)
                what = "4 folds and the final network" if folds else "the final network"
                print(
                    f"  {what} of each: {seconds:.0f} s (asked: {asked}), {num_trained} outcomes trained, "
                    f"GPU busy {busy.percent():.0f}%"
                )
        finally:
            if given:
                with database.connect() as conn:
                    conn.execute("drop schema ldtm_bench_gpu cascade")
            else:
                embedded.stop(Path(home))


def neighbours() -> None:
    """A co-tenant with matrix products of 4,096 x 4,096 in FP16: its step time, median and 99th percentile, ms"""
    tasks, alone = synthetic_tasks(), in_processes(1, "tenant", 0)[0]
    print(f"  {'alone':28} {alone[0]:7.3f} {alone[1]:7.3f}")
    polite = {
        "beside a training": GpuConfig(mib_per_job=4096),
        "the same in 600 MiB": GpuConfig(mib_per_job=600),
        "600 MiB and 5 ms of pause": GpuConfig(mib_per_job=600, pause_ms=5.0),
    }
    for what, gpu in polite.items():
        abandoned = threading.Event()
        trainer = threading.Thread(target=train_until, args=(tasks, gpu, abandoned))
        trainer.start()
        try:
            time.sleep(6)
            steps = in_processes(1, "tenant", 0)[0]
            if not trainer.is_alive():
                raise RuntimeError(f"{what}: the training broke off, so there is nothing beside the tenant")
        finally:
            abandoned.set()
            trainer.join()
        print(f"  {what:28} {steps[0]:7.3f} {steps[1]:7.3f} ({steps[1] / alone[1] - 1:+.0%})")


def train_until(tasks: Sequence[FitTask], gpu: GpuConfig, abandoned: threading.Event) -> None:
    """Train on and on until a signal."""

    def watch(progress: Progress) -> None:
        if abandoned.is_set():
            raise KeyboardInterrupt

    recipe = TrainingConfig(max_epochs=10_000, patience=10_000)
    try:
        for _ in fit_fused(tasks, recipe=recipe, architecture=SHAPE, device=CUDA, gpu=gpu, on_progress=watch):
            pass
    except KeyboardInterrupt:
        pass


# What runs in processes of its own


def in_processes(num_processes: int, child: str, batch_size: int) -> list:
    """What each of so many processes at once prints."""
    command = [sys.executable, __file__, "--child", child, "--batch", str(batch_size)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(num_processes)]
    return [json.loads(process.communicate()[0].splitlines()[-1]) for process in running]


def epochs_alone(batch_size: int) -> list[float]:
    """Seconds of the epochs of one network, the per-ticker way: nn.LSTM (cuDNN), autocast, GradScaler."""
    clock = Epochs()
    began = time.perf_counter()
    fit_alone(
        synthetic_tasks(1)[0],
        recipe=TrainingConfig(batch_size=batch_size, max_epochs=5),
        architecture=SHAPE,
        device=CUDA,
        on_progress=clock,
    )
    return [clock.ends[0] - began, *clock.seconds()]


def tenant_steps(seconds: float) -> tuple[float, float]:
    """Median and 99th percentile of a step of another tenant, in ms, while it holds its memory."""
    held = torch.empty(min(TENANT_MIB * 2**20, torch.cuda.mem_get_info(CUDA)[0] // 2), dtype=torch.uint8, device=CUDA)
    left, right = (torch.randn(TENANT_SIZE, TENANT_SIZE, device=CUDA, dtype=torch.float16) for _ in range(2))
    for _ in range(20):
        left @ right
    torch.cuda.synchronize()
    times: list[float] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.perf_counter()
        left @ right
        torch.cuda.synchronize()
        times.append((time.perf_counter() - began) * 1000)
    del held
    return float(np.median(times)), float(np.percentile(times, 99))


@dataclass(slots=True)
class Busy:
    """How much of the time kernels ran, as NVML says, in samples of a quarter of a second."""

    samples: list[int]

    def last(self, seconds: float) -> None:
        """Forget all but the last seconds: what came before was set-up."""
        del self.samples[: -max(1, round(seconds / SAMPLE_SECONDS))]

    def percent(self) -> float:
        """The mean over the middle of the watched time: set-up and end are left out."""
        edge = len(self.samples) // 4
        middle = self.samples[edge : len(self.samples) - edge]
        return float(np.mean(middle)) if middle else float("nan")


@contextmanager
def watched_gpu() -> Iterator[Busy]:
    """Sample the GPU's use within the block."""
    busy, over = Busy([]), threading.Event()
    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByUUID(uuid_of(0))

    def sample() -> None:
        while not over.wait(SAMPLE_SECONDS):
            busy.samples.append(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)

    watcher = threading.Thread(target=sample)
    watcher.start()
    try:
        yield busy
    finally:
        over.set()
        watcher.join()
        pynvml.nvmlShutdown()


SECTIONS: Sequence[Callable[[], None]] = (sameness, epochs, memory, retrains, neighbours)

if __name__ == "__main__":
    main()
