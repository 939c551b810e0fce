"""A cluster that would train by other code, that asks for another token, or that shares no database is refused."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from ldtm_cli.diagnosis import examine
from ldtm_cli.finding import Finding
from ldtm_lib.models.fit import FitTask
from ldtm_lib.models.on_ray.cluster import ClusterUnusable
from ldtm_lib.models.on_ray.engine import RayEngine
from ldtm_lib.models.on_ray.release import release_here
from ldtm_lib.settings import ArchitectureConfig, EngineConfig, TrainingConfig
from tests.integration.ray.clusters import LocalCluster
from tests.repository import REPOSITORY

pytestmark = pytest.mark.slow
NO_SERVER = "postgresql://x@127.0.0.1:1/x"


def refusal(address: str, tasks: list[FitTask], environ: Mapping[str, str] | None = None) -> str:
    engine = RayEngine(config=EngineConfig(kind="ray", address=address), environ={**os.environ, **(environ or {})})
    with pytest.raises(ClusterUnusable) as raised:
        list(engine(tasks, recipe=TrainingConfig(), architecture=ArchitectureConfig(), device="cpu"))
    return str(raised.value)


def copied_program(folder: Path) -> Path:
    for name in ("ldtm_lib", "ldtm_assets", "sql"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(REPOSITORY / name, folder / name)
    return folder


def test_nodes_with_other_code_and_other_tokens_are_refused(tasks: list[FitTask], tmp_path: Path) -> None:
    """One cluster for all of it: each takes seconds to start."""
    token, wrong = tmp_path / "token", tmp_path / "wrong"
    token.write_text("a" * 64)
    wrong.write_text("b" * 64)
    access = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    changed, old = copied_program(tmp_path / "changed"), copied_program(tmp_path / "old")
    with (changed / "ldtm_lib" / "errors.py").open("a") as file:
        file.write("# another release\n")
    shutil.rmtree(old / "ldtm_lib" / "models" / "on_ray")
    with LocalCluster(access) as cluster:
        cluster.node(environ={"PYTHONPATH": str(changed)})
        cluster.node(environ={"PYTHONPATH": str(old)})
        versions = refusal(cluster.address, tasks, access)
        other_token = refusal(cluster.address, tasks, {**access, "RAY_AUTH_TOKEN_PATH": str(wrong)})
        no_token = refusal(cluster.address, tasks)
        without_address = refusal("auto", tasks, {"RAY_ADDRESS": cluster.address})
    here = release_here()
    assert f"and this installation is {here}; head and nodes must run the same program" in versions
    assert "does not run the program of this installation (ModuleNotFoundError: No module named" in versions
    for address, words in ((cluster.address, other_token), (cluster.address, no_token), ("auto", without_address)):
        assert words.startswith(f"Ray at {address} refuses the token of this process (AuthenticationError: RPC")
        assert "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to a file with the token of its head" in words


def test_auto_means_the_address_of_the_environment(tasks: list[FitTask]) -> None:
    assert ":1 ([Errno 111] Connection refused); start its head" in refusal(
        "auto", tasks, {"RAY_ADDRESS": "127.0.0.1:1"}
    )


def test_doctor_looks_at_the_cluster(cluster: LocalCluster, tmp_path: Path) -> None:
    config = tmp_path / "universe.toml"
    config.write_text(f'tickers = ["AAPL"]\n[engine]\nkind = "ray"\naddress = "{cluster.address}"\n')

    def findings() -> dict[str, Finding]:
        return {finding.what: finding for finding in examine(config, {**os.environ, "LDTM_DATABASE_URL": NO_SERVER})}

    found = findings()
    assert {what: found[what].level for what in ("cluster", "versions", "login", "keepalive")} == {
        "cluster": "ok",
        "versions": "ok",
        "login": "warn",
        "keepalive": "ok",
    }
    assert found["cluster"].found.startswith(f"Ray at {cluster.address}: 3 nodes, 0 GPU slots, 2 CPU slots")
    config.write_text(config.read_text().replace(cluster.address, "127.0.0.1:1"))
    cluster_line = findings()["cluster"]
    assert (cluster_line.level, cluster_line.found) == (
        "fail",
        "no Ray at 127.0.0.1:1 ([Errno 111] Connection refused); start its head, or correct engine.address "
        "(docs/ray.md)",
    )
    assert cluster_line.remedy == "start the head and the nodes as docs/ray.md describes, or set engine.kind to local"
