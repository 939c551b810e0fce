"""Whoever dies on the way, a training ends with its networks or with an error, and leaves nothing on the nodes."""

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ldtm_lib.models.fit import FitTask
from ldtm_lib.models.on_ray.cluster import ClusterLost
from tests.integration.ray import faults
from tests.integration.ray.clusters import LocalCluster, TriesFile, wait_until
from tests.integration.ray.trainings import Results, Train, in_a_thread, same_bits
from tests.repository import REPOSITORY

pytestmark = pytest.mark.slow
RUNNING = "ray::endless"


@pytest.mark.nightly
def test_a_worker_that_is_killed_is_replaced(train: Train, alone: Results, tries: TriesFile) -> None:
    tries()
    found = in_a_thread(lambda: train(by=faults.slow))
    wait_until(lambda: bool(tries.unread()))
    os.kill(int(tries.unread()[0].split()[0]), signal.SIGKILL)
    results = found()
    assert len(tries()) == 5
    assert all(same_bits(results[name], alone[name]) for name in alone)


def test_a_node_that_is_killed_loses_nothing(
    train: Train, alone: Results, cluster: LocalCluster, tries: TriesFile, lines: list[str]
) -> None:
    third = cluster.node()
    tries()
    found = in_a_thread(lambda: train(by=faults.slow))
    wait_until(lambda: any(int(line.split()[0]) in third.pids() for line in tries.unread()))
    third.kill()
    began, num_begun = time.monotonic(), len(tries.unread())
    wait_until(lambda: len(tries.unread()) > num_begun)
    print(f"another task began {time.monotonic() - began:.0f} s after the end of a node")
    results = found()
    assert results.keys() == alone.keys()
    assert all(same_bits(results[name], alone[name]) for name in alone)
    assert len(tries()) > 4


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGKILL,
        pytest.param(signal.SIGINT, marks=pytest.mark.nightly),
        pytest.param(signal.SIGTERM, marks=pytest.mark.nightly),
    ],
)
def test_a_training_that_ends_leaves_nothing_on_the_nodes(
    cluster: LocalCluster, tasks: list[FitTask], number: signal.Signals
) -> None:
    def running() -> list[int]:
        return [pid for node in cluster.nodes for pid in node.pids(RUNNING)]

    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.ray.training_process", cluster.address],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        start_new_session=True,
    )
    try:
        assert process.stdin is not None
        pickle.dump(tasks, process.stdin)
        process.stdin.close()
        wait_until(lambda: len(running()) == 2)
        (driver,) = children(process.pid)
        os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
        process.wait(20)
        wait_until(lambda: not running() and not Path(f"/proc/{driver}").exists(), 20)
    finally:
        process.kill()
        process.wait()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.nightly
@pytest.mark.timeout(400)
def test_a_node_that_goes_silent_is_given_up_within_two_minutes(
    train: Train, alone: Results, cluster: LocalCluster, lines: list[str]
) -> None:
    third = cluster.node()
    found = in_a_thread(lambda: train(by=faults.slow))
    wait_until(lambda: bool(third.pids("ray::slow")))
    began = time.monotonic()
    third.stop()
    try:
        results = found()
    finally:
        third.kill()
    assert all(same_bits(results[name], alone[name]) for name in alone)
    print(f"a silent node cost {time.monotonic() - began:.0f} s")
    assert any(" is gone; its tasks are trained elsewhere" in line for line in lines)


@pytest.mark.nightly
@pytest.mark.timeout(400)
def test_a_head_that_is_killed_is_an_error(train: Train) -> None:
    with LocalCluster({faults.TRIES: os.devnull}) as cluster:
        cluster.node()
        found = in_a_thread(lambda: train(on=cluster, by=faults.endless))
        wait_until(lambda: bool(cluster.nodes[0].pids(RUNNING)))
        began = time.monotonic()
        cluster.head.kill()
        with pytest.raises(ClusterLost) as raised:
            found()
        print(f"the end of the head was noticed after {time.monotonic() - began:.0f} s: {raised.value}")
        assert str(raised.value).startswith(
            f"Ray at {cluster.address} is lost (its process ended with exit status 1: Failed to connect to GCS within "
            "60 seconds): its head is gone or cannot be reached."
        )
        assert time.monotonic() - began < 100
        wait_until(lambda: not cluster.nodes[0].pids(RUNNING), 90)
        print(f"the node was empty after {time.monotonic() - began:.0f} s")
