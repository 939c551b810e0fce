"""The run launcher of the container stack: every run has its own container, and only trainings see a GPU."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import dagster as dg
import docker
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._serdes import ConfigurableClassData
from dagster_docker import DockerRunLauncher
from dagster_docker.container_context import DockerContainerContext
from docker.types import DeviceRequest, LogConfig

from ldtm_assets.run_tags import CONTAINER_TAG, PROCESS_TAG, container_id, trains
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.project import config_path
from ldtm_lib.settings import GpuConfig, load_settings

FORWARDED = ("LDTM_", "DAGSTER_", "CUDA_MPS_")
"""Prefixes of the names of the variables that a run container gets from the daemon."""
CUDA_CONTEXT_MIB = 300
"""Memory of a CUDA context, added to the budget of a job: on machines with unified memory it is memory of the host."""
STOP_SECONDS = 30
"""Time between SIGTERM and SIGKILL for a run that is terminated in the UI."""
KEEP_HOURS = 24.0
"""Time that the container of a finished run is kept, for `docker logs` and `docker inspect`."""
STACK_LABEL = "ldtm/stack"
"""Label of run containers: the network that the daemon of their stack is in."""
DOCKER_SOCKET = "/var/run/docker.sock"


class ContainerRunLauncher(DockerRunLauncher):
    """Launches each run in a separate container, from the image of the code server.

    A run gets the user, the networks and the mounts of the daemon's container, except for Docker's socket, and the
    daemon's variables that begin with FORWARDED. A training sees the GPUs of `gpus`, and its lease chooses one of them;
    no other run has one.
    """

    def __init__(
        self, inst_data: ConfigurableClassData | None = None, *, memory_mib: int, cpus: str = "", gpus: str = ""
    ) -> None:
        self._memory_mib, self._cpus, self._gpus = memory_mib, cpus, gpus
        super().__init__(inst_data)

    @classmethod
    def config_type(cls) -> dict[str, dg.Field]:
        """The settings, each of which may name a variable of the environment."""
        return {
            "memory_mib": dg.Field(dg.IntSource, description="Memory limit of a run in MiB."),
            "cpus": dg.Field(dg.StringSource, is_required=False, description="Limit of CPU cores; none when empty."),
            "gpus": dg.Field(
                dg.StringSource, is_required=False, description="GPUs of trainings: `all`, UUIDs, or empty for none."
            ),
        }

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> Self:
        """The launcher of a section `run_launcher`."""
        return cls(inst_data, **config_value)

    def get_container_context(self, dagster_run: dg.DagsterRun) -> DockerContainerContext:
        """Settings of the container of a run."""
        has_gpu = bool(self._gpus) and trains(dagster_run)
        gpu = load_settings(config_path(os.environ)).gpu if has_gpu else None
        own = own_settings(docker.from_env())
        return DockerContainerContext(
            env_vars=[name for name in os.environ if name.startswith(FORWARDED)],
            networks=own.networks,
            container_kwargs={
                "name": f"{own.stack}-run-{dagster_run.run_id[:8]}",
                "init": True,
                "user": own.user,
                "volumes": own.mounts,
                "extra_hosts": own.extra_hosts,
                "mem_limit": f"{memory_limit_mib(self._memory_mib, gpu)}m",
                "security_opt": ["no-new-privileges"],
                "cap_drop": ["ALL"],
                "log_config": LogConfig(type="json-file", config={"max-size": "10m", "max-file": "2"}),
                "labels": {STACK_LABEL: own.stack},
                "stop_timeout": STOP_SECONDS,
                **({"nano_cpus": int(float(self._cpus) * 1e9)} if self._cpus else {}),
                **({"device_requests": device_requests(self._gpus)} if has_gpu else {}),
            },
        )

    def launch_run(self, context: LaunchRunContext) -> None:
        """Launch a run, and remove the containers of runs that ended more than KEEP_HOURS ago."""
        super().launch_run(context)
        client = docker.from_env()
        remove_old_containers(client, own_settings(client).stack, older_than_seconds=KEEP_HOURS * 3600)

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """The state of a run's container. A run whose process is elsewhere, as with `ldtm train`, is not checked."""
        has_a_process = run.tags.get(PROCESS_TAG, "").startswith(run.run_id)
        if CONTAINER_TAG not in run.tags and has_a_process:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return super().check_run_worker_health(run)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSettings:
    """Settings of the daemon's own container that run containers share."""

    user: str
    networks: Sequence[str]
    mounts: Sequence[str]
    """The mount as SOURCE:TARGET:MODE, where the source is a volume or a folder of the host."""
    extra_hosts: Mapping[str, str]

    @property
    def stack(self) -> str:
        """The name of the stack: its first network."""
        return self.networks[0]


def own_settings(client: docker.DockerClient) -> OwnSettings:
    """Read the container that this process is in. Raises ConfigurationError outside of a container."""
    own = container_id()
    if own is None:
        raise ConfigurationError(
            "ContainerRunLauncher launches runs with the settings of its own container, but this process is not in a "
            "container; start the daemon with docker/compose.yaml, or remove the section run_launcher of dagster.yaml"
        )
    found = client.containers.get(own).attrs
    mounts = [mount for mount in found["Mounts"] if mount["Destination"] != DOCKER_SOCKET]
    return OwnSettings(
        user=found["Config"]["User"],
        networks=sorted(found["NetworkSettings"]["Networks"]),
        mounts=[
            f"{mount.get('Name') or mount['Source']}:{mount['Destination']}:{'rw' if mount['RW'] else 'ro'}"
            for mount in mounts
        ],
        extra_hosts=dict(line.split(":", 1) for line in found["HostConfig"]["ExtraHosts"] or []),
    )


def memory_limit_mib(run_mib: int, gpu: GpuConfig | None) -> int:
    """The memory limit of a container in MiB: a run's limit, plus budget and context of a training on a GPU."""
    return run_mib if gpu is None else run_mib + gpu.mib_per_job + CUDA_CONTEXT_MIB


def device_requests(gpus: str) -> Sequence[DeviceRequest]:
    """The request for GPUs: all of them, or those with the UUIDs or numbers of a list with commas."""
    capabilities = [["gpu", "compute", "utility"]]
    if gpus == "all":
        return [DeviceRequest(count=-1, capabilities=capabilities)]
    return [DeviceRequest(device_ids=[name.strip() for name in gpus.split(",")], capabilities=capabilities)]


def remove_old_containers(client: docker.DockerClient, stack: str, *, older_than_seconds: float) -> list[str]:
    """Remove the containers of finished runs of a stack; returns their ids."""
    removed: list[str] = []
    finished: dict[str, str | list[str] | bool] = {"label": f"{STACK_LABEL}={stack}", "status": "exited"}
    for container in client.containers.list(all=True, filters=finished, ignore_removed=True):
        ended_at = datetime.fromisoformat(container.attrs["State"]["FinishedAt"]).timestamp()
        if time.time() - ended_at > older_than_seconds:
            container.remove()
            removed.append(str(container.id))
    return removed
