"""Tags of runs: what a run is for, which runs exclude each other, and the process that works on a run."""

import os
import re
import socket
from hashlib import sha256
from pathlib import Path

import dagster as dg

DAILY_RUN_TAG = "ldtm/daily_run"
"""The last session of a requested daily run; dagster.yaml lets one run with this tag run at a time."""
CONCURRENCY_GROUP_TAG = "ldtm/concurrency_group"
"""Tag of daily runs and trainings; dagster.yaml runs one at a time, so that no forecast is made amid new networks."""
RETRAINING_GROUP = "retraining"
"""Value of CONCURRENCY_GROUP_TAG for trainings."""
PENDING_RETRY_TAG = "ldtm/partitions_pending_retry"
"""The run's id and the number of its partitions that failed and are retried: the run itself raises no alert."""
BACKFILL_TAG = "dagster/backfill"
"""Dagster's own tag: the backfill that a run belongs to."""
PROCESS_TAG = "ldtm/process"
"""The run's id and the process that works on it. A re-executed run inherits the tag of the first one."""
RETRAINING_ASSETS = ("backtests", "checkpoints", "registry")
"""The assets that one training makes."""
CONTAINER_TAG = "docker/container_id"
"""Tag of `DockerRunLauncher`, which terminates this container and watches it (dagster-docker 0.29)."""
CONTAINER_ID = re.compile(r"/([0-9a-f]{64})/")
"""The id of a container in the path of the file that Docker and Podman mount as its /etc/hostname."""
MOUNTS = Path("/proc/self/mountinfo")
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def trains(run: dg.DagsterRun) -> bool:
    """True if a run trains networks: a job of trainings, or a materialization of their assets in the UI."""
    selected = {key.to_user_string() for key in run.asset_selection or ()}
    return run.tags.get(CONCURRENCY_GROUP_TAG) == RETRAINING_GROUP or not selected.isdisjoint(RETRAINING_ASSETS)


def process_tag(run_id: str) -> dict[str, str]:
    """The tags of a run that this process executes."""
    identity, container = process_identity(os.getpid()), own_container()
    tags = {PROCESS_TAG: f"{run_id} {identity}"} if identity else {}
    return tags | ({CONTAINER_TAG: container} if container else {})


def tag_with_process(context: dg.AssetExecutionContext | dg.OpExecutionContext) -> None:
    """Tag a run with this process, which works on it."""
    context.instance.add_run_tags(context.run.run_id, process_tag(context.run.run_id))


def container_id() -> str | None:
    """The id of the container that this process is in; None outside of a container."""
    mounts = [mount for mount in root_mounts(MOUNTS.read_text()) if mount.split(" ")[1] == "/etc/hostname"]
    found = CONTAINER_ID.search(" ".join(mounts))
    return found.group(1) if found else None


def own_container() -> str | None:
    """The id of the container that was started for this command alone; None in the container of a service."""
    command = Path("/proc/1/cmdline").read_bytes().split(b"\0")
    is_command = any(word.rpartition(b"/")[2] == b"ldtm" for word in command) and b"serve" not in command
    return container_id() if is_command else None


def process_identity(pid: int) -> str | None:
    """A name of a process that is never reused: host, PID, and start in ticks since the boot; None when it is gone."""
    process = running_process(pid)
    return f"{'/'.join(host_identity())} {process}" if process else None


def running_process(pid: int) -> str | None:
    """The PID and start of a running process; None when it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return None if stat[0] == "Z" else f"{pid} {stat[19]}"


def host_identity() -> tuple[str, str, str]:
    """The scope of process ids: the boot, the PID namespace, and a hash that identifies the host or the container.

    A host name alone may be shared by many, such as `localhost` or containers on the network of their host. A container
    has a root file system of its own, and keeps it when it is restarted. The machine id is secret, so it is hashed.
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    machine_id = Path("/etc/machine-id")
    machine = machine_id.read_text().strip() if machine_id.exists() else ""
    mounts = root_mounts(MOUNTS.read_text())
    host = "\n".join([f"{socket.gethostname()} {machine}", *mounts])
    return boot, str(Path("/proc/self/ns/pid").readlink()), sha256(host.encode()).hexdigest()[:16]


def root_mounts(mountinfo: str) -> list[str]:
    """The mounts of `/` and `/etc/hostname`, without what changes when a container is restarted (proc(5), mountinfo).

    The upper layer of an overlay, or the file that an engine mounts as /etc/hostname, exists once per container.
    """
    found: list[str] = []
    for line in mountinfo.splitlines():
        mount, _, file_system = line.partition(" - ")
        _, _, _, root, place, *_ = mount.split(" ")
        if place in ("/", "/etc/hostname"):
            kind, source, options = file_system.split(" ", 2)
            upper = [option for option in options.split(",") if option.startswith("upperdir=")]
            found.append(" ".join([root, place, kind, source, *upper]))
    return sorted(found)
