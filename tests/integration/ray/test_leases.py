"""A task on a GPU leases it on its own node, in the database of the training. There is no GPU here: NVML is played."""

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import psycopg
import pytest

from ldtm_assets.training.placement import training_place
from ldtm_assets.training.progress import LogLines
from ldtm_lib.database.connection import Database
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.gpu.devices import Gpu, GpuInventory
from ldtm_lib.gpu.locks import occupancies_now
from ldtm_lib.models.fit import FitTask
from ldtm_lib.models.on_ray.cluster import GPU_SLOT, ClusterUnusable
from ldtm_lib.models.on_ray.engine import RayEngine
from ldtm_lib.models.on_ray.shard import NodeLeases, ShardLost
from ldtm_lib.project import Project
from ldtm_lib.settings import ArchitectureConfig, EngineConfig, Settings, TrainingConfig
from ldtm_lib.training import node_leases as leases_module
from ldtm_lib.training.node_leases import DatabaseLeases, database_identity, node_leases
from tests.databases import url_of
from tests.integration.ray import faults
from tests.integration.ray.clusters import LocalCluster, RayProcess, TriesFile
from tests.integration.ray.trainings import Results, same_bits

INVENTORY = GpuInventory(
    gpus=(Gpu(index=3, uuid="GPU-3", name="card", total_mib=80_000, free_mib=70_000),), note="1 GPU"
)


@pytest.fixture
def project(settings: Settings, database: Database) -> Project:
    return Project(settings=settings, home=settings.path.parent, database=database)


@pytest.fixture
def leases(project: Project, monkeypatch: pytest.MonkeyPatch) -> DatabaseLeases:
    """As they come out of a pickle on a node whose GPU is free."""
    monkeypatch.setenv("LDTM_DATABASE_URL", project.database.url)
    monkeypatch.setattr(leases_module, "gpus_here", lambda environ: INVENTORY)
    monkeypatch.setattr(leases_module, "device_of", lambda uuid: f"cuda:{uuid[-1]}")
    found, reason = node_leases(project, os.environ)
    assert isinstance(found, DatabaseLeases)
    assert reason == ""
    return found


def test_a_node_leases_what_the_tickers_of_its_task_need(leases: DatabaseLeases, project: Project) -> None:
    assert leases.problem_here() == ""
    with leases.lease(103, lambda reason: None) as place:
        assert place.device == "cuda:3"
        assert place.gpu.mib_per_job == 1250
        (held,) = occupancies_now(project.database, INVENTORY)
        assert (len(held.held), len(held.settled)) == (1, 0)
        place.require_held()
        (held,) = occupancies_now(project.database, INVENTORY)
        assert len(held.settled) == 1, "the first epoch tells that the memory is taken"
    (held,) = occupancies_now(project.database, INVENTORY)
    assert not held.held


def test_a_lease_that_is_lost_loses_the_task_alone(
    leases: DatabaseLeases, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases_module, "LeaseWatch", partial(leases_module.LeaseWatch, seconds_between_checks=0))
    with leases.lease(1, lambda reason: None) as place:
        place.require_held()
        with psycopg.connect(project.database.url, autocommit=True) as admin:
            admin.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where application_name = 'ldtm gpu lease' and datname = current_database()"
            )
        with pytest.raises(ShardLost, match="the lease of slot 0 of GPU 3"):
            place.require_held()


def test_a_node_with_another_database_is_named(
    leases: DatabaseLeases, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LDTM_DATABASE_URL", url_of(server_url, "postgres"))
    assert leases.problem_here().startswith("LDTM_DATABASE_URL of the node names another database (")
    monkeypatch.delenv("LDTM_DATABASE_URL")
    assert leases.problem_here().startswith("LDTM_DATABASE_URL is not set on the node; set it to the database of the")


def test_a_role_without_rights_reads_the_identity_of_its_database(database: Database) -> None:
    with database.connect() as conn:
        as_owner = database_identity(conn)
        conn.execute("create role nobody_special")
        conn.execute("set local role nobody_special")
        assert database_identity(conn) == as_owner
        conn.rollback()


def test_the_embedded_server_cannot_lease_gpus_of_other_machines(project: Project) -> None:
    leases, reason = node_leases(project, {})
    assert leases is None
    assert "LDTM_DATABASE_URL is not set: no other machine reaches the embedded server" in reason


def test_a_training_on_a_cluster_waits_for_no_slot_here(project: Project) -> None:
    on_ray = replace(project, settings=project.settings.replace(engine=EngineConfig(kind="ray")))
    with (
        training_place(project, "cpu", lambda line: None, LogLines()),
        training_place(on_ray, "auto", lambda line: None, LogLines()) as place,
    ):
        assert place.lease is None
        assert isinstance(place.context(on_ray.settings).engine, RayEngine)
    with (
        pytest.raises(ConfigurationError, match="device 'cuda:1' names a GPU of this machine"),
        training_place(on_ray, "cuda:1", lambda line: None, LogLines()),
    ):
        pass


@pytest.fixture(scope="module")
def gpu_node(cluster: LocalCluster, server_url: str) -> Iterator[RayProcess]:
    """A node without cores that offers a slot on a GPU, which it does not have."""
    slot = f'--resources={{"{GPU_SLOT}": 1}}'
    node = cluster.node(slot, cpus=0, environ={"LDTM_DATABASE_URL": url_of(server_url, "postgres")})
    yield node
    node.kill()


@pytest.mark.nightly
def test_gpu_slots_without_a_gpu_or_a_database_are_refused_before_the_training(
    project: Project, tasks: list[FitTask], cluster: LocalCluster, gpu_node: RayProcess, server_url: str
) -> None:
    def refusal(leases: NodeLeases | None, reason: str) -> str:
        engine = RayEngine(config=EngineConfig(kind="ray", address=cluster.address), leases=leases, no_leases=reason)
        with pytest.raises(ClusterUnusable) as raised:
            list(engine(tasks, recipe=TrainingConfig(), architecture=ArchitectureConfig(), device="auto"))
        return str(raised.value)

    other, reason = node_leases(project, {"LDTM_DATABASE_URL": project.database.url})
    assert "cannot lease its GPUs: LDTM_DATABASE_URL of the node names another database" in refusal(other, reason)
    same = replace(project, database=Database(url=url_of(server_url, "postgres"), schema="ldtm"))
    leases, reason = node_leases(same, {"LDTM_DATABASE_URL": same.database.url})
    assert "cannot lease its GPUs: it offers GPU slots, but no GPU is visible there (no" in refusal(leases, reason)
    assert refusal(None, "LDTM_DATABASE_URL is not set") == "LDTM_DATABASE_URL is not set"


@pytest.mark.slow
def test_tasks_take_gpu_slots_where_the_cluster_offers_any_and_a_lost_lease_is_taken_again(
    tasks: list[FitTask],
    alone: Results,
    recipe: TrainingConfig,
    small: ArchitectureConfig,
    cluster: LocalCluster,
    gpu_node: RayProcess,
    tries: TriesFile,
) -> None:
    tries()
    lines: list[str] = []
    engine = RayEngine(
        config=EngineConfig(kind="ray", address=cluster.address, tickers_per_shard=1),
        leases=faults.PlayedLeases(loses="IBM", at=tries.path.read_text().count(" IBM\n") + 1),
        log=lines.append,
        train_shard=faults.noted,
    )
    found = {r.task.name: r for r in engine(tasks, recipe=recipe, architecture=small, device="auto")}
    assert all(same_bits(found[name], alone[name]) for name in alone)
    assert lines[0] == f"trains on Ray at {cluster.address}: 4 nodes, 1 GPU slot, 4 tasks"
    assert "WARNING: IBM is trained again: the lease is lost" in lines
    assert any(line.endswith(" waits for a slot: 1 tickers have no room") for line in lines)
    assert sorted(tries()) == ["AAPL", "GOOG", "IBM", "IBM", "MSFT"]
