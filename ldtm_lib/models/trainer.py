"""Training of a universe: every ticker's networks, folds and final ones alike, each as if it were alone.

On a GPU all of them are trained at once if possible (`on_gpu.ladder`). On the CPU each is trained by itself, as many at
once as there are cores: a single network of the default shape already keeps a core's arithmetic units busy, and fused
networks were slower at every batch size from 8 to 128 (`benchmarks/bench_training.py`).
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import torch

from ldtm_lib.errors import LdtmError
from ldtm_lib.models.cpu import keep_freed_memory, one_thread_each
from ldtm_lib.models.fit import Fit, FitFailed, FitTask, Progress
from ldtm_lib.models.on_gpu.ladder import fit_down_the_ladder
from ldtm_lib.models.on_gpu.methods import METHODS, Job, Method
from ldtm_lib.models.on_gpu.notice import TrainingNotice
from ldtm_lib.models.single_fit import fit_alone
from ldtm_lib.settings import ArchitectureConfig, GpuConfig, TrainingConfig

OnProgress = Callable[[Progress], None]
OnNotice = Callable[[TrainingNotice], None]
Event = Progress | TrainingNotice | Fit | FitFailed | BaseException


def fit_universe(
    tasks: Sequence[FitTask],
    *,
    recipe: TrainingConfig,
    architecture: ArchitectureConfig,
    device: str | torch.device,
    gpu: GpuConfig | None = None,
    on_progress: OnProgress | None = None,
    on_notice: OnNotice | None = None,
    methods: Sequence[Method] = METHODS,
) -> Iterator[Fit | FitFailed]:
    """Train all tasks and yield each as it ends, in no promised order.

    A task that cannot be trained is yielded as FitFailed, and the others continue. `gpu` limits the share of a GPU that
    the training may take. `on_progress` is called in the caller's thread after every epoch of every network, and
    `on_notice` when a GPU runs short of memory or one of the `methods` breaks off; training continues by the next
    method, in the end on the CPU. On the CPU results are the same to the bit for any number of cores and any other
    tasks; on a GPU the last bits may differ. Closing the iterator early stops the remaining tasks after their current
    epoch, and those on a GPU within a second.
    """
    device, gpu = torch.device(device), gpu or GpuConfig()
    events: SimpleQueue[Event] = SimpleQueue()
    abandoned = threading.Event()

    def require_listener() -> None:
        if abandoned.is_set():
            raise _Abandoned

    def report(event: Progress | TrainingNotice) -> None:
        events.put(event)
        require_listener()

    def on_a_core(task: FitTask) -> None:
        if abandoned.is_set():
            return
        try:
            events.put(_fit_or_failure(task, recipe, architecture, report))
        except BaseException as error:  # carried to the caller's thread and raised there
            events.put(error)

    longest_first = sorted(tasks, key=lambda task: len(task.training_rows), reverse=True)
    with (
        one_thread_each() as num_cores,
        keep_freed_memory(),
        ThreadPoolExecutor(num_cores, initializer=torch.set_num_threads, initargs=(1,)) as workers,
    ):

        def on_the_gpu() -> None:
            try:
                job = Job(
                    tasks=longest_first,
                    recipe=recipe,
                    architecture=architecture,
                    device=str(device),
                    gpu=gpu,
                    cache=_probes(),
                )
                for result in fit_down_the_ladder(
                    job, on_progress=report, on_notice=report, methods=methods, while_waiting=require_listener
                ):
                    if isinstance(result, FitTask):
                        workers.submit(on_a_core, result)
                    else:
                        events.put(result)
            except BaseException as error:  # as above
                events.put(error)

        try:
            if device.type == "cpu":
                for task in longest_first:
                    workers.submit(on_a_core, task)
            elif longest_first:
                workers.submit(on_the_gpu)
            yield from _results(events, len(tasks), on_progress, on_notice)
        finally:
            abandoned.set()


def _probes() -> Path:
    """The file that records the passed probes of a GPU; a path that cannot exist if the user has no home folder."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        folder = Path(os.devnull)
    return folder / "ldtm" / "gpu_probes.json"


class _Abandoned(Exception):
    """The caller no longer waits for the results."""


def _fit_or_failure(
    task: FitTask, recipe: TrainingConfig, architecture: ArchitectureConfig, report: OnProgress
) -> Fit | FitFailed:
    cpu = torch.device("cpu")
    try:
        return fit_alone(task, recipe=recipe, architecture=architecture, device=cpu, on_progress=report)
    except LdtmError as error:
        return FitFailed(task=task, reason=error)


def _results(
    events: "SimpleQueue[Event]", num_tasks: int, on_progress: OnProgress | None, on_notice: OnNotice | None
) -> Iterator[Fit | FitFailed]:
    """Results that the workers report, until every task has ended."""
    num_open = num_tasks
    while num_open:
        event = events.get()
        if isinstance(event, BaseException):
            raise event
        if isinstance(event, Progress):
            if on_progress is not None:
                on_progress(event)
            continue
        if isinstance(event, TrainingNotice):
            if on_notice is not None:
                on_notice(event)
            continue
        num_open -= 1
        yield event
