"""A process that trains by one method and ends: whatever breaks its CUDA context, or kills it, breaks nothing else.

Messages go through a pipe as pickles. Tasks hold many windows, so that results name their task by its number.
"""

import ctypes
import dataclasses
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from typing import IO, Any

from ldtm_lib.errors import LdtmError
from ldtm_lib.models.fit import Fit, FitFailed, Progress
from ldtm_lib.models.on_gpu.methods import Job, Method, NotApplicable, Reports
from ldtm_lib.models.on_gpu.notice import TrainingNotice

READY_SECONDS = 900.0
"""How long the start and the probe may take; compiling all kernels takes a minute on a slow host."""
SILENT_SECONDS = 1800.0
"""How long nothing may be heard after that, beside the pauses between steps: an epoch takes seconds."""
END_SECONDS = 20.0
"""How long a process may take to end: one that waits for a GPU that hangs cannot be killed."""
LOOK_SECONDS = 0.5
PR_SET_PDEATHSIG = 1
MOST_STDERR = 2000


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
class _Trained:
    number: int
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Untrainable:
    number: int
    reason: LdtmError


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

    Yields `Broken` as the last item when the method did not finish; errors that say that the job itself is wrong, such
    as ConfigurationError, are raised. `while_waiting` is called twice a second; what it raises ends the training.
    """
    ours, theirs = Pipe()
    with _output_file() as output, ours:
        command = [sys.executable, "-m", __spec__.name, str(theirs.fileno()), str(os.getpid())]
        try:
            process = subprocess.Popen(
                command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        except OSError as error:
            yield Broken(f"its process could not be started: {error}")
            return
        finally:
            theirs.close()

        def is_there(seconds: float) -> bool:
            """Whether a message came in time."""
            until = time.monotonic() + seconds
            while not ours.poll(max(0.0, min(LOOK_SECONDS, until - time.monotonic()))):
                while_waiting()
                if time.monotonic() >= until:
                    return False
            return True

        try:
            yield from _messages(ours, method, job, is_there, ready_seconds, silent_seconds)
        except (EOFError, OSError):
            status = _status_at_the_end(process)
            output.seek(max(0, output.seek(0, os.SEEK_END) - MOST_STDERR))
            yield Broken(_death(status, output.read().decode(errors="replace")))
        finally:
            process.kill()
            _status_at_the_end(process)


def _output_file() -> IO[bytes]:
    """A file for what a process prints; where no disk takes one, it is lost."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return open(os.devnull, "r+b")


def _status_at_the_end(process: "subprocess.Popen[bytes]") -> int | None:
    """The exit status; None of a process that does not end."""
    try:
        return process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def _messages(
    pipe: Connection,
    method: Method,
    job: Job,
    is_there: Callable[[float], bool],
    ready_seconds: float,
    silent_seconds: float,
) -> Generator[Progress | TrainingNotice | Fit | FitFailed | Broken]:
    pipe.send_bytes(pickle.dumps(sys.path))
    pipe.send_bytes(pickle.dumps((method, job)))
    silent_seconds += _pauses_of_an_epoch(job)
    is_ready = False
    while True:
        if not is_there(silent_seconds if is_ready else ready_seconds):
            silent, late = f"it said nothing for {silent_seconds:g} s", f"it was not ready after {ready_seconds:g} s"
            yield Broken(silent if is_ready else late)
            return
        match message := _read(pipe.recv_bytes(), job):
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
    """A message, its task found again; one that makes no sense ends the method."""
    try:
        match message := pickle.loads(sent):
            case _Trained(number, fields):
                return Fit(task=job.tasks[number], **fields)
            case _Untrainable(number, reason):
                return FitFailed(task=job.tasks[number], reason=reason)
            case Progress() | TrainingNotice() | Broken() | _Ready() | _Refused() | _Finished():
                return message
            case _:
                return Broken(f"its process sent a {type(message).__name__}")
    except Exception as error:  # of pickle, or of any class that cannot be put together again
        return Broken(f"its process sent what cannot be read: {_summary(error)}")


def _pauses_of_an_epoch(job: Job) -> float:
    """The seconds that a slow epoch consists of by the setting."""
    rows = max(len(task.training_rows) + len(task.validation_rows) for task in job.tasks)
    return 2 * (rows // job.recipe.batch_size + 2) * job.gpu.pause_ms / 1000


def _death(status: int | None, said: str) -> str:
    """How a process ended that said nothing, with the last line of its output."""
    if status is None:
        how = "broke off and does not end"
    else:
        how = f"ended with {f'signal {signal.Signals(-status).name}' if status < 0 else f'exit status {status}'}"
    lines = said.strip().splitlines()
    return f"its process {how}" + (f": {lines[-1].strip()[:300]}" if lines else "")


# In the other process


def main(descriptor: int, parent: int) -> None:
    """Train what comes through a pipe, and report there."""
    _end_with(parent)
    pipe = Connection(descriptor)
    sys.path[:] = pickle.loads(pipe.recv_bytes())
    try:
        method, job = pickle.loads(pipe.recv_bytes())
        _train(pipe, method, job)
    except NotApplicable as error:
        _send(pipe, Broken(str(error)))
    except _ends_the_method() as error:
        _send(pipe, Broken(_summary(error)))
    except LdtmError as error:
        _send(pipe, _Refused(error))
    except BaseException as error:
        _send(pipe, Broken(_summary(error)))


def _train(pipe: Connection, method: Method, job: Job) -> None:
    import torch

    torch.set_num_threads(1)  # the host does little, and threads that wait for each other slow its other work down
    # sums in float16 would lose the digits that products of float16 are added up with
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    numbers = {id(task): number for number, task in enumerate(job.tasks)}
    reports = Reports(
        progress=lambda progress: _send(pipe, progress),
        notice=lambda text: _send(pipe, TrainingNotice(text=text, is_step_down=False)),
        ready=lambda: _send(pipe, _Ready()),
    )
    for result in method.train(job, reports):
        number = numbers[id(result.task)]
        if isinstance(result, FitFailed):
            _send(pipe, _Untrainable(number, result.reason))
            continue
        names = [field.name for field in dataclasses.fields(Fit) if field.name != "task"]
        _send(pipe, _Trained(number, {name: getattr(result, name) for name in names}))
    _send(pipe, _Finished())


def _ends_the_method() -> tuple[type[LdtmError], ...]:
    """Errors of the project that another method may not have."""
    from ldtm_lib.models.fused.trainer import OutOfDeviceMemory
    from ldtm_lib.models.on_gpu.probe import ProbeFailed

    return OutOfDeviceMemory, ProbeFailed


def _send(pipe: Connection, message: object) -> None:
    pipe.send_bytes(pickle.dumps(message))


def _summary(error: BaseException) -> str:
    """An error in one line of bounded length: compilers print pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines)
    return f"{type(error).__name__}: {text[:300]}{'...' if len(text) > 300 else ''}" if text else type(error).__name__


def _end_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, however that happens."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent ends this process
    if os.getppid() != parent:
        sys.exit("the process that wanted a training is gone")


if __name__ == "__main__":
    from ldtm_lib.models.on_gpu.worker import main as main_of_the_module  # classes are pickled under that name

    main_of_the_module(int(sys.argv[1]), int(sys.argv[2]))
