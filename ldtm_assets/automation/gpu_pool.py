"""The sensor that sizes the pool `gpu`: free GPU memory limits the number of concurrent trainings."""

import os
from collections.abc import Callable
from dataclasses import dataclass

import dagster as dg

from ldtm_lib.gpu.devices import GpuInventory
from ldtm_lib.gpu.locks import occupancies_now
from ldtm_lib.gpu.slots import job_slots
from ldtm_lib.maintenance.dagster_status import GPU_POOL
from ldtm_lib.models.visible_gpus import gpus_here
from ldtm_lib.project import Project

POLL_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSize:
    """The limit of the pool `gpu` after a check of the GPUs."""

    limit: int
    before: int | None
    """The previous limit; None if the pool had none of its own."""
    found: str
    """The memory of the GPUs, or the reason why there is none, in words."""


def gpu_pool_sensor(project: Callable[[], Project]) -> dg.SensorDefinition:
    """The sensor that limits the pool `gpu` to the free memory. It is on by default, and launches nothing."""

    @dg.sensor(
        name="gpu_pool_sensor",
        minimum_interval_seconds=POLL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Sets the number of trainings that may run at once to what fits into the free GPU memory.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        size = refresh_gpu_pool(context.instance, project(), gpus_here(os.environ))
        if size.before == size.limit:
            return dg.SkipReason(f"the pool {GPU_POOL} stays at {size.limit}: {size.found}")
        before = "its default" if size.before is None else size.before
        return dg.SkipReason(f"the pool {GPU_POOL} changes from {before} to {size.limit}: {size.found}")

    return sensor


def refresh_gpu_pool(instance: dg.DagsterInstance, project: Project, inventory: GpuInventory) -> PoolSize:
    """Set the limit of the pool `gpu` to the jobs that fit now; writes only if the limit changes.

    Trainings on a cluster use no GPU of this machine: one at a time keeps all slots of the cluster busy.
    """
    on_a_cluster = project.settings.engine.kind == "ray"
    occupancies = occupancies_now(project.database, inventory)
    limit = 1 if on_a_cluster else job_slots(occupancies, project.settings.gpu)
    limits = {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits() if not pool.from_default}
    before = limits.get(GPU_POOL)
    if before != limit:
        instance.event_log_storage.set_concurrency_slots(GPU_POOL, limit)
    memory = ", ".join(
        f"GPU {occupancy.gpu.index} has {occupancy.gpu.free_mib:,} MiB free and {len(occupancy.held)} of LDTM's jobs"
        for occupancy in occupancies
    )
    found = "trainings run on a Ray cluster" if on_a_cluster else memory or inventory.note
    return PoolSize(limit=limit, before=before, found=found)
