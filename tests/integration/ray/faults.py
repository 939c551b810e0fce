"""Tasks that break off on a node as they do where its program, its memory or its machine fails."""

import os
import pickle
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from ldtm_lib.models.fit import FitTask
from ldtm_lib.models.on_ray import shard
from ldtm_lib.models.on_ray.shard import Board

POISON = "GOOG"
TRIES = "LDTM_TEST_TRIES"
"""In the environment of nodes: the file that every start of a task adds a line to."""


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
