"""Runs on paper: those whose process is gone are failed, all others are left."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from ldtm_assets.dead_runs import PROCESS_TAG, bury_dead_runs, mark_of, own_mark

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


def mark_of_a_killed_process() -> str:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    mark = mark_of(process.pid)
    process.kill()
    process.communicate()
    assert mark is not None
    return mark


def test_only_runs_whose_process_is_gone_are_buried_while_dagster_runs(instance: dg.DagsterInstance) -> None:
    mark = mark_of_a_killed_process()
    dead = started(instance, {})
    instance.add_run_tags(dead, {PROCESS_TAG: f"{dead} {mark}"})
    alive = started(instance, {})
    instance.add_run_tags(alive, own_mark(alive))
    unmarked = started(instance, {})
    tried_again = started(instance, {PROCESS_TAG: f"{dead} {mark}"})
    elsewhere = started(instance, {})
    instance.add_run_tags(elsewhere, {PROCESS_TAG: f"{elsewhere} another-boot/pid:[1] 1 1"})
    assert bury_dead_runs(instance, dagster_is_running=True) == [dead]
    assert {run.run_id for run in instance.get_runs(dg.RunsFilter(statuses=[STARTED]))} == {
        alive,
        unmarked,
        tried_again,
        elsewhere,
    }


def test_where_no_dagster_runs_only_marked_processes_are_alive(instance: dg.DagsterInstance) -> None:
    alive = started(instance, {})
    instance.add_run_tags(alive, own_mark(alive))
    unmarked = started(instance, {})
    assert bury_dead_runs(instance, dagster_is_running=False) == [unmarked]
