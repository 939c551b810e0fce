"""The sensor that sizes the pool `gpu`: free GPU memory decides how many trainings may run at once."""

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
    """The limit of the pool `gpu` after a look at the GPUs."""

    limit: int
    before: int | None
    """The limit that it had; None when it had none of its own."""
    found: str
    """The memory of the GPUs, or why there is none, in words."""


def gpu_pool_sensor(project: Callable[[], Project]) -> dg.SensorDefinition:
    """The sensor that holds the pool `gpu` to the memory that is free. It is on, and launches nothing."""

    @dg.sensor(
        name="gpu_pool_sensor",
        minimum_interval_seconds=POLL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Sets how many trainings may run at once to what the memory of the GPUs has room for.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        size = refresh_gpu_pool(context.instance, project(), gpus_here(os.environ))
        if size.before == size.limit:
            return dg.SkipReason(f"the pool {GPU_POOL} stays at {size.limit}: {size.found}")
        return dg.SkipReason(f"the pool {GPU_POOL} goes from {size.before} to {size.limit}: {size.found}")

    return sensor


def refresh_gpu_pool(instance: dg.DagsterInstance, project: Project, inventory: GpuInventory) -> PoolSize:
    """Set the limit of the pool `gpu` to the jobs that fit now; writes only when it is another one.

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
        f"GPU {occupancy.gpu.index} has {occupancy.gpu.free_mib:,} MiB free and {len(occupancy.held)} of our jobs"
        for occupancy in occupancies
    )
    found = "trainings run on a Ray cluster" if on_a_cluster else memory or inventory.note
    return PoolSize(limit=limit, before=before, found=found)
