"""Training of a universe: every ticker's networks, folds and final ones alike, each as if it were alone.

On a GPU all of them are trained at once (`fused.trainer`). On the CPU each is trained by itself, as many at once
as there are cores: a single network of the default shape keeps a core's arithmetic units busy already, and fused
networks were slower at every batch size from 8 to 128 (`benchmarks/bench_training.py`).
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import torch

from ldtm_lib.errors import LdtmError
from ldtm_lib.models.cpu import keep_freed_memory, one_thread_each
from ldtm_lib.models.fit import Fit, FitFailed, FitTask, Progress
from ldtm_lib.models.fused.kernels.tiling import obstacle
from ldtm_lib.models.fused.layout import FUSED_LAYERS, FusedLayout
from ldtm_lib.models.fused.trainer import fit_fused
from ldtm_lib.models.single_fit import fit_alone
from ldtm_lib.settings import ArchitectureConfig, GpuConfig, TrainingConfig

OnProgress = Callable[[Progress], None]
Event = Progress | Fit | FitFailed | BaseException


def fit_universe(
    tasks: Sequence[FitTask],
    *,
    recipe: TrainingConfig,
    architecture: ArchitectureConfig,
    device: str | torch.device,
    gpu: GpuConfig | None = None,
    on_progress: OnProgress | None = None,
) -> Iterator[Fit | FitFailed]:
    """Train all tasks and yield each as it ends, in no promised order.

    A task that cannot be trained is yielded as FitFailed and the others go on. `gpu` says what the training may take
    of a GPU. `on_progress` is called in the caller's thread after every epoch of every network; training goes on
    meanwhile. On the CPU the same bits come out on any number of cores and beside any other tasks; on a GPU the last
    bits may differ. Closing the iterator early stops the rest after their current epoch.
    """
    device, gpu = torch.device(device), gpu or GpuConfig()
    events: SimpleQueue[Event] = SimpleQueue()
    abandoned = threading.Event()

    def report(progress: Progress) -> None:
        events.put(progress)
        if abandoned.is_set():
            raise _Abandoned

    def train(some: Sequence[FitTask]) -> None:
        if abandoned.is_set():
            return
        try:
            if device.type == "cuda" and FusedLayout.supports(architecture):
                for result in fit_fused(
                    some, recipe=recipe, architecture=architecture, device=device, gpu=gpu, on_progress=report
                ):
                    events.put(result)
            else:
                for task in some:
                    events.put(_fit_or_failure(task, recipe, architecture, device, report))
        except BaseException as error:  # carried to the caller's thread and raised there
            events.put(error)

    longest_first = sorted(tasks, key=lambda task: len(task.training_rows), reverse=True)
    with one_thread_each() as num_cores, keep_freed_memory():
        portions = [[task] for task in longest_first] if device.type == "cpu" else [longest_first]
        num_workers = num_cores if device.type == "cpu" else 1
        with ThreadPoolExecutor(num_workers, initializer=torch.set_num_threads, initargs=(1,)) as workers:
            try:
                for portion in portions:
                    workers.submit(train, portion)
                yield from _results(events, len(tasks), on_progress)
            finally:
                abandoned.set()


def training_method(device: str | torch.device, architecture: ArchitectureConfig) -> str:
    """The method by which networks are trained on a device, in words for a log."""
    device = torch.device(device)
    if device.type == "cpu":
        return "a network per core"
    if not FusedLayout.supports(architecture):
        return f"one network after the other, since only networks of {FUSED_LAYERS} layers can be fused"
    missing = obstacle(device, architecture.hidden)
    return "all networks fused" + (f", without kernels: {missing}" if missing else "")


class _Abandoned(Exception):
    """Nobody waits for the results any more."""


def _fit_or_failure(
    task: FitTask, recipe: TrainingConfig, architecture: ArchitectureConfig, device: torch.device, report: OnProgress
) -> Fit | FitFailed:
    try:
        return fit_alone(task, recipe=recipe, architecture=architecture, device=device, on_progress=report)
    except LdtmError as error:
        return FitFailed(task=task, reason=error)


def _results(events: "SimpleQueue[Event]", num_tasks: int, on_progress: OnProgress | None) -> Iterator[Fit | FitFailed]:
    """What the workers report, until every task has ended."""
    num_open = num_tasks
    while num_open:
        event = events.get()
        if isinstance(event, BaseException):
            raise event
        if isinstance(event, Progress):
            if on_progress is not None:
                on_progress(event)
            continue
        num_open -= 1
        yield event
