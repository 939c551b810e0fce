"""Training on a Ray cluster gives what training on this machine gives, and no death on the way changes that."""

import dataclasses
import threading
from pathlib import Path

import numpy as np
import pytest

from ldtm_lib.errors import MissingExtra, TooFewBars, TrainingDiverged
from ldtm_lib.models.fit import FitFailed, FitTask, Progress
from ldtm_lib.models.on_ray.cluster import ClusterUnusable
from ldtm_lib.models.on_ray.engine import RayEngine
from ldtm_lib.models.on_ray.shard import ShardLost
from ldtm_lib.settings import ArchitectureConfig, EngineConfig, TrainingConfig
from tests.integration.ray import faults
from tests.integration.ray.clusters import LocalCluster, TriesFile, free_port
from tests.integration.ray.trainings import Results, Train, same_bits

pytestmark = pytest.mark.slow


def test_the_bits_are_those_of_this_machine(
    train: Train, tasks: list[FitTask], alone: Results, lines: list[str], cluster: LocalCluster
) -> None:
    heard: list[Progress] = []
    threads: set[int] = set()

    def on_progress(progress: Progress) -> None:
        heard.append(progress)
        threads.add(threading.get_ident())

    found = train(on_progress=on_progress)
    assert found.keys() == alone.keys()
    assert all(same_bits(found[name], alone[name]) for name in alone)
    assert {id(result.task) for result in found.values()} == {id(task) for task in tasks}
    assert threads == {threading.get_ident()}
    assert {(progress.ticker, progress.epoch) for progress in heard} >= {("IBM", 1), ("GOOG", 1)}
    assert lines[0] == f"trains on Ray at {cluster.address}: 3 nodes, 2 CPU slots, 4 tasks"


@pytest.mark.nightly
def test_several_tickers_make_a_task(train: Train, alone: Results, tries: TriesFile) -> None:
    tries()
    found = train(by=faults.noted, tickers_per_shard=3)
    assert sorted(tries()) == ["AAPL", "MSFT,IBM,GOOG"]
    assert all(same_bits(found[name], alone[name]) for name in alone)


def test_a_network_that_cannot_be_trained_takes_no_other_one_with_it(
    train: Train, tasks: list[FitTask], alone: Results
) -> None:
    by_name = {task.name: task for task in tasks}
    goog, ibm = by_name["GOOG final"], by_name["IBM final"]
    targets = goog.windows.targets.copy()
    targets[goog.training_rows[5], 1] = np.nan
    diverging = dataclasses.replace(goog, windows=dataclasses.replace(goog.windows, targets=targets))
    empty = dataclasses.replace(ibm, fold=7, training_rows=np.empty(0, dtype=np.int64))
    found = train([diverging, empty, ibm])
    failed = {name: result.reason for name, result in found.items() if isinstance(result, FitFailed)}
    assert isinstance(failed["GOOG final"], TrainingDiverged)
    assert isinstance(failed["IBM fold 7"], TooFewBars)
    assert same_bits(found["IBM final"], alone["IBM final"])


def test_a_mistake_in_the_program_is_raised(train: Train) -> None:
    with pytest.raises(RuntimeError, match=r"a mistake in the program of (IBM|MSFT)") as raised:
        train(by=faults.mistaken)
    assert "in mistaken" in "".join(raised.value.__notes__), "with the traceback of the node"


def test_of_a_task_that_kills_its_workers_only_the_guilty_ticker_fails(
    train: Train, alone: Results, tries: TriesFile, lines: list[str]
) -> None:
    tries()
    found = train(by=faults.poisoned, tickers_per_shard=2)
    failed = {name: result for name, result in found.items() if isinstance(result, FitFailed)}
    assert failed.keys() == {"GOOG fold 0", "GOOG final"}
    assert isinstance(failed["GOOG final"].reason, ShardLost)
    assert str(failed["GOOG final"].reason).startswith(
        "GOOG final could not be trained on Ray, all 4 tries were lost: WorkerCrashedError: "
    )
    assert all(same_bits(found[name], alone[name]) for name in alone if name not in failed)
    begun = tries()
    assert begun.count("GOOG,AAPL") == 4
    assert begun.count("GOOG") == 4
    assert begun.count("AAPL") == 1
    assert any(line.startswith("WARNING: a task of 2 tickers was lost (WorkerCrashedError") for line in lines)


def test_no_slot_is_an_error_at_once(
    cluster: LocalCluster, tasks: list[FitTask], recipe: TrainingConfig, small: ArchitectureConfig
) -> None:
    def refusal(device: str, cpus: int) -> str:
        engine = RayEngine(
            config=EngineConfig(kind="ray", address=cluster.address, cpus=cpus),
            no_leases="LDTM_DATABASE_URL is not set",
        )
        with pytest.raises(ClusterUnusable) as raised:
            list(engine(tasks, recipe=recipe, architecture=small, device=device))
        return str(raised.value)

    assert "and none has 7 cores for a task (the most is 1): start a node with `--num-cpus`" in refusal("cpu", 7)
    assert refusal("cuda", 1) == "LDTM_DATABASE_URL is not set"


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text("raise ImportError(\"No module named 'ray'\")\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtra) as raised:
        RayEngine(config=EngineConfig(kind="ray")).report()
    words = "package ray cannot be imported: No module named 'ray'; engine.kind is \"ray\": run "
    assert str(raised.value).startswith(words)
    assert str(raised.value).endswith("-m pip install 'ldtm[ray]'")


def test_no_cluster_is_an_error_at_once(
    tasks: list[FitTask], recipe: TrainingConfig, small: ArchitectureConfig
) -> None:
    address = f"127.0.0.1:{free_port()}"
    engine = RayEngine(config=EngineConfig(kind="ray", address=address))
    with pytest.raises(ClusterUnusable) as raised:
        list(engine(tasks, recipe=recipe, architecture=small, device="cpu"))
    assert str(raised.value) == (
        f"no Ray at {address} ([Errno 111] Connection refused); start its head, or correct engine.address (docs/ray.md)"
    )
