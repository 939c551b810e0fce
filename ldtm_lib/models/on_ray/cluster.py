"""The nodes, slots and versions of a Ray cluster, and the check that networks can be trained there.

This module does not import Ray: the process that started the training checks what a driver (`driver`) has read.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ldtm_lib.errors import LdtmError
from ldtm_lib.models.on_ray.release import Release
from ldtm_lib.wording import counted

GPU_SLOT = "ldtm_gpu_slot"
"""The custom resource of a node, one for each job that its GPUs train at once."""
KEEPALIVE = {"RAY_grpc_client_keepalive_time_ms": "20000", "RAY_grpc_client_keepalive_timeout_ms": "10000"}
"""Environment variables of head, nodes and driver. With Ray's own values (300 s and 120 s) it took 412 s until a silent
node was given up."""
SlotKind = Literal["cpu", "gpu"]
NODE_REMEDY = "head and nodes must run the same program: install it there as it is here, then start the node again"


class ClusterUnusable(LdtmError):
    """A Ray cluster cannot be reached, or cannot train networks."""


class ClusterLost(LdtmError):
    """A Ray cluster, or its last suitable node, went away during a training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """Facts about a node, reported by a process on it."""

    host: str
    release: Release
    missing_keepalive: tuple[str, ...]
    """Variables of KEEPALIVE that are not set on the node."""
    lease_problem: str = ""
    """Reason why the node cannot lease its GPUs; empty if it can, or offers none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterNode:
    """A node that Ray counts as alive."""

    address: str
    name: str
    cpus: float
    gpu_slots: int
    facts: NodeFacts | None
    problem: str = ""
    """Reason why there are no facts."""

    def __str__(self) -> str:
        host = self.facts.host if self.facts else self.name
        return f"node {host}" if host == self.address else f"node {host} ({self.address})"

    def slots(self, kind: SlotKind, cpus_per_slot: int) -> int:
        """Number of tasks of a kind that the node takes at once."""
        return self.gpu_slots if kind == "gpu" else int(self.cpus // cpus_per_slot)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterReport:
    """The nodes of a cluster."""

    address: str
    nodes: tuple[ClusterNode, ...]

    def num_slots(self, kind: SlotKind, cpus_per_slot: int) -> int:
        """Number of tasks of a kind that the cluster takes at once."""
        return sum(node.slots(kind, cpus_per_slot) for node in self.nodes)

    def kind_for(self, device: str) -> SlotKind:
        """The kind of slots that a training takes: for `auto` GPUs where the cluster has any."""
        if device == "auto":
            return "gpu" if any(node.gpu_slots for node in self.nodes) else "cpu"
        return "gpu" if device == "cuda" else "cpu"

    def require_usable(self, kind: SlotKind, *, cpus_per_slot: int, here: Release) -> None:
        """Raise ClusterUnusable if a training would fail, wait forever, or run other code on some node."""
        if problems := list(self._problems(kind, cpus_per_slot, here)):
            raise ClusterUnusable("; ".join(problems))

    def _problems(self, kind: SlotKind, cpus_per_slot: int, here: Release) -> Iterable[str]:
        for node in self.nodes:
            if problem := node_problem(node, here):
                yield problem
            if kind == "gpu" and node.gpu_slots and node.facts and node.facts.lease_problem:
                yield f"{node} cannot lease its GPUs: {node.facts.lease_problem}"
        if not self.num_slots(kind, cpus_per_slot):
            yield self._no_slot(kind, cpus_per_slot)

    def _no_slot(self, kind: SlotKind, cpus_per_slot: int) -> str:
        known = f"Ray at {self.address} has {counted(len(self.nodes), 'node')}"
        if kind == "gpu":
            return (
                f"{known} and none offers a GPU: start a node with `--resources '{{\"{GPU_SLOT}\": 1}}'` "
                "(docs/ray.md), or train with the device cpu"
            )
        most = max((node.cpus for node in self.nodes), default=0)
        return (
            f"{known} and none has {counted(cpus_per_slot, 'core')} for a task (the most "
            f"is {most:g}): start a node with `--num-cpus` (docs/ray.md), or lower engine.cpus"
        )


def node_problem(node: ClusterNode, here: Release) -> str:
    """Reason why no training may use a node; empty if it may."""
    if node.facts is None:
        return f"{node} does not run the program of this installation ({node.problem}); {NODE_REMEDY}"
    if node.facts.release != here:
        return f"{node} runs {node.facts.release}, and this installation is {here}; {NODE_REMEDY}"
    return ""
