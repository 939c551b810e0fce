"""Runs whose process died without a word: a kill -9 or a power cut leaves them running on paper, with their slots.

Whoever begins to work on a run puts the mark of its process on it. Whoever comes next looks whether the process behind
a mark is still there; runs without one, or with one of another machine, are dead when no Dagster of this project runs.
A run that is tried again inherits the mark of the first one, which says whose it is.
"""

import os
import time
from pathlib import Path

import dagster as dg

HEARTBEAT_SECONDS = 60
PROCESS_TAG = "ldtm/process"
HAVE_A_PROCESS = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def mark_of(pid: int) -> str | None:
    """A name of a process that is not used twice: its machine, its number there, its start in ticks since the boot."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return None if stat[0] == "Z" else f"{_machine()} {pid} {stat[19]}"


def own_mark(run_id: str) -> dict[str, str]:
    """The tag for a run that lives in this process."""
    mark = mark_of(os.getpid())
    return {PROCESS_TAG: f"{run_id} {mark}"} if mark else {}


def put_mark(context: dg.AssetExecutionContext) -> None:
    """Put the mark of this process on the run that it works on."""
    context.instance.add_run_tags(context.run.run_id, own_mark(context.run.run_id))


def bury_dead_runs(instance: dg.DagsterInstance, *, dagster_is_running: bool) -> list[str]:
    """Mark the dead runs of an instance as failed and free their slots in the pools; returns their ids."""
    buried: list[str] = []
    dagster_is_running = dagster_is_running or _has_heartbeat(instance)
    for run in instance.get_runs(dg.RunsFilter(statuses=HAVE_A_PROCESS)):
        if _is_alive(run, dagster_is_running=dagster_is_running):
            continue
        instance.report_run_failed(run, message="The process of this run died without a word.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        buried.append(run.run_id)
    return buried


def _is_alive(run: dg.DagsterRun, *, dagster_is_running: bool) -> bool:
    marked, _, mark = run.tags.get(PROCESS_TAG, "").partition(" ")
    machine, _, process = mark.partition(" ")
    if marked != run.run_id or machine != _machine():
        return dagster_is_running
    return mark == mark_of(int(process.split()[0]))


def _has_heartbeat(instance: dg.DagsterInstance) -> bool:
    """Whether a daemon that somebody else started, such as a service manager, has been heard of just now."""
    beats = instance.get_daemon_heartbeats().values()
    return any(time.time() - beat.timestamp < HEARTBEAT_SECONDS for beat in beats)


def _machine() -> str:
    """What process numbers belong to: one boot of a machine, and in it one container."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
