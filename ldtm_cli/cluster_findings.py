"""Findings about the Ray cluster of a configuration: nodes, slots, versions, login, silent nodes, leases."""

from collections.abc import Mapping, Sequence

from ldtm_cli.finding import Finding, guarded
from ldtm_lib.models.on_ray.cluster import KEEPALIVE, NODE_REMEDY, ClusterReport, node_problem
from ldtm_lib.models.on_ray.engine import RayEngine
from ldtm_lib.models.on_ray.release import Release, release_here
from ldtm_lib.project import Project
from ldtm_lib.settings import EngineConfig
from ldtm_lib.training.node_leases import node_leases
from ldtm_lib.wording import counted

START = "start the head and the nodes as docs/ray.md describes, or set engine.kind to local"


def cluster_findings(config: EngineConfig, environ: Mapping[str, str], project: Project | None) -> list[Finding]:
    """Check the cluster; `project` is None if its database does not answer, and leases are then not checked."""

    def look() -> list[Finding]:
        leases, no_leases = node_leases(project, environ) if project else (None, "")
        report = RayEngine(config=config, leases=leases, environ=environ).report()
        return judged(report, config, environ, here=release_here(), no_leases=no_leases)

    return guarded("cluster", START, look)


def judged(
    report: ClusterReport, config: EngineConfig, environ: Mapping[str, str], *, here: Release, no_leases: str = ""
) -> list[Finding]:
    """Return the findings that follow from a report of the nodes."""
    findings = [_slots(report, config), _versions(report, here), _login(environ), _keepalive(report)]
    if any(node.gpu_slots for node in report.nodes):
        findings.append(_leases(report, no_leases))
    return findings


def _slots(report: ClusterReport, config: EngineConfig) -> Finding:
    num_cpu, num_gpu = report.num_slots("cpu", config.cpus), report.num_slots("gpu", config.cpus)
    lines = [
        f"Ray at {report.address}: {counted(len(report.nodes), 'node')}, {_num_slots(num_gpu, num_cpu)}",
        *(
            f"{node}: {_num_slots(node.slots('gpu', config.cpus), node.slots('cpu', config.cpus))}"
            for node in report.nodes
        ),
    ]
    if num_cpu or num_gpu:
        return Finding(what="cluster", level="ok", found="\n".join(lines))
    remedy = "start a node with --num-cpus or with GPU slots (docs/ray.md), or lower engine.cpus"
    return Finding(what="cluster", level="fail", found="\n".join(lines), remedy=remedy)


def _num_slots(num_gpu: int, num_cpu: int) -> str:
    return f"{counted(num_gpu, 'GPU slot')}, {counted(num_cpu, 'CPU slot')}"


def _versions(report: ClusterReport, here: Release) -> Finding:
    if problems := [problem for node in report.nodes if (problem := node_problem(node, here))]:
        return Finding(what="versions", level="fail", found="\n".join(problems), remedy=NODE_REMEDY)
    return Finding(what="versions", level="ok", found=f"all nodes run {here}")


def _login(environ: Mapping[str, str]) -> Finding:
    if environ.get("RAY_AUTH_MODE", "").lower() == "token":
        return Finding(what="login", level="ok", found="Ray requires a token")
    return Finding(
        what="login",
        level="warn",
        found="Ray requires no token here: anyone who can reach its ports can run any program on all nodes",
        remedy="set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH for head, nodes and Dagster (docs/ray.md)",
    )


def _keepalive(report: ClusterReport) -> Finding:
    found = [
        f"{node} lacks {' and '.join(node.facts.missing_keepalive)}"
        for node in report.nodes
        if node.facts and node.facts.missing_keepalive
    ]
    if not found:
        return Finding(
            what="keepalive", level="ok", found="a node that stops responding is given up within about a minute"
        )
    values = " ".join(f"{name}={value}" for name, value in KEEPALIVE.items())
    return Finding(
        what="keepalive",
        level="warn",
        found="\n".join([*found, "training on a node that stops responding may wait seven minutes"]),
        remedy=f"start the head and the nodes with {values}",
    )


def _leases(report: ClusterReport, no_leases: str) -> Finding:
    if problems := _lease_problems(report, no_leases):
        remedy = "correct the problems named above, or train with the device cpu (docs/ray.md)"
        return Finding(what="leases", level="fail", found="\n".join(problems), remedy=remedy)
    return Finding(
        what="leases", level="ok", found="every node with GPU slots reaches the database of this installation"
    )


def _lease_problems(report: ClusterReport, no_leases: str) -> Sequence[str]:
    if no_leases:
        return [no_leases]
    return [f"{node}: {node.facts.lease_problem}" for node in report.nodes if node.facts and node.facts.lease_problem]
