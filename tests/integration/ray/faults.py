"""Tasks that break off on a node as they do where its program, its memory or its machine fails."""

import os
import pickle
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ldtm_lib.models.fit import FitTask
from ldtm_lib.models.on_ray import shard
from ldtm_lib.models.on_ray.shard import Board, LeasedGpu, ShardLost
from ldtm_lib.settings import GpuConfig

POISON = "GOOG"
TRIES = "LDTM_TEST_TRIES"
"""In the environment of nodes: the file that every start of a task adds a line to."""


@dataclass(frozen=True)
class PlayedLeases:
    """Leases of a node whose GPU is played by its CPU: each is waited for, and one of them is lost."""

    loses: str
    """The ticker whose lease is lost."""
    at: int
    """At this one of its tries."""

    def problem_here(self) -> str:
        return ""

    @contextmanager
    def lease(self, num_tickers: int, on_wait: Callable[[str], None]) -> Iterator[LeasedGpu]:
        on_wait(f"{num_tickers} tickers have no room")
        begun = Path(os.environ[TRIES]).read_text().splitlines()[-1].split()[1]

        def require_held() -> None:
            if begun == self.loses and Path(os.environ[TRIES]).read_text().count(f" {begun}\n") == self.at:
                raise ShardLost("the lease is lost")

        yield LeasedGpu(device="cpu", gpu=GpuConfig(), require_held=require_held)


def _noted(tasks: bytes) -> Sequence[FitTask]:
    found: Sequence[FitTask] = pickle.loads(tasks)
    tickers = ",".join(dict.fromkeys(task.ticker for task in found))
    with Path(os.environ[TRIES]).open("a") as file:
        file.write(f"{os.getpid()} {tickers}\n")
    return found


def noted(terms: bytes, tasks: bytes, board: Board) -> bytes:
    _noted(tasks)
    return shard.train_shard(terms, tasks, board)


def poisoned(terms: bytes, tasks: bytes, board: Board) -> bytes:
    if any(task.ticker == POISON for task in _noted(tasks)):
        os.kill(os.getpid(), signal.SIGKILL)
    return shard.train_shard(terms, tasks, board)


def mistaken(terms: bytes, tasks: bytes, board: Board) -> bytes:
    raise RuntimeError(f"a mistake in the program of {pickle.loads(tasks)[0].ticker}")


def slow(terms: bytes, tasks: bytes, board: Board) -> bytes:
    _noted(tasks)
    time.sleep(2)
    return shard.train_shard(terms, tasks, board)


def endless(terms: bytes, tasks: bytes, board: Board) -> bytes:
    _noted(tasks)
    time.sleep(3600)
    return b""
