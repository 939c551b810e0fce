"""A process that trains by one method and ends: a fault of its CUDA context, or its death, affects nothing else.

Tasks hold many windows, so results name their task by its number.
"""

import pickle
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from multiprocessing.connection import Connection

from ldtm_lib.errors import LdtmError
from ldtm_lib.models.child_process import ChildProcess, error_summary, pipe_of_the_child, send
from ldtm_lib.models.fit import Fit, FitFailed, Progress
from ldtm_lib.models.numbered_result import NumberedResult
from ldtm_lib.models.on_gpu.methods import Job, Method, NotApplicable, Reports
from ldtm_lib.models.on_gpu.notice import TrainingNotice

READY_SECONDS = 900.0
"""Longest time that the start and the probe may take; compiling all kernels takes a minute on a slow host."""
SILENT_SECONDS = 1800.0
"""Longest silence after that, without the pauses between steps: an epoch takes seconds."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The end of a method that did not finish its tasks."""

    reason: str


@dataclass(frozen=True, slots=True)
class _Ready:
    pass


@dataclass(frozen=True, slots=True)
class _Finished:
    pass


@dataclass(frozen=True, slots=True)
class _Refused:
    error: LdtmError


def train_in_a_process(
    method: Method,
    job: Job,
    *,
    ready_seconds: float = READY_SECONDS,
    silent_seconds: float = SILENT_SECONDS,
    while_waiting: Callable[[], None] = lambda: None,
) -> Generator[Progress | TrainingNotice | Fit | FitFailed | Broken]:
    """Train a job by a method in another process, which ends with this iterator, and with this process.

    Yields `Broken` as the last item when the method did not finish; errors of the job itself, such as
    ConfigurationError, are raised. `while_waiting` is called twice a second; an error that it raises ends the training.
    """
    try:
        child = ChildProcess(__spec__.name)
    except OSError as error:
        yield Broken(f"its process could not be started: {error}")
        return
    with child:
        try:
            yield from _messages(child, method, job, while_waiting, ready_seconds, silent_seconds)
        except (EOFError, OSError):
            yield Broken(child.death())


def _messages(
    child: ChildProcess,
    method: Method,
    job: Job,
    while_waiting: Callable[[], None],
    ready_seconds: float,
    silent_seconds: float,
) -> Generator[Progress | TrainingNotice | Fit | FitFailed | Broken]:
    child.send(sys.path)
    child.send((method, job))
    silent_seconds += _pauses_of_an_epoch(job)
    is_ready = False
    while True:
        if not child.has_message(silent_seconds if is_ready else ready_seconds, while_waiting):
            silent, late = f"it sent nothing for {silent_seconds:g} s", f"it was not ready after {ready_seconds:g} s"
            yield Broken(silent if is_ready else late)
            return
        match message := _read(child.pipe.recv_bytes(), job):
            case _Ready():
                is_ready = True
            case _Refused(error):
                raise error
            case _Finished():
                return
            case Broken():
                yield message
                return
            case _:
                yield message


def _read(
    sent: bytes, job: Job
) -> Progress | TrainingNotice | Fit | FitFailed | Broken | _Ready | _Refused | _Finished:
    """A message, with its task looked up by number; an unintelligible message ends the method."""
    try:
        match message := pickle.loads(sent):
            case NumberedResult():
                return message.of(job.tasks)
            case Progress() | TrainingNotice() | Broken() | _Ready() | _Refused() | _Finished():
                return message
            case _:
                return Broken(f"its process sent a {type(message).__name__}")
    except Exception as error:  # errors of pickle, or of any class that cannot be unpickled
        return Broken(f"its process sent a message that cannot be read: {error_summary(error)}")


def _pauses_of_an_epoch(job: Job) -> float:
    """Twice the seconds of the pauses in the longest epoch, by the setting `pause_ms`."""
    rows = max(len(task.training_rows) + len(task.validation_rows) for task in job.tasks)
    return 2 * (rows // job.recipe.batch_size + 2) * job.gpu.pause_ms / 1000


# In the other process


def main(descriptor: int, parent: int) -> None:
    """Train the job that comes through a pipe, and report through it."""
    pipe = pipe_of_the_child(descriptor, parent)
    try:
        method, job = pickle.loads(pipe.recv_bytes())
        _train(pipe, method, job)
    except NotApplicable as error:
        send(pipe, Broken(str(error)))
    except _ends_the_method() as error:
        send(pipe, Broken(error_summary(error)))
    except LdtmError as error:
        send(pipe, _Refused(error))
    except BaseException as error:
        send(pipe, Broken(error_summary(error)))


def _train(pipe: Connection, method: Method, job: Job) -> None:
    import torch

    torch.set_num_threads(1)  # the host does little, and threads that wait for each other slow down its other work
    # sums of products in float16 would lose digits
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    numbers = {id(task): number for number, task in enumerate(job.tasks)}
    reports = Reports(
        progress=lambda progress: send(pipe, progress),
        notice=lambda text: send(pipe, TrainingNotice(text=text, is_step_down=False)),
        ready=lambda: send(pipe, _Ready()),
    )
    for result in method.train(job, reports):
        send(pipe, NumberedResult.without_task(result, numbers[id(result.task)]))
    send(pipe, _Finished())


def _ends_the_method() -> tuple[type[LdtmError], ...]:
    """LDTM's errors that end this method alone, because another one may not have them."""
    from ldtm_lib.models.fused.trainer import OutOfDeviceMemory
    from ldtm_lib.models.on_gpu.probe import ProbeFailed

    return OutOfDeviceMemory, ProbeFailed


if __name__ == "__main__":
    from ldtm_lib.models.on_gpu.worker import main as main_of_the_module  # classes are pickled under that name

    main_of_the_module(int(sys.argv[1]), int(sys.argv[2]))
