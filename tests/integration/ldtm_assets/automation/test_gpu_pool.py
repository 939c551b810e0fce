"""The pool `gpu` follows the memory of the GPUs, on Dagster's own storage in real PostgreSQL."""

import threading
import time
from collections.abc import Iterator

import dagster as dg
import psycopg
import pytest

from ldtm_assets.automation.gpu_pool import gpu_pool_sensor, refresh_gpu_pool
from ldtm_cli.services import dagster_environment, prepare_dagster
from ldtm_lib.database.connection import Database
from ldtm_lib.gpu.devices import Gpu, GpuInventory
from ldtm_lib.gpu.lease import acquire
from ldtm_lib.project import Project
from ldtm_lib.settings import Settings

NO_GPU = GpuInventory(gpus=(), note="no GPU: none; models are trained on the CPU")


def inventory(free_mib: int) -> GpuInventory:
    gpu = Gpu(index=0, uuid="GPU-0", name="card", total_mib=80_000, free_mib=free_mib)
    return GpuInventory(gpus=(gpu,), note="1 GPU")


@pytest.fixture
def project(settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An installation without GPUs whose Dagster has a schema of its own."""
    project = Project(settings=settings, home=settings.path.parent, database=database)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    for name, value in dagster_environment(project).items():
        monkeypatch.setenv(name, value)
    return project


@pytest.fixture
def instance(project: Project) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as instance:
        yield instance


def _limit(instance: dg.DagsterInstance) -> int | None:
    pools = {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}
    return pools.get("gpu")


def _written(project: Project) -> tuple[object, ...]:
    """The versions of the rows that hold the limit: another one after every write, the same values included."""
    with psycopg.connect(project.database.url) as conn:
        rows = conn.execute('select xmin::text, "limit" from ldtm_dagster.concurrency_limits').fetchall()
        return (*rows, *conn.execute("select xmin::text from ldtm_dagster.concurrency_slots order by 1").fetchall())


def _tick(project: Project, instance: dg.DagsterInstance) -> str:
    with dg.build_sensor_context(instance=instance) as context:
        ticked = gpu_pool_sensor(lambda: project).evaluate_tick(context)
    assert not ticked.run_requests
    assert ticked.skip_message is not None
    return ticked.skip_message


def test_the_sensor_is_on_polls_every_half_minute_and_launches_nothing(project: Project) -> None:
    sensor = gpu_pool_sensor(lambda: project)
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == 30
    assert not sensor.has_jobs


def test_a_tick_sets_the_pool_and_says_what_it_found(project: Project, instance: dg.DagsterInstance) -> None:
    instance.event_log_storage.set_concurrency_slots("gpu", 3)
    said = _tick(project, instance)
    assert said.startswith("the pool gpu changes from 3 to 1: no GPU: ")
    assert _limit(instance) == 1
    assert _tick(project, instance).startswith("the pool gpu stays at 1: no GPU: ")


def test_tenants_that_come_and_go_move_the_limit(project: Project, instance: dg.DagsterInstance) -> None:
    limits: list[int | None] = []
    for free_mib in (80_000, 3300, 2100, 0, 2700):
        refresh_gpu_pool(instance, project, inventory(free_mib))
        limits.append(_limit(instance))
    assert limits == [4, 2, 0, 0, 1]


def test_a_job_that_trains_counts_beside_the_memory_that_is_free(
    project: Project, instance: dg.DagsterInstance
) -> None:
    with acquire(project.database, project.settings.gpu, lambda: inventory(3300)) as lease:
        lease.settle()
        size = refresh_gpu_pool(instance, project, inventory(2700))
    assert (size.limit, _limit(instance)) == (2, 2)
    assert size.found == "GPU 0 has 2,700 MiB free and 1 of LDTM's jobs"


def test_nothing_is_written_when_nothing_changed(project: Project, instance: dg.DagsterInstance) -> None:
    refresh_gpu_pool(instance, project, inventory(80_000))
    before = _written(project)
    size = refresh_gpu_pool(instance, project, inventory(70_000))
    assert (size.before, size.limit) == (4, 4)
    assert _written(project) == before
    refresh_gpu_pool(instance, project, NO_GPU)
    assert _written(project) != before


def test_starting_up_sets_the_pool(project: Project, instance: dg.DagsterInstance) -> None:
    assert _limit(instance) is None
    assert prepare_dagster(project) == 1
    assert _limit(instance) == 1


def test_a_pool_that_has_only_the_default_limit_is_given_its_own(
    project: Project, instance: dg.DagsterInstance
) -> None:
    instance.event_log_storage.initialize_concurrency_limit_to_default("gpu")
    assert refresh_gpu_pool(instance, project, NO_GPU).before is None
    pools = {pool.name: pool.from_default for pool in instance.event_log_storage.get_pool_limits()}
    assert pools == {"gpu": False}


def test_a_step_waits_while_there_is_no_room_and_runs_when_a_tenant_left(
    project: Project, instance: dg.DagsterInstance
) -> None:
    ran_at: list[float] = []

    @dg.op(pool="gpu")
    def train() -> None:
        ran_at.append(time.monotonic())

    @dg.job
    def training() -> None:
        train()

    refresh_gpu_pool(instance, project, inventory(2100))
    run = threading.Thread(
        target=lambda: training.execute_in_process(
            instance=instance, run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        )
    )
    run.start()
    time.sleep(2)
    assert ran_at == []
    left_at = time.monotonic()
    assert refresh_gpu_pool(instance, project, inventory(2700)).limit == 1
    run.join(60)
    assert ran_at
    assert ran_at[0] > left_at
