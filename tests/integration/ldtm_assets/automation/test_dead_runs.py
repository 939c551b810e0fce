"""Runs on paper: those whose process is gone are failed, all others are left."""

import os
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest
from dagster._daemon.types import DaemonHeartbeat

from ldtm_assets.automation.dead_runs import reap_dead_runs
from ldtm_assets.run_tags import PROCESS_TAG, process_identity, process_tag

STARTED = dg.DagsterRunStatus.STARTED


@pytest.fixture
def instance(tmp_path: Path) -> dg.DagsterInstance:
    return dg.DagsterInstance.local_temp(str(tmp_path))


@dg.job
def nothing() -> None: ...


def started(instance: dg.DagsterInstance, tags: dict[str, str]) -> str:
    run_id = instance.create_run_for_job(nothing, status=STARTED).run_id
    instance.add_run_tags(run_id, tags)
    return run_id


def identity_of_a_killed_process() -> str:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    mark = process_identity(process.pid)
    process.kill()
    process.communicate()
    assert mark is not None
    return mark


def test_only_runs_whose_process_is_gone_are_reaped_while_dagster_runs(instance: dg.DagsterInstance) -> None:
    mark = identity_of_a_killed_process()
    dead = started(instance, {})
    instance.add_run_tags(dead, {PROCESS_TAG: f"{dead} {mark}"})
    alive = started(instance, {})
    instance.add_run_tags(alive, process_tag(alive))
    unmarked = started(instance, {})
    tried_again = started(instance, {PROCESS_TAG: f"{dead} {mark}"})
    elsewhere = started(instance, {})
    instance.add_run_tags(elsewhere, {PROCESS_TAG: f"{elsewhere} another-boot/pid:[1] 1 1"})
    assert reap_dead_runs(instance, dagster_is_running=True) == [dead]
    assert {run.run_id for run in instance.get_runs(dg.RunsFilter(statuses=[STARTED]))} == {
        alive,
        unmarked,
        tried_again,
        elsewhere,
    }


def test_where_no_dagster_runs_only_marked_processes_are_alive(instance: dg.DagsterInstance) -> None:
    alive = started(instance, {})
    instance.add_run_tags(alive, process_tag(alive))
    unmarked = started(instance, {})
    assert reap_dead_runs(instance, dagster_is_running=False) == [unmarked]


def other_mark(**of: str) -> str:
    """The mark of a process elsewhere: of this one's, with another boot, namespace or host."""
    machine, pid, start = (process_identity(os.getpid()) or "").split()
    parts = dict(zip(("boot", "namespace", "host"), machine.split("/"), strict=True)) | of
    return f"{'/'.join(part for part in parts.values() if part)} {pid} {start}"


@pytest.mark.parametrize("of", [{"boot": "before-the-power-cut"}, {"namespace": "pid:[1]"}])
def test_a_run_of_before_a_reboot_or_a_restart_of_the_container_is_dead_whatever_beats(
    instance: dg.DagsterInstance, of: dict[str, str]
) -> None:
    left_behind = started(instance, {})
    instance.add_run_tags(left_behind, {PROCESS_TAG: f"{left_behind} {other_mark(**of)}"})
    instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - 25, "SENSOR", "a", []))
    assert reap_dead_runs(instance, dagster_is_running=True) == [left_behind]


def test_run_monitoring_alone_judges_runs_in_containers_of_their_own(tmp_path: Path) -> None:
    launcher = {"run_launcher": {"module": "dagster._core.test_utils", "class": "MockedRunLauncher"}}
    instance = dg.DagsterInstance.local_temp(str(tmp_path), overrides=launcher)
    marks = {
        "beside": other_mark(namespace="pid:[1]", host="another-container"),
        "before_the_power_cut": other_mark(boot="another", host="another-container"),
        "here_before_a_restart": other_mark(namespace="pid:[1]"),
    }
    runs = {name: started(instance, {}) for name in marks}
    for name, run_id in runs.items():
        instance.add_run_tags(run_id, {PROCESS_TAG: f"{run_id} {marks[name]}"})
    unmarked = started(instance, {})
    assert reap_dead_runs(instance, dagster_is_running=False) == [runs["here_before_a_restart"]]
    assert instance.get_run_by_id(unmarked).status is STARTED  # pyright: ignore[reportOptionalMemberAccess]


def test_a_container_on_the_network_of_this_host_is_another_host(instance: dg.DagsterInstance) -> None:
    beside = started(instance, {})
    instance.add_run_tags(beside, {PROCESS_TAG: f"{beside} {other_mark(namespace='pid:[1]', host='another-root')}"})
    assert reap_dead_runs(instance, dagster_is_running=True) == []


def test_a_run_of_another_host_is_alive_while_dagster_runs(instance: dg.DagsterInstance) -> None:
    elsewhere = started(instance, {})
    instance.add_run_tags(elsewhere, {PROCESS_TAG: f"{elsewhere} {other_mark(boot='another', host='another')}"})
    assert reap_dead_runs(instance, dagster_is_running=True) == []
    assert reap_dead_runs(instance, dagster_is_running=False) == [elsewhere]


def test_marks_without_a_host_are_read(instance: dg.DagsterInstance) -> None:
    alive, dead, unknown = (started(instance, {}) for _ in range(3))
    boot_of_before = other_mark(boot="another", host="")
    killed, _, process = identity_of_a_killed_process().partition(" ")
    for run_id, mark in (
        (alive, other_mark(host="")),
        (dead, f"{killed.rpartition('/')[0]} {process}"),
        (unknown, boot_of_before),
    ):
        instance.add_run_tags(run_id, {PROCESS_TAG: f"{run_id} {mark}"})
    assert reap_dead_runs(instance, dagster_is_running=True) == [dead]
    assert reap_dead_runs(instance, dagster_is_running=False) == [unknown]
