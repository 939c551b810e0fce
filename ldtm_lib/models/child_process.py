"""A child process for a part of a training: it ends with its parent, and its death affects nothing else.

Parent and child exchange pickles through a pipe. The child's output is kept for the message that reports its death.
"""

import ctypes
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection, Pipe
from typing import IO

END_SECONDS = 20.0
"""Longest wait for the end of a process: one that waits for a GPU that hangs cannot be killed."""
LOOK_SECONDS = 0.5
PR_SET_PDEATHSIG = 1
MOST_STDERR = 2000


class ChildProcess:
    """A module that runs as a process of its own, `python -m MODULE DESCRIPTOR PARENT`, and calls `pipe_of_the_child`.

    Raises OSError when it cannot be started. As a context manager it kills the process at the end.
    """

    def __init__(self, module: str, *, environ: Mapping[str, str] | None = None) -> None:
        self.pipe, theirs = Pipe()
        self._output = _output_file()
        command = [sys.executable, "-m", module, str(theirs.fileno()), str(os.getpid())]
        try:
            self._process = subprocess.Popen(
                command,
                env=None if environ is None else dict(environ),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
            )
        except OSError:
            self.pipe.close()
            self._output.close()
            raise
        finally:
            theirs.close()

    def __enter__(self) -> "ChildProcess":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._status_at_the_end(END_SECONDS)
        self.pipe.close()
        self._output.close()

    def send(self, message: object) -> None:
        """Send an object; raises OSError if the process has ended, which closes its end of the pipe."""
        self.pipe.send_bytes(pickle.dumps(message))

    def has_message(self, seconds: float, while_waiting: Callable[[], None]) -> bool:
        """True if a message, or the end of the pipe, came in time. `while_waiting` is called twice a second."""
        until = time.monotonic() + seconds
        while not self.pipe.poll(max(0.0, min(LOOK_SECONDS, until - time.monotonic()))):
            while_waiting()
            if time.monotonic() >= until:
                return False
        return True

    def death(self) -> str:
        """Description of the end of the process that closed its pipe, with the last line of its output."""
        status = self._status_at_the_end(END_SECONDS)
        if status is None:
            how = "closed its pipe and does not end"
        else:
            how = f"ended with {f'signal {signal.Signals(-status).name}' if status < 0 else f'exit status {status}'}"
        lines = self.output().strip().splitlines()
        return f"its process {how}" + (f": {lines[-1].strip()[:300]}" if lines else "")

    def output(self) -> str:
        """The last part of the process's output."""
        self._output.seek(max(0, self._output.seek(0, os.SEEK_END) - MOST_STDERR))
        return self._output.read().decode(errors="replace")

    def wait(self, seconds: float) -> None:
        """Wait at most some seconds for the process to end by itself."""
        self._status_at_the_end(seconds)

    def _status_at_the_end(self, seconds: float) -> int | None:
        """The exit status; None if the process does not end in time."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None


def _output_file() -> IO[bytes]:
    """A file for the output of a process; if no disk takes one, the output is lost."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return open(os.devnull, "r+b")


# In the other process


def pipe_of_the_child(descriptor: int, parent: int) -> Connection:
    """The pipe to the parent. From this call on, the kernel kills this process when its parent ends for any reason.

    The first message is the parent's `sys.path`, so that both import the same modules.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent ends this process
    if os.getppid() != parent:
        sys.exit("the process that requested a training is gone")
    pipe = Connection(descriptor)
    sys.path[:] = pickle.loads(pipe.recv_bytes())
    return pipe


def send(pipe: Connection, message: object) -> None:
    """Send an object to the parent."""
    pipe.send_bytes(pickle.dumps(message))


def error_summary(error: BaseException) -> str:
    """An error in one line of bounded length: compilers print pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines)
    return f"{type(error).__name__}: {text[:300]}{'...' if len(text) > 300 else ''}" if text else type(error).__name__
