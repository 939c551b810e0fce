"""Tasks are given out by whole tickers, the longest first; a lost shard comes back ticker by ticker."""

import pickle
from collections.abc import Sequence

import numpy as np

from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.models.fit import FitTask
from ldtm_lib.models.on_ray.driver import AllTrained, NoShardNow, Shard
from ldtm_lib.models.on_ray.engine import RayEngine, _Shards
from ldtm_lib.settings import EngineConfig
from tests.unit.models.on_ray.windows import no_windows

NONE = np.empty(0, dtype=np.int64)


def task(ticker: str, fold: int | None, num_rows: int, windows: WindowSet) -> FitTask:
    return FitTask(ticker=ticker, fold=fold, windows=windows, training_rows=np.arange(num_rows), validation_rows=NONE)


def tasks() -> list[FitTask]:
    rows = {"A": 10, "B": 30, "C": 20}
    return [task(ticker, fold, num, no_windows(ticker)) for fold in (0, None) for ticker, num in rows.items()]


def names(shard: object) -> list[str]:
    assert isinstance(shard, Shard)
    found: Sequence[FitTask] = pickle.loads(shard.tasks)
    return [each.name for each in found]


def test_the_longest_tickers_go_first_with_all_their_tasks() -> None:
    shards = _Shards(tasks(), 2)
    assert shards.num_waiting == 2
    assert names(shards.next_one()) == ["B fold 0", "B final", "C fold 0", "C final"]
    assert names(shards.next_one()) == ["A fold 0", "A final"]


def test_windows_that_tasks_share_are_sent_once() -> None:
    shards = _Shards([task("A", fold, 5, shared) for shared in [no_windows("A")] for fold in range(4)], 1)
    shard = shards.next_one()
    assert isinstance(shard, Shard)
    assert len({id(each.windows) for each in pickle.loads(shard.tasks)}) == 1


def test_a_lost_shard_waits_again_ticker_by_ticker_before_all_others() -> None:
    shards = _Shards(tasks(), 2)
    lost = shards.next_one()
    assert isinstance(lost, Shard)
    shards.put_back(shards.ended(lost.number))
    assert sorted([*names(shards.next_one()), *names(shards.next_one())]) == [
        "B final",
        "B fold 0",
        "C final",
        "C fold 0",
    ]
    assert names(shards.next_one()) == ["A fold 0", "A final"]


def test_the_end_is_told_when_nothing_is_under_way() -> None:
    shards = _Shards(tasks(), 3)
    shard = shards.next_one()
    assert isinstance(shard, Shard)
    assert shards.next_one() == NoShardNow()
    assert len(shards.ended(shard.number)) == 6
    assert shards.next_one() == AllTrained()


def test_a_gpu_gets_an_equal_share_of_the_tickers_and_a_core_one() -> None:
    engine = RayEngine(config=EngineConfig(kind="ray"))
    assert engine._tickers_per_shard("cpu", 10_000, 100) == 1
    assert engine._tickers_per_shard("gpu", 103, 2) == 52
    assert engine._tickers_per_shard("gpu", 10_000, 8) == 128
    named = RayEngine(config=EngineConfig(kind="ray", tickers_per_shard=20))
    assert named._tickers_per_shard("gpu", 103, 2) == 20
