"""Reaping of dead runs: a kill -9 or a power cut leaves a run marked as running, and it keeps its pool slots.

A run carries the identity of the process that works on it (`run_tags`). A run is dead when that process has ended,
or belonged to an earlier boot of this host, or to this container before a restart. A run without that tag, or with the
tag of another host or container, is dead when no Dagster of this project runs. Where every run has a container of its
own, its launcher knows which containers run, and Dagster's run monitoring ends the runs of the others.
"""

import dagster as dg
from dagster._core.launcher import DefaultRunLauncher

from ldtm_assets.automation.heartbeat import has_live_daemon
from ldtm_assets.run_tags import PROCESS_TAG, host_identity, running_process

HAVE_A_PROCESS = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def reap_dead_runs(instance: dg.DagsterInstance, *, dagster_is_running: bool) -> list[str]:
    """Report the dead runs of an instance as failed and free their pool slots; returns their ids."""
    reaped: list[str] = []
    dagster_is_running = dagster_is_running or has_live_daemon(instance)
    for run in instance.get_runs(dg.RunsFilter(statuses=HAVE_A_PROCESS)):
        if _is_alive(instance, run, dagster_is_running=dagster_is_running):
            continue
        instance.report_run_failed(run, message="The process of this run ended without reporting a result.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        reaped.append(run.run_id)
    return reaped


def _is_alive(instance: dg.DagsterInstance, run: dg.DagsterRun, *, dagster_is_running: bool) -> bool:
    is_monitored = not isinstance(instance.run_launcher, DefaultRunLauncher)
    run_id, _, identity = run.tags.get(PROCESS_TAG, "").partition(" ")
    host_part, _, process = identity.partition(" ")
    boot, namespace, host = host_identity()
    its_boot, its_namespace, its_host = [*host_part.split("/"), "", "", ""][:3]
    if run_id != run.run_id:
        return is_monitored or dagster_is_running
    if (its_boot, its_namespace) == (boot, namespace):
        return process == running_process(int(process.split()[0]))
    return its_host != host and (is_monitored or dagster_is_running)
