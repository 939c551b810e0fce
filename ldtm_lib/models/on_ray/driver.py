"""The process that talks to a Ray cluster for a training.

Ray ends a driver whose head is gone with exit status 1 and without an exception, and `ray.init` replaces signal
handlers; neither must happen to a run of Dagster. The parent sends a message only when the driver requests one, so that
the two never wait for each other to read.
"""

import importlib
import os
import pickle
import platform
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from ldtm_lib.errors import LdtmError, MissingExtra
from ldtm_lib.installation import pip_command
from ldtm_lib.models.child_process import error_summary, pipe_of_the_child, send
from ldtm_lib.models.on_ray.cluster import (
    GPU_SLOT,
    KEEPALIVE,
    ClusterLost,
    ClusterNode,
    ClusterReport,
    ClusterUnusable,
    SlotKind,
)
from ldtm_lib.models.on_ray.shard import ProgressBoard, ShardLost, TrainShard, facts_of_this_node

CONNECT_SECONDS = 5.0
FACTS_SECONDS = 60.0
"""Longest wait for the versions of the nodes; a process starts there in one to two seconds."""
MOST_RETRIES = 3
"""Number of times that Ray repeats a task whose worker or node died."""
WAIT_SECONDS = 0.5
SECONDS_BETWEEN_LOOKS = 5.0
"""Time between two checks of progress and nodes; each check also sends a sign of life."""
NO_SLOT_SECONDS = 120.0
"""Longest time that a training waits for a node after the last one with a slot has gone."""
DRIVER_VARIABLES = {
    **KEEPALIVE,
    "RAY_task_oom_retries": str(MOST_RETRIES),  # Ray's own number is unlimited
    "RAY_gcs_server_request_timeout_seconds": "15",
}

FILE_VARIABLES = ("RAY_AUTH_TOKEN_PATH", "RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The first message: the cluster to read. The answer is a ClusterReport."""

    address: str
    leases: bytes
    """A pickled `NodeLeases` or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """The second message: the terms of the training. There is no answer until a shard is requested."""

    kind: SlotKind
    cpus: int
    most_under_way: int
    """Number of tasks that are submitted at once. With all of 600 submitted, Ray wrote windows to disk and took ten
    times as long."""
    terms: bytes
    train_shard: TrainShard


@dataclass(frozen=True, slots=True)
class NextShard:
    """The driver's request for a shard; the answer is one of the three messages below."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Pickled tasks to train on one node, with a number."""

    number: int
    tasks: bytes


@dataclass(frozen=True, slots=True)
class NoShardNow:
    """All shards are under way; one that is lost may come back in parts."""


@dataclass(frozen=True, slots=True)
class AllTrained:
    """All shards are trained."""


@dataclass(frozen=True, slots=True)
class ShardDone:
    """A pickled `ShardResult`."""

    number: int
    result: bytes


@dataclass(frozen=True, slots=True)
class ShardFailed:
    """A shard whose worker died at every try of Ray (`is_final`), or whose lease was lost, which Ray does not retry."""

    number: int
    reason: str
    is_final: bool


@dataclass(frozen=True, slots=True)
class ProgressBatches:
    """Pickled lists of Progress and of lines for the log; empty as a sign of life."""

    batches: tuple[bytes, ...]
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Raised:
    """An error that ends the training: of the cluster, of the program, or of a setting."""

    error: BaseException
    details: str = ""


def driver_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the driver's process, from which alone Ray reads some settings.

    Paths become absolute, since the driver leaves the working folder.
    """
    files = {name: os.path.abspath(environ[name]) for name in FILE_VARIABLES if environ.get(name)}
    return {**DRIVER_VARIABLES, **environ, **files}


def main(descriptor: int, parent: int) -> None:
    """Report on a cluster, and train there the shards that come through a pipe."""
    pipe = pipe_of_the_child(descriptor, parent)
    os.chdir("/")  # Ray has the workers of all nodes import from the driver's working folder
    try:
        start: Start = pickle.loads(pipe.recv_bytes())
        ray = connected(start.address)
        send(pipe, cluster_report(ray, start))
        _Trainer(ray, pipe, pickle.loads(pipe.recv_bytes()), start.address).train()
        ray.shutdown()
    except EOFError:
        return  # the parent has read the report, and requests no training
    except LdtmError as error:
        send(pipe, Raised(error))
    except BaseException as error:
        send(pipe, Raised(ClusterLost(f"the driver of Ray failed: {error_summary(error)}")))


def connected(address: str) -> Any:
    """Ray, connected to a cluster. Raises MissingExtra and ClusterUnusable."""
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        command = pip_command("install", "ldtm[ray]")
        raise MissingExtra(f'package ray cannot be imported: {error}; engine.kind is "ray": run {command}') from None
    try:
        _require_head(head := _resolved(address))
        ray.init(address=head, log_to_driver=False, logging_level="error", configure_logging=False)
    except LdtmError:
        raise
    except Exception as error:  # Ray raises errors of many classes
        raise ClusterUnusable(_refusal(address, error)) from None
    return ray


def _resolved(address: str) -> str:
    """The address of the head; for `auto`, the head of this machine's cluster, or the one in RAY_ADDRESS."""
    if address != "auto":
        return address
    found: str | None = None
    with suppress(ConnectionError):
        found = importlib.import_module("ray._private.services").canonicalize_bootstrap_address(address)
    if found is None:
        raise ClusterUnusable(
            "no Ray runs on this machine; start a head or a node here (docs/ray.md), or set engine.address"
        )
    return found


def _require_head(address: str) -> None:
    """Raise at once if the head cannot be used: `ray.init` tries for 20 seconds, and does not report a wrong token."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise ClusterUnusable(
            f"no Ray at {address} ({error}); start its head, or correct engine.address (docs/ray.md)"
        ) from None
    importlib.import_module("ray._raylet").GcsClient(address=address)


def _refusal(address: str, error: Exception) -> str:
    """Reason why Ray cannot be used, with the remedy."""
    text = error_summary(error)
    lower = str(error).lower()
    if type(error).__name__ == "AuthenticationError":
        return (
            f"Ray at {address} refuses the token of this process ({text[:120]}...); set RAY_AUTH_MODE=token, and "
            "RAY_AUTH_TOKEN_PATH to a file with the token of its head (docs/ray.md)"
        )
    if "version mismatch" in lower:
        return f"Ray at {address} has another version than this installation ({text}); install the same on all nodes"
    return (
        f"Ray at {address} cannot be used from {platform.node()} ({text}); this machine must be its head or a node "
        "of it, with the same token and TLS settings (docs/ray.md)"
    )


def cluster_report(ray: Any, start: Start) -> ClusterReport:
    """The living nodes, with the facts that a process on each reports of it."""
    alive = _alive(ray)
    none = pickle.dumps(None)
    ask = ray.remote(facts_of_this_node)
    strategies = importlib.import_module("ray.util.scheduling_strategies")
    asked = {
        ask.options(
            num_cpus=0, max_retries=0, scheduling_strategy=strategies.NodeAffinitySchedulingStrategy(name, soft=False)
        ).remote(start.leases if node["Resources"].get(GPU_SLOT) else none): name
        for name, node in alive.items()
    }
    ray.wait(list(asked), num_returns=len(asked), timeout=FACTS_SECONDS)
    still_alive = _alive(ray)
    nodes: list[ClusterNode] = []
    for ref, name in asked.items():
        if name not in still_alive:
            continue
        facts, problem = None, ""
        try:
            facts = pickle.loads(ray.get(ref, timeout=0))
        except ray.exceptions.GetTimeoutError:
            problem = f"it did not answer in {FACTS_SECONDS:g} s"
        except ray.exceptions.RayError as error:
            problem = _worker_problem(getattr(error, "cause", None) or error)
        node = alive[name]
        nodes.append(
            ClusterNode(
                address=node["NodeManagerAddress"],
                name=node["NodeManagerHostname"],
                cpus=node["Resources"].get("CPU", 0.0),
                gpu_slots=int(node["Resources"].get(GPU_SLOT, 0)),
                facts=facts,
                problem=problem,
            )
        )
    return ClusterReport(address=start.address, nodes=tuple(nodes))


def _worker_problem(error: BaseException) -> str:
    """Reason why a node did not answer; for a program that it cannot import, the last line, which names the module."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines and "failed to import" in lines[0] else error_summary(error)


def _alive(ray: Any) -> dict[str, dict[str, Any]]:
    return {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}


class _Trainer:
    """Keeps some shards under way and reports each that ends."""

    def __init__(self, ray: Any, pipe: Connection, training: Training, address: str) -> None:
        self._ray, self._pipe, self._training, self._address = ray, pipe, training, address
        self._wants_more = True
        self._under_way: dict[Any, int] = {}
        self._board = self._new_board()
        self._taken: Any = None
        self._nodes = _alive(ray)
        self._looked = self._has_slots_at = time.monotonic()
        is_gpu = training.kind == "gpu"
        self._task = ray.remote(training.train_shard).options(
            num_cpus=0 if is_gpu else training.cpus,
            resources={GPU_SLOT: 1} if is_gpu else None,
            max_retries=MOST_RETRIES,
        )
        self._terms = ray.put(training.terms)

    def _new_board(self) -> Any:
        """Start the actor on the driver's node: on another node, progress would be lost if the node died."""
        strategies = importlib.import_module("ray.util.scheduling_strategies")
        here = self._ray.get_runtime_context().get_node_id()
        return (
            self._ray.remote(ProgressBoard)
            .options(
                num_cpus=0,
                max_restarts=-1,
                scheduling_strategy=strategies.NodeAffinitySchedulingStrategy(here, soft=True),
            )
            .remote()
        )

    def train(self) -> None:
        """Train until the parent answers that all shards are trained."""
        while self._fill():
            self._wait()
            if time.monotonic() - self._looked >= SECONDS_BETWEEN_LOOKS:
                self._look()

    def _fill(self) -> bool:
        """Submit shards while there are some, up to the limit; returns whether anything is left to do."""
        while len(self._under_way) < self._training.most_under_way and (self._wants_more or not self._under_way):
            send(self._pipe, NextShard())
            match pickle.loads(self._pipe.recv_bytes()):
                case Shard(number, tasks):
                    self._under_way[self._task.remote(self._terms, self._ray.put(tasks), self._board)] = number
                case NoShardNow():
                    self._wants_more = False
                case _:
                    return False
        return True

    def _wait(self) -> None:
        """Wait a moment for shards that end, and for progress."""
        if self._taken is None:
            self._taken = self._board.take.remote()
        ended, _ = self._ray.wait([*self._under_way], num_returns=1, timeout=WAIT_SECONDS)
        taken, _ = self._ray.wait([self._taken], timeout=0)
        if taken:
            self._send_progress()
        for ref in ended:
            self._send_result(ref, self._under_way.pop(ref))

    def _send_progress(self) -> None:
        batches: list[bytes] = []
        with suppress(self._ray.exceptions.RayError):  # its process died and is restarted
            batches = self._ray.get(self._taken)
        self._taken = None
        if batches:
            send(self._pipe, ProgressBatches(tuple(batches)))

    def _send_result(self, ref: Any, number: int) -> None:
        try:
            result: bytes = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause if isinstance(error.cause, BaseException) else RuntimeError(str(error))
            if isinstance(cause, ShardLost):
                self._send_failure(number, str(cause), is_final=False)
                return
            self._send_error(cause, str(error))
            return
        except self._ray.exceptions.RayError as error:
            self._send_failure(number, error_summary(error), is_final=True)
            return
        send(self._pipe, ShardDone(number, result))

    def _send_failure(self, number: int, reason: str, *, is_final: bool) -> None:
        send(self._pipe, ShardFailed(number, reason, is_final))
        self._wants_more = True

    def _send_error(self, cause: BaseException, details: str) -> None:
        try:
            pickle.loads(pickle.dumps(cause))
        except Exception:  # the class of the error cannot be unpickled
            cause = RuntimeError(error_summary(cause))
        send(self._pipe, Raised(cause, details))

    def _look(self) -> None:
        """Report nodes that have gone or joined; raise ClusterLost after NO_SLOT_SECONDS without a slot."""
        nodes, self._looked = _alive(self._ray), time.monotonic()
        gone = [node for name, node in self._nodes.items() if name not in nodes]
        come = [node for name, node in nodes.items() if name not in self._nodes]
        self._nodes = nodes
        lines = [
            *(f"node {_name(node)} is gone; its tasks are trained elsewhere" for node in gone),
            *(f"node {_name(node)} has joined" for node in come),
        ]
        send(self._pipe, ProgressBatches((), tuple(lines)))
        resource, least = (GPU_SLOT, 1) if self._training.kind == "gpu" else ("CPU", self._training.cpus)
        if any(node["Resources"].get(resource, 0) >= least for node in nodes.values()):
            self._has_slots_at = self._looked
        elif self._looked - self._has_slots_at > NO_SLOT_SECONDS:
            raise ClusterLost(
                f"Ray at {self._address} has had no node with a slot for {NO_SLOT_SECONDS:g} s; start one, then train "
                "again: finished networks are on record"
            )


def _name(node: Mapping[str, Any]) -> str:
    host, address = node["NodeManagerHostname"], node["NodeManagerAddress"]
    return f"{host} ({address})"


if __name__ == "__main__":
    from ldtm_lib.models.on_ray.driver import main as main_of_the_module  # classes are pickled under that name

    main_of_the_module(int(sys.argv[1]), int(sys.argv[2]))
