"""Runs whose process died without a word: a kill -9 or a power cut leaves them running on paper, with their slots.

Every process that this command starts runs in puts its own mark on them. Whoever starts next looks whether the process
behind a mark is still there; runs that Dagster's daemon launched are dead when no Dagster of this project runs.
"""

import os
import time
from pathlib import Path

import dagster as dg

HEARTBEAT_SECONDS = 60
PROCESS_TAG = "ldtm/process"
HAVE_A_PROCESS = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def mark_of(pid: int) -> str | None:
    """A name of a process that is not used twice: its number and its start, in clock ticks since the boot."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return None if stat[0] == "Z" else f"{_boot()} {pid} {stat[19]}"


def own_mark() -> dict[str, str]:
    """The tag for runs that live in this process."""
    return {PROCESS_TAG: mark_of(os.getpid()) or str(os.getpid())}


def bury_dead_runs(instance: dg.DagsterInstance, *, dagster_is_running: bool) -> list[str]:
    """Mark the dead runs of an instance as failed and free their slots in the pools; returns their ids."""
    buried: list[str] = []
    dagster_is_running = dagster_is_running or _has_heartbeat(instance)
    for run in instance.get_runs(dg.RunsFilter(statuses=HAVE_A_PROCESS)):
        mark = run.tags.get(PROCESS_TAG)
        is_alive = dagster_is_running if mark is None else mark == mark_of(int(mark.split()[1]))
        if is_alive:
            continue
        instance.report_run_failed(run, message="The process of this run died without a word.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        buried.append(run.run_id)
    return buried


def _has_heartbeat(instance: dg.DagsterInstance) -> bool:
    """Whether a daemon that somebody else started, such as a service manager, has been heard of just now."""
    beats = instance.get_daemon_heartbeats().values()
    return any(time.time() - beat.timestamp < HEARTBEAT_SECONDS for beat in beats)


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
