"""`ldtm doctor` tells of a Ray cluster what a training would fail at, and what would make it slow or unsafe."""

from collections.abc import Mapping

from ldtm_cli.cluster_findings import judged
from ldtm_cli.finding import Finding
from ldtm_lib.models.on_ray.cluster import ClusterNode, ClusterReport, NodeFacts
from ldtm_lib.models.on_ray.release import Release
from ldtm_lib.settings import EngineConfig

HERE = Release(ldtm="0.1.0 (aaaaaaaaaaaa)", python="3.11.7", torch="2.13.0", ray="2.60.0")
OTHER = Release(ldtm="0.1.0 (aaaaaaaaaaaa)", python="3.11.7", torch="2.14.0", ray="2.60.0")
TOKEN = {"RAY_AUTH_MODE": "token"}


def node(
    *, cpus: float = 2, gpu_slots: int = 0, release: Release = HERE, missing: tuple[str, ...] = (), lease: str = ""
):
    return ClusterNode(
        address="10.0.0.7",
        name="one",
        cpus=cpus,
        gpu_slots=gpu_slots,
        facts=NodeFacts(host="one", release=release, missing_keepalive=missing, lease_problem=lease),
    )


def findings(*nodes: ClusterNode, environ: Mapping[str, str] = TOKEN, no_leases: str = "") -> dict[str, Finding]:
    report = ClusterReport(address="10.0.0.5:6379", nodes=nodes)
    found = judged(report, EngineConfig(kind="ray"), environ, here=HERE, no_leases=no_leases)
    assert [finding.what for finding in found if finding.level != "ok" and not finding.remedy] == []
    return {finding.what: finding for finding in found}


def test_a_sound_cluster_has_no_warning() -> None:
    found = findings(node(), node(gpu_slots=3))
    assert {what: finding.level for what, finding in found.items()} == dict.fromkeys(
        ("cluster", "versions", "login", "keepalive", "leases"), "ok"
    )
    assert found["cluster"].found.splitlines() == [
        "Ray at 10.0.0.5:6379: 2 nodes, 3 GPU slots, 4 CPU slots",
        "node one (10.0.0.7): 0 GPU slots, 2 CPU slots",
        "node one (10.0.0.7): 3 GPU slots, 2 CPU slots",
    ]


def test_leases_are_of_no_concern_without_gpu_slots() -> None:
    assert "leases" not in findings(node(), no_leases="LDTM_DATABASE_URL is not set")


def test_every_fault_is_named_with_its_node() -> None:
    found = findings(
        node(cpus=0),
        node(cpus=0, gpu_slots=1, release=OTHER, missing=("RAY_grpc_client_keepalive_time_ms",), lease="no database"),
        environ={},
    )
    assert {what: finding.level for what, finding in found.items()} == {
        "cluster": "ok",
        "versions": "fail",
        "login": "warn",
        "keepalive": "warn",
        "leases": "fail",
    }
    assert f"node one (10.0.0.7) runs {OTHER}, and this installation is {HERE}" in found["versions"].found
    assert found["keepalive"].remedy == (
        "start the head and the nodes with RAY_grpc_client_keepalive_time_ms=20000 "
        "RAY_grpc_client_keepalive_timeout_ms=10000"
    )
    assert found["leases"].found == "node one (10.0.0.7): no database"


def test_a_cluster_without_a_slot_is_a_failure() -> None:
    assert findings(node(cpus=0))["cluster"].level == "fail"


def test_leases_that_are_impossible_are_a_failure_where_gpus_are_offered() -> None:
    assert findings(node(gpu_slots=1), no_leases="LDTM_DATABASE_URL is not set")["leases"].level == "fail"
