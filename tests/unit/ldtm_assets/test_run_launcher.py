"""Settings of run containers, from the description of the daemon's container that Docker gives."""

from types import SimpleNamespace
from typing import Any, cast

import docker
import pytest
from dagster._core.launcher.base import WorkerStatus

from ldtm_assets import run_launcher
from ldtm_assets.run_launcher import CUDA_CONTEXT_MIB, device_requests, memory_limit_mib, own_settings
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.settings import GpuConfig

DAEMON: dict[str, Any] = {
    "Config": {"User": "10001:10001"},
    "HostConfig": {"ExtraHosts": ["host.docker.internal:host-gateway"]},
    "NetworkSettings": {"Networks": {"ldtm_default": {}}},
    "Mounts": [
        {"Type": "volume", "Name": "ldtm_installation", "Source": "/d/v", "Destination": "/ldtm", "RW": True},
        {"Type": "bind", "Source": "/etc/tsa.pem", "Destination": "/ldtm/tsa.pem", "RW": False},
        {"Type": "bind", "Source": "/run/user/1/docker.sock", "Destination": "/var/run/docker.sock", "RW": True},
    ],
}


def client(attrs: dict[str, Any]) -> docker.DockerClient:
    return cast(
        docker.DockerClient, SimpleNamespace(containers=SimpleNamespace(get=lambda _id: SimpleNamespace(attrs=attrs)))
    )


def test_a_run_gets_what_the_daemon_has_but_for_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_launcher, "container_id", lambda: "1" * 64)
    found = own_settings(client(DAEMON))
    assert found.mounts == ["ldtm_installation:/ldtm:rw", "/etc/tsa.pem:/ldtm/tsa.pem:ro"]
    assert (found.user, found.networks, found.stack) == ("10001:10001", ["ldtm_default"], "ldtm_default")
    assert found.extra_hosts == {"host.docker.internal": "host-gateway"}


def test_outside_of_a_container_the_error_names_the_compose_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_launcher, "container_id", lambda: None)
    with pytest.raises(ConfigurationError, match=r"docker/compose\.yaml"):
        own_settings(client(DAEMON))


def test_a_training_on_a_gpu_gets_its_budget_and_a_context_more() -> None:
    assert memory_limit_mib(4096, None) == 4096
    assert memory_limit_mib(4096, GpuConfig(mib_per_job=600)) == 4096 + 600 + CUDA_CONTEXT_MIB


@pytest.mark.parametrize(
    ("gpus", "count", "ids"), [("all", -1, None), ("GPU-a, GPU-b", 0, ["GPU-a", "GPU-b"]), ("0", 0, ["0"])]
)
def test_gpus_are_all_or_those_that_are_named(gpus: str, count: int, ids: list[str] | None) -> None:
    [request] = device_requests(gpus)
    assert (request["Count"], request["DeviceIDs"] or None) == (count, ids)
    assert request["Capabilities"] == [["gpu", "compute", "utility"]]


def test_a_run_of_a_process_elsewhere_is_not_judged_by_its_container() -> None:
    import dagster as dg

    launcher = run_launcher.ContainerRunLauncher(memory_mib=1)
    own = dg.DagsterRun(job_name="any", run_id="1", tags={run_launcher.PROCESS_TAG: "1 boot/pid/host 7 1"})
    of_another = dg.DagsterRun(job_name="any", run_id="2", tags={run_launcher.PROCESS_TAG: "1 boot/pid/host 7 1"})
    assert launcher.check_run_worker_health(own).status is WorkerStatus.RUNNING
    assert launcher.check_run_worker_health(of_another).status is WorkerStatus.NOT_FOUND
