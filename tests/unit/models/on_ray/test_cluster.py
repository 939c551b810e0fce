"""A cluster is judged by what its nodes say, before anything is trained."""

import pytest

from ldtm_lib.models.on_ray.cluster import ClusterNode, ClusterReport, ClusterUnusable, NodeFacts, SlotKind
from ldtm_lib.models.on_ray.release import Release

HERE = Release(ldtm="0.1.0 (aaaaaaaaaaaa)", python="3.11.7", torch="2.13.0", ray="2.60.0")
OTHER = Release(ldtm="0.1.0 (bbbbbbbbbbbb)", python="3.11.7", torch="2.13.0", ray="2.60.0")


def node(
    host: str, *, cpus: float = 0, gpu_slots: int = 0, release: Release | None = HERE, lease_problem: str = ""
) -> ClusterNode:
    facts = None
    if release is not None:
        facts = NodeFacts(host=host, release=release, missing_keepalive=(), lease_problem=lease_problem)
    return ClusterNode(
        address="10.0.0.7",
        name=host,
        cpus=cpus,
        gpu_slots=gpu_slots,
        facts=facts,
        problem="" if facts else "ModuleNotFoundError: No module named 'ldtm_lib.models.on_ray'",
    )


def cluster(*nodes: ClusterNode) -> ClusterReport:
    return ClusterReport(address="10.0.0.5:6379", nodes=nodes)


def refusal(report: ClusterReport, kind: SlotKind, cpus: int = 1) -> str:
    with pytest.raises(ClusterUnusable) as raised:
        report.require_usable(kind, cpus_per_slot=cpus, here=HERE)
    return str(raised.value)


def test_a_core_is_a_slot_and_what_is_left_over_is_none() -> None:
    report = cluster(node("head"), node("one", cpus=7), node("two", cpus=4))
    assert [report.num_slots("cpu", cpus) for cpus in (1, 2, 4, 8)] == [11, 5, 2, 0]
    report.require_usable("cpu", cpus_per_slot=4, here=HERE)


def test_auto_takes_gpus_where_the_cluster_offers_any() -> None:
    with_gpus = cluster(node("one", cpus=4), node("two", gpu_slots=2))
    assert [with_gpus.kind_for(device) for device in ("auto", "cuda", "cpu")] == ["gpu", "gpu", "cpu"]
    assert cluster(node("one", cpus=4)).kind_for("auto") == "cpu"


def test_a_node_with_another_release_is_named_with_both() -> None:
    assert refusal(cluster(node("one", cpus=4), node("two", cpus=4, release=OTHER)), "cpu") == (
        f"node two (10.0.0.7) runs {OTHER}, and this installation is {HERE}; head and nodes must run the same "
        "program: install it there as it is here, then start the node again"
    )


def test_a_node_without_the_program_is_named() -> None:
    assert refusal(cluster(node("one", cpus=4), node("two", release=None)), "cpu").startswith(
        "node two (10.0.0.7) does not run the program of this installation (ModuleNotFoundError: No module named"
    )


def test_a_cluster_without_a_slot_says_what_to_start() -> None:
    assert refusal(cluster(node("head"), node("one", cpus=3)), "cpu", 4) == (
        "Ray at 10.0.0.5:6379 has 2 nodes and none has 4 cores for a task (the most is 3): start a node with "
        "`--num-cpus` (docs/ray.md), or lower engine.cpus"
    )
    assert refusal(cluster(node("one", cpus=3)), "gpu") == (
        "Ray at 10.0.0.5:6379 has 1 node and none offers a GPU: start a node with "
        "`--resources '{\"ldtm_gpu_slot\": 1}'` (docs/ray.md), or train with the device cpu"
    )


def test_a_node_that_cannot_lease_its_gpus_is_refused_for_gpus_alone() -> None:
    report = cluster(node("one", cpus=1, gpu_slots=1, lease_problem="LDTM_DATABASE_URL is not set on the node"))
    report.require_usable("cpu", cpus_per_slot=1, here=HERE)
    assert refusal(report, "gpu") == (
        "node one (10.0.0.7) cannot lease its GPUs: LDTM_DATABASE_URL is not set on the node"
    )
