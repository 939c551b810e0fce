"""Runs whose process died without a word: a kill -9 or a power cut leaves them running on paper, with their slots.

Whoever begins to work on a run puts the mark of its process on it. Whoever comes next looks whether the process behind
a mark is still there; one of an earlier boot of the same host, or of its container before it was started again, is not.
Runs without a mark, or with one of another host, are dead when no Dagster of this project runs. A run that is tried
again inherits the mark of the first one, which says whose it is.
"""

import os
import socket
from hashlib import sha256
from pathlib import Path

import dagster as dg
from dagster._core.launcher import DefaultRunLauncher

from ldtm_assets.automation.daemons import is_heard_of

PROCESS_TAG = "ldtm/process"
HAVE_A_PROCESS = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def process_identity(pid: int) -> str | None:
    """A name of a process that is not used twice: where it is, its number there, its start in ticks since the boot."""
    process = _process(pid)
    return f"{'/'.join(_here())} {process}" if process else None


def _process(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return None if stat[0] == "Z" else f"{pid} {stat[19]}"


def process_tag(run_id: str) -> dict[str, str]:
    """The tag for a run that lives in this process."""
    mark = process_identity(os.getpid())
    return {PROCESS_TAG: f"{run_id} {mark}"} if mark else {}


def tag_with_process(context: dg.AssetExecutionContext) -> None:
    """Put the mark of this process on the run that it works on."""
    context.instance.add_run_tags(context.run.run_id, process_tag(context.run.run_id))


def reap_dead_runs(instance: dg.DagsterInstance, *, dagster_is_running: bool) -> list[str]:
    """Mark the dead runs of an instance as failed and free their slots in the pools; returns their ids."""
    buried: list[str] = []
    dagster_is_running = dagster_is_running or is_heard_of(instance)
    for run in instance.get_runs(dg.RunsFilter(statuses=HAVE_A_PROCESS)):
        if _is_alive(instance, run, dagster_is_running=dagster_is_running):
            continue
        instance.report_run_failed(run, message="The process of this run died without a word.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        buried.append(run.run_id)
    return buried


def _is_alive(instance: dg.DagsterInstance, run: dg.DagsterRun, *, dagster_is_running: bool) -> bool:
    marked, _, mark = run.tags.get(PROCESS_TAG, "").partition(" ")
    place, _, process = mark.partition(" ")
    boot, space, host = _here()
    its_boot, its_space, its_host = [*place.split("/"), "", "", ""][:3]
    if marked != run.run_id:
        return dagster_is_running
    if (its_boot, its_space) == (boot, space):
        return process == _process(int(process.split()[0]))
    if its_host != host:
        return dagster_is_running
    # a launcher of containers puts living runs into others; else another one is this container before its restart
    has_space_of_its_own = not isinstance(instance.run_launcher, DefaultRunLauncher)
    return its_boot == boot and has_space_of_its_own and dagster_is_running


def _here() -> tuple[str, str, str]:
    """What process numbers belong to, one boot of a machine and in it one container, and the host that this is.

    The name of a host alone may be that of many, such as `localhost`; its number is not to leave it as it is.
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    number = Path("/etc/machine-id")
    host = f"{socket.gethostname()} {number.read_text().strip() if number.exists() else ''}"
    return boot, str(Path("/proc/self/ns/pid").readlink()), sha256(host.encode()).hexdigest()[:16]
