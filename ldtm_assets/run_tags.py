"""Tags of runs: what a run is for, which runs exclude each other, and the process that works on a run."""

import os
import socket
from hashlib import sha256
from pathlib import Path

import dagster as dg

DAILY_RUN_TAG = "ldtm/daily_run"
"""The last session of a requested daily run; dagster.yaml lets one run with this tag run at a time."""
CONCURRENCY_GROUP_TAG = "ldtm/concurrency_group"
"""Daily runs and trainings carry it; dagster.yaml runs one at a time, so that no forecast is made amid new networks."""
PENDING_RETRY_TAG = "ldtm/partitions_pending_retry"
"""The run's id and how many of its partitions failed and are retried: the run itself raises no alert."""
BACKFILL_TAG = "dagster/backfill"
"""Dagster's own: the backfill that a run belongs to."""
PROCESS_TAG = "ldtm/process"
"""The run's id and the process that works on it. A re-executed run inherits the tag of the first one."""
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def process_tag(run_id: str) -> dict[str, str]:
    """The tag of a run that lives in this process."""
    identity = process_identity(os.getpid())
    return {PROCESS_TAG: f"{run_id} {identity}"} if identity else {}


def tag_with_process(context: dg.AssetExecutionContext | dg.OpExecutionContext) -> None:
    """Tag a run with this process, which works on it."""
    context.instance.add_run_tags(context.run.run_id, process_tag(context.run.run_id))


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
    """The scope of process ids: the boot, the PID namespace (a container), and a hash that identifies the host.

    A host name alone may be shared by many, such as `localhost`. The machine id is secret, so it is hashed.
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    machine_id = Path("/etc/machine-id")
    host = f"{socket.gethostname()} {machine_id.read_text().strip() if machine_id.exists() else ''}"
    return boot, str(Path("/proc/self/ns/pid").readlink()), sha256(host.encode()).hexdigest()[:16]
