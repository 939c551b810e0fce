"""Ray clusters of real processes on this machine, started as docs/ray.md does, and ended whatever happens."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from ldtm_lib.models.on_ray.cluster import KEEPALIVE
from tests.repository import REPOSITORY

MARK = "LDTM_TEST_RAY"
OBJECT_STORE_MIB = 100
RAY = str(Path(sys.executable).parent / "ray")


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> float:
    """Seconds until a condition holds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds
        time.sleep(0.05)
    return time.monotonic() - began


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def marked(mark: str) -> dict[int, str]:
    """The command lines of living processes whose environment has a mark, by number."""
    found: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}\0".encode() not in (folder / "environ").read_bytes():
                continue
            if "\nState:\tZ" in (folder / "status").read_text():
                continue
            found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # of another user, or ended meanwhile
            continue
    return found


def signal_all(pids: list[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


class RayProcess:
    """`ray start --block` with all that it starts."""

    def __init__(self, name: str, arguments: list[str], environ: Mapping[str, str]) -> None:
        self.mark = f"{os.getpid()}-{name}"
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [
                RAY,
                "start",
                "--block",
                "--node-ip-address=127.0.0.1",
                "--disable-usage-stats",
                "--include-log-monitor=false",
                *arguments,
            ],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), **KEEPALIVE, **environ, MARK: self.mark},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
        )

    def wait_for(self, words: str) -> None:
        def has_said() -> bool:
            assert self._process.poll() is None, self.output()
            return words in self.output()

        wait_until(has_said)

    def output(self) -> str:
        self._output.seek(0)
        return self._output.read()

    def pids(self, words: str = "") -> list[int]:
        """Its processes whose command line contains some words."""
        return [pid for pid, command in marked(self.mark).items() if words in command]

    def stop(self) -> None:
        """Stop all of it, as a machine that hangs does."""
        signal_all(self.pids(), signal.SIGSTOP)

    def kill(self) -> None:
        """End all of it, as a machine that loses its power does."""
        signal_all(self.pids(), signal.SIGKILL)
        self._process.wait()

    def end(self) -> None:
        until = time.monotonic() + 30
        while (left := self.pids()) and time.monotonic() < until:
            signal_all(left, signal.SIGKILL)
            time.sleep(0.05)
        self._process.wait()
        self._output.close()


class LocalCluster:
    """A head without cores, and the nodes that tests add. Two nodes are never started at the same time."""

    def __init__(self, environ: Mapping[str, str] | None = None, *, object_store_mib: int = OBJECT_STORE_MIB) -> None:
        self._object_store = f"--object-store-memory={object_store_mib * 2**20}"
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._environ = dict(environ or {})
        self._folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")
        self._processes: list[RayProcess] = []
        self.head = self._start(
            "head",
            [
                "--head",
                f"--port={self.port}",
                "--num-cpus=0",
                "--include-dashboard=false",
                f"--temp-dir={self._folder}",
            ],
            {},
        )

    @property
    def nodes(self) -> list[RayProcess]:
        return self._processes[1:]

    def __enter__(self) -> "LocalCluster":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in reversed(self._processes):
            process.end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def node(self, *arguments: str, cpus: int = 1, environ: Mapping[str, str] | None = None) -> RayProcess:
        """Start a node and wait until it has joined."""
        return self._start(
            f"node{len(self._processes)}",
            [f"--address={self.address}", f"--num-cpus={cpus}", *arguments],
            environ or {},
        )

    def _start(self, name: str, arguments: list[str], environ: Mapping[str, str]) -> RayProcess:
        process = RayProcess(f"{self.port}-{name}", [*arguments, self._object_store], {**self._environ, **environ})
        self._processes.append(process)
        process.wait_for("Ray runtime started.")
        return process


class TriesFile:
    """A file that every task adds a line to when it begins: its process and its tickers."""

    def __init__(self, path: Path) -> None:
        self.path, self._num_read = path, 0

    def unread(self) -> list[str]:
        return self.path.read_text().splitlines()[self._num_read :]

    def __call__(self) -> list[str]:
        """The tickers of every task that began since the last call."""
        lines = self.unread()
        self._num_read += len(lines)
        return [line.partition(" ")[2] for line in lines]
