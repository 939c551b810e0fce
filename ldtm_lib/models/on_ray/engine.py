"""Training on a Ray cluster instead of by `fit_universe`, with the same results on the same kind of CPU.

The tasks of some tickers make a shard, which one node trains. Windows are not sent back: results name tasks by number.
"""

import math
import os
import pickle
import re
import sys
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from ldtm_lib.models.child_process import ChildProcess
from ldtm_lib.models.fit import Fit, FitFailed, FitTask, Progress
from ldtm_lib.models.on_gpu.notice import TrainingNotice
from ldtm_lib.models.on_ray import driver
from ldtm_lib.models.on_ray.cluster import ClusterLost, ClusterReport, ClusterUnusable, SlotKind
from ldtm_lib.models.on_ray.driver import (
    MOST_RETRIES,
    AllTrained,
    NextShard,
    NoShardNow,
    ProgressBatches,
    Raised,
    Shard,
    ShardDone,
    ShardFailed,
    Start,
    Training,
    driver_environment,
)
from ldtm_lib.models.on_ray.release import release_here
from ldtm_lib.models.on_ray.shard import NodeLeases, ShardLost, ShardResult, ShardTerms, TrainShard, train_shard
from ldtm_lib.settings import ArchitectureConfig, EngineConfig, GpuConfig, TrainingConfig
from ldtm_lib.wording import counted

READY_SECONDS = 180.0
"""Longest wait for the driver to connect and to read the versions of all nodes."""
SILENT_SECONDS = 180.0
"""Longest silence of the driver after it has connected: Ray ends the driver 60 s after the head is lost."""
END_SECONDS = 5.0
"""Longest wait for the driver to leave the cluster after the last task; a driver that takes longer is killed."""
MOST_TICKERS_ON_A_GPU = 128
Event = TypeVar("Event")
OnProgress = Callable[[Progress], None]
OnNotice = Callable[[TrainingNotice], None]


class TrainingEngine(Protocol):
    """A function that trains tasks: `fit_universe` on this machine, or a RayEngine."""

    def __call__(
        self,
        tasks: Sequence[FitTask],
        *,
        recipe: TrainingConfig,
        architecture: ArchitectureConfig,
        device: str,
        gpu: GpuConfig | None = None,
        on_progress: OnProgress | None = None,
        on_notice: OnNotice | None = None,
    ) -> Iterator[Fit | FitFailed]:
        """Train all tasks and yield each as it ends, in no promised order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RayEngine:
    """A Ray cluster as the place of trainings."""

    config: EngineConfig
    leases: NodeLeases | None = None
    no_leases: str = ""
    """Reason why there are no leases, if GPUs cannot be used."""
    log: Callable[[str], None] = field(default=lambda line: None)
    train_shard: TrainShard = train_shard
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def __call__(
        self,
        tasks: Sequence[FitTask],
        *,
        recipe: TrainingConfig,
        architecture: ArchitectureConfig,
        device: str,
        gpu: GpuConfig | None = None,
        on_progress: OnProgress | None = None,
        on_notice: OnNotice | None = None,
    ) -> Iterator[Fit | FitFailed]:
        """Train all tasks on the nodes, with the arguments and results of `fit_universe`.

        `device` is `cpu`, `cuda` or `auto`, which means the GPUs of the cluster if it offers any. A shard whose workers
        die at every try is trained ticker by ticker, and a ticker whose workers die at every try is yielded as
        FitFailed. Raises ClusterUnusable before anything is trained, ClusterLost, MissingExtra, and the errors that a
        shard raised.
        """
        if not tasks:
            return
        with self._driver() as process:
            report = self._report(process)
            kind = report.kind_for(device)
            if kind == "gpu" and self.leases is None:
                raise ClusterUnusable(self.no_leases)
            report.require_usable(kind, cpus_per_slot=self.config.cpus, here=release_here())
            num_slots = report.num_slots(kind, self.config.cpus)
            shards = _Shards(tasks, self._tickers_per_shard(kind, len({task.ticker for task in tasks}), num_slots))
            self.log(
                f"trains on Ray at {self.config.address}: {counted(len(report.nodes), 'node')}, "
                f"{counted(num_slots, f'{kind.upper()} slot')}, {counted(shards.num_waiting, 'task')}"
            )
            terms = ShardTerms(
                recipe=recipe,
                architecture=architecture,
                gpu=gpu or GpuConfig(),
                cpus=self.config.cpus,
                release=release_here(),
                leases=self.leases if kind == "gpu" else None,
            )
            self._send(
                process,
                Training(
                    kind=kind,
                    cpus=self.config.cpus,
                    most_under_way=2 * num_slots,
                    terms=pickle.dumps(terms),
                    train_shard=self.train_shard,
                ),
            )
            yield from self._results(process, shards, on_progress, on_notice)
            process.wait(END_SECONDS)

    def report(self) -> ClusterReport:
        """The cluster as it is now. Raises ClusterUnusable, ClusterLost and MissingExtra."""
        with self._driver() as process:
            return self._report(process)

    @contextmanager
    def _driver(self) -> Generator[ChildProcess]:
        """The process that talks to Ray, which ends with the block."""
        with ChildProcess(driver.__name__, environ=driver_environment(self.environ)) as process:
            self._send(process, sys.path)
            yield process

    def _report(self, process: ChildProcess) -> ClusterReport:
        self._send(process, Start(address=self.config.address, leases=pickle.dumps(self.leases)))
        report = self._received(process, READY_SECONDS)
        assert isinstance(report, ClusterReport)
        return report

    def _results(
        self, process: ChildProcess, shards: "_Shards", on_progress: OnProgress | None, on_notice: OnNotice | None
    ) -> Iterator[Fit | FitFailed]:
        """Results that the driver reports, until every task has ended and AllTrained was sent."""
        while True:
            match message := self._received(process, SILENT_SECONDS):
                case NextShard():
                    self._send(process, answer := shards.next_one())
                    if isinstance(answer, AllTrained):
                        return
                case ProgressBatches():
                    self._tell(message, on_progress)
                case ShardDone(number, result):
                    done: ShardResult = pickle.loads(result)
                    tasks = shards.ended(number)
                    _replay(done.progress, on_progress)
                    _replay(done.notices, on_notice)
                    yield from (each.of(tasks) for each in done.results)
                case ShardFailed(number, reason, is_final):
                    yield from self._failed(shards.ended(number), reason, is_final, shards)
                case _:
                    raise self._lost(f"its driver sent a {type(message).__name__}")

    def _failed(self, tasks: Sequence[FitTask], reason: str, is_final: bool, shards: "_Shards") -> Iterator[FitFailed]:
        """Divide a lost shard into its tickers; retry a single ticker, or give it up after the last try."""
        tickers = list(dict.fromkeys(task.ticker for task in tasks))
        if len(tickers) > 1:
            self.log(
                f"WARNING: a task of {counted(len(tickers), 'ticker')} was lost ({reason}); they are trained one by one"
            )
            shards.put_back(tasks)
            return
        if not is_final and shards.num_losses(tickers[0]) <= MOST_RETRIES:
            self.log(f"WARNING: {tickers[0]} is trained again: {reason}")
            shards.put_back(tasks)
            return
        for task in tasks:
            yield FitFailed(
                task=task,
                reason=ShardLost(
                    f"{task.name} could not be trained on Ray, all {MOST_RETRIES + 1} tries were lost: {reason}"
                ),
            )

    def _tell(self, message: ProgressBatches, on_progress: OnProgress | None) -> None:
        for line in message.lines:
            self.log(line)
        for batch in message.batches:
            for event in pickle.loads(batch):
                if isinstance(event, str):
                    self.log(event)
                else:
                    _replay((event,), on_progress)

    def _send(self, process: ChildProcess, message: object) -> None:
        try:
            process.send(message)
        except OSError:
            raise self._lost(process.death()) from None

    def _received(self, process: ChildProcess, seconds: float) -> object:
        """The next message of the driver; an error that it sent is raised."""
        if not process.has_message(seconds, lambda: None):
            raise self._lost(f"its driver sent nothing for {seconds:g} s")
        try:
            message = pickle.loads(process.pipe.recv_bytes())
        except (EOFError, ConnectionError):
            raise self._lost(process.death()) from None
        if isinstance(message, Raised):
            if message.details:
                message.error.add_note(message.details)
            raise message.error
        return message

    def _lost(self, how: str) -> ClusterLost:
        how = re.sub(r"\[[^]]*\] \S+: ", "", how).partition(". ")[0]  # no prefix of a log line, one sentence
        return ClusterLost(
            f"Ray at {self.config.address} is lost ({how}): its head is gone or cannot be reached. Finished networks "
            "are on record; start head and nodes again (docs/ray.md), then train again for the rest"
        )

    def _tickers_per_shard(self, kind: SlotKind, num_tickers: int, num_slots: int) -> int:
        if self.config.tickers_per_shard is not None:
            return self.config.tickers_per_shard
        return 1 if kind == "cpu" else min(MOST_TICKERS_ON_A_GPU, math.ceil(num_tickers / num_slots))


def _replay(events: Sequence[Event], tell: Callable[[Event], None] | None) -> None:
    """Report the events of a node to a callback."""
    if tell is not None:
        for event in events:
            tell(event)


class _Shards:
    """Tasks by shards: those that wait, and those that are under way. The longest go first."""

    def __init__(self, tasks: Sequence[FitTask], tickers_per_shard: int) -> None:
        by_ticker = _by_ticker(tasks)
        by_ticker.sort(key=lambda of_ticker: -sum(len(task.training_rows) for task in of_ticker))
        self._waiting = deque(
            [task for of_ticker in by_ticker[first : first + tickers_per_shard] for task in of_ticker]
            for first in range(0, len(by_ticker), tickers_per_shard)
        )
        self._under_way: dict[int, Sequence[FitTask]] = {}
        self._num_given = 0
        self._losses: Counter[str] = Counter()

    @property
    def num_waiting(self) -> int:
        """Number of shards that are not under way."""
        return len(self._waiting)

    def next_one(self) -> Shard | NoShardNow | AllTrained:
        """The next shard to train, if any."""
        if not self._waiting:
            return NoShardNow() if self._under_way else AllTrained()
        tasks, number = self._waiting.popleft(), self._num_given
        self._num_given += 1
        self._under_way[number] = tasks
        return Shard(number, pickle.dumps(tasks))

    def ended(self, number: int) -> Sequence[FitTask]:
        """The tasks of a shard that is no longer under way."""
        return self._under_way.pop(number)

    def num_losses(self, ticker: str) -> int:
        """Count another loss of a ticker that was trained by itself; returns the number of its losses."""
        self._losses[ticker] += 1
        return self._losses[ticker]

    def put_back(self, tasks: Sequence[FitTask]) -> None:
        """Put the tickers of a shard at the head of the queue, as one shard each."""
        self._waiting.extendleft(_by_ticker(tasks))


def _by_ticker(tasks: Sequence[FitTask]) -> list[list[FitTask]]:
    found: dict[str, list[FitTask]] = {}
    for task in tasks:
        found.setdefault(task.ticker, []).append(task)
    return list(found.values())
