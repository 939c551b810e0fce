"""Work of a node of a Ray cluster: it trains the networks of some tickers and returns all of them, or none.

A task that Ray repeats because its node died starts from the beginning. A task that sent its networks one by one would
send them twice, in another order, and Ray would take the second ones for repetitions of the first.
"""

import os
import pickle
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ldtm_lib.errors import LdtmError
from ldtm_lib.models.fit import Fit, FitTask, Progress
from ldtm_lib.models.numbered_result import NumberedResult
from ldtm_lib.models.on_gpu.notice import TrainingNotice
from ldtm_lib.models.on_ray.cluster import KEEPALIVE, NODE_REMEDY, ClusterUnusable, NodeFacts
from ldtm_lib.models.on_ray.release import Release, release_here
from ldtm_lib.settings import ArchitectureConfig, GpuConfig, TrainingConfig

SECONDS_BETWEEN_REPORTS = 1.0


class ShardLost(LdtmError):
    """A part of a training failed on a node, or on every node that tried it; the rest of the training continues."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasedGpu:
    """A GPU of a node that a task may use as long as its lease is held."""

    device: str
    """`cuda:N`."""
    gpu: GpuConfig
    """Share of the GPU that the task may take."""
    require_held: Callable[[], None]
    """Check to call after every epoch; raises ShardLost when the lease is lost."""


class NodeLeases(Protocol):
    """Leases of GPUs on the nodes of a cluster; an object that is pickled."""

    def problem_here(self) -> str:
        """Reason why this node cannot take leases; empty if it can."""
        ...

    def lease(self, num_tickers: int, on_wait: Callable[[str], None]) -> AbstractContextManager[LeasedGpu]:
        """Wait for a GPU of this node. `on_wait` is called once with the reason for waiting."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardTerms:
    """Terms by which all tasks of a training are trained."""

    recipe: TrainingConfig
    architecture: ArchitectureConfig
    gpu: GpuConfig
    cpus: int
    release: Release
    leases: NodeLeases | None
    """Leases of GPUs; None for training on the CPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardResult:
    """The networks of a task, and the lines for its log."""

    host: str
    results: tuple[NumberedResult, ...]
    notices: tuple[TrainingNotice, ...]
    progress: tuple[Progress, ...]
    """The last progress, which was not sent to the board."""


class Board(Protocol):
    """Receiver of the progress that a task reports: an actor's method `add`."""

    add: Any


class ProgressBoard:
    """An actor that keeps the progress of all tasks until the driver asks for it."""

    def __init__(self) -> None:
        self._batches: list[bytes] = []

    def add(self, batch: bytes) -> None:
        """Keep a batch of progress, a pickle."""
        self._batches.append(batch)

    def take(self) -> list[bytes]:
        """Return the batches since the last call, and forget them."""
        batches, self._batches = self._batches, []
        return batches


TrainShard = Callable[[bytes, bytes, Board], bytes]


def train_shard(terms: bytes, tasks: bytes, board: Board) -> bytes:
    """Train some tasks on this node; everything that is passed and returned is a pickle.

    Raises ClusterUnusable if this node runs another release, which is possible only if it joined after the nodes were
    compared.
    """
    known: ShardTerms = pickle.loads(terms)
    if known.release != (here := release_here()):
        raise ClusterUnusable(
            f"node {platform.node()} runs {here}, but the training was started by {known.release}; {NODE_REMEDY}"
        )
    return pickle.dumps(_trained(known, pickle.loads(tasks), _Reports(board)))


def _trained(terms: ShardTerms, tasks: Sequence[FitTask], reports: "_Reports") -> ShardResult:
    import torch

    from ldtm_lib.models.trainer import fit_universe

    torch.set_num_threads(terms.cpus)
    host, num_tickers = platform.node(), len({task.ticker for task in tasks})
    numbers = {id(task): number for number, task in enumerate(tasks)}
    results: list[NumberedResult] = []
    notices: list[TrainingNotice] = []
    with _place(terms, num_tickers, lambda reason: reports.say(f"{host} waits for a slot: {reason}")) as place:

        def on_progress(progress: Progress) -> None:
            place.require_held()
            reports.progress(progress)

        for result in fit_universe(
            tasks,
            recipe=terms.recipe,
            architecture=terms.architecture,
            device=place.device,
            gpu=place.gpu,
            on_progress=on_progress,
            on_notice=lambda notice: notices.append(replace(notice, text=f"{host}: {notice.text}")),
        ):
            if isinstance(result, Fit) and result.method is not None:
                result = replace(result, method=f"{result.method} (on {host})")
            results.append(NumberedResult.without_task(result, numbers[id(result.task)]))
    return ShardResult(host=host, results=tuple(results), notices=tuple(notices), progress=reports.unsent())


def _place(terms: ShardTerms, num_tickers: int, on_wait: Callable[[str], None]) -> AbstractContextManager[LeasedGpu]:
    if terms.leases is None:
        return nullcontext(LeasedGpu(device="cpu", gpu=terms.gpu, require_held=lambda: None))
    return terms.leases.lease(num_tickers, on_wait)


class _Reports:
    """Sends progress to the board, in batches of one second."""

    def __init__(self, board: Board) -> None:
        self._board, self._batch, self._sent = board, list[Progress](), time.monotonic()

    def say(self, line: str) -> None:
        self._board.add.remote(pickle.dumps([line]))

    def progress(self, progress: Progress) -> None:
        self._batch.append(progress)
        if time.monotonic() - self._sent >= SECONDS_BETWEEN_REPORTS:
            self._board.add.remote(pickle.dumps(self.unsent()))  # nobody waits for it, and a lost one does no harm
            self._sent = time.monotonic()

    def unsent(self) -> tuple[Progress, ...]:
        batch, self._batch = tuple(self._batch), []
        return batch


def facts_of_this_node(leases: bytes) -> bytes:
    """The pickled `NodeFacts` of this node. `leases` is a pickled `NodeLeases`, or None if it has no GPU slots."""
    wanted: NodeLeases | None = pickle.loads(leases)
    return pickle.dumps(
        NodeFacts(
            host=platform.node(),
            release=release_here(),
            missing_keepalive=tuple(name for name in KEEPALIVE if name not in os.environ),
            lease_problem=wanted.problem_here() if wanted is not None else "",
        )
    )
