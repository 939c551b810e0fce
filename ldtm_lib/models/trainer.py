"""Training of a universe: every ticker's networks, folds and final ones alike, each as if it were alone."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import torch

from ldtm_lib.config import ArchitectureConfig, TrainingConfig
from ldtm_lib.errors import LdtmError
from ldtm_lib.models.fit import Fit, FitFailed, FitTask, Progress
from ldtm_lib.models.single_fit import fit_alone
from ldtm_lib.models.threads import one_thread_each

OnProgress = Callable[[Progress], None]


def fit_universe(
    tasks: Sequence[FitTask],
    *,
    recipe: TrainingConfig,
    architecture: ArchitectureConfig,
    device: str | torch.device,
    on_progress: OnProgress | None = None,
) -> Iterator[Fit | FitFailed]:
    """Train all tasks and yield each as it ends, in no promised order.

    A task that cannot be trained is yielded as FitFailed and the others go on. `on_progress` is called in the
    caller's thread after every epoch. On the CPU as many networks train at once as there are cores, each on one:
    the same bits come out on any number of cores and beside any other tasks. Closing the iterator early stops
    the rest after their current epoch.
    """
    device = torch.device(device)
    events: SimpleQueue[Progress | Fit | FitFailed | BaseException] = SimpleQueue()
    abandoned = threading.Event()

    def report(progress: Progress) -> None:
        events.put(progress)
        if abandoned.is_set():
            raise _Abandoned

    def train(task: FitTask) -> None:
        if abandoned.is_set():
            return
        try:
            events.put(fit_alone(task, recipe=recipe, architecture=architecture, device=device, on_progress=report))
        except LdtmError as error:
            events.put(FitFailed(task=task, reason=error))
        except BaseException as error:  # carried to the caller's thread and raised there
            events.put(error)

    with one_thread_each() as num_cores:
        num_workers = num_cores if device.type == "cpu" else 1
        with ThreadPoolExecutor(num_workers, initializer=torch.set_num_threads, initargs=(1,)) as workers:
            try:
                for task in sorted(tasks, key=lambda task: len(task.training_rows), reverse=True):
                    workers.submit(train, task)
                yield from _results(events, len(tasks), on_progress)
            finally:
                abandoned.set()


class _Abandoned(Exception):
    """Nobody waits for the results any more."""


def _results(
    events: "SimpleQueue[Progress | Fit | FitFailed | BaseException]", num_tasks: int, on_progress: OnProgress | None
) -> Iterator[Fit | FitFailed]:
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
