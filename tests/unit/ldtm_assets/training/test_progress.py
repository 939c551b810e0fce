"""A training tells how far it is in a line every few seconds, however many networks advance at once."""

import time
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from rich.console import Console
from rich.progress import Progress as RichProgress

from ldtm_assets.training.progress import LogLines, TrainingTally
from ldtm_cli.training_bar import TrainingBar
from ldtm_lib.errors import TrainingDiverged
from ldtm_lib.models.fit import Fit, FitFailed, FitTask, Progress
from tests.unit.backtest.window_sets import small_windows

NETWORKS = [(f"T{n}", fold) for n in range(103) for fold in (1, 2, 3, 4, None)]


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def task(ticker: str, fold: int | None, num_rows: int = 5) -> FitTask:
    rows = np.arange(num_rows)
    return FitTask(ticker=ticker, fold=fold, windows=small_windows(), training_rows=rows, validation_rows=rows[:1])


def epoch(ticker: str, fold: int | None, number: int, *, loss: float = 0.5, expected: int = 10) -> Progress:
    return Progress(
        ticker=ticker,
        fold=fold,
        epoch=number,
        max_epochs=100,
        expected_epochs=expected,
        training_loss=loss,
        validation_loss=loss,
        best_validation_loss=loss,
    )


def fitted(of: FitTask) -> Fit:
    return Fit(
        task=of,
        state={"weights": torch.zeros(1)},
        validation_loss=0.5,
        horizon_errors=(0.05, 0.1, 0.6),
        no_change_loss=0.27,
        no_change_errors=(0.06, 0.11, 0.64),
        training_losses=(0.5,),
        validation_losses=(0.5,),
        num_epochs=1,
        best_epoch=1,
        duration_seconds=1.0,
        device="cpu",
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def tally(clock: Clock, lines: list[str]) -> TrainingTally:
    return TrainingTally(lambda tally: lines.append(tally.line()), seconds_between=5, clock=clock)


def test_a_line_counts_networks_and_names_the_worst(tally: TrainingTally, clock: Clock, lines: list[str]) -> None:
    tasks = [task("AAPL", None), task("AAPL", 1), task("^GSPC", 2), task("BRK.B", None), task("FB", None)]
    tally.on_start(tasks)
    clock.seconds += 2
    tally.on_epoch(epoch("AAPL", None, 10, loss=0.2))
    tally.on_epoch(epoch("AAPL", 1, 10, loss=0.3))
    tally.on_result(fitted(tasks[0]))
    tally.on_epoch(epoch("BRK.B", None, 1, loss=float("nan")))
    tally.on_result(FitFailed(task=tasks[3], reason=TrainingDiverged("BRK.B final: the training loss is nan")))
    assert lines == []
    clock.seconds += 4
    tally.on_epoch(epoch("^GSPC", 2, 9, loss=0.7))
    assert lines == [
        "2 of 5 networks done (1 failed), 2 training, 1 waiting; 30 epochs; "
        "validation loss 0.3000, worst 0.7000 (^GSPC fold 2); 6 s so far, about 1 s to go"
    ]


def test_the_time_that_is_left_follows_from_the_rows_and_from_the_epochs_of_those_that_ended(
    tally: TrainingTally, clock: Clock
) -> None:
    tasks = [task("A", None, 8), task("B", None, 4), task("C", None, 4)]
    tally.on_start(tasks)
    tally.on_epoch(epoch("A", None, 10, expected=20))
    # A stops after 20 epochs if nothing improves, and so do B and C, as far as can be known: 80 of 320.
    assert tally.share_done == pytest.approx(80 / 320)
    tally.on_result(fitted(tasks[0]))
    tally.on_epoch(epoch("B", None, 5, expected=10))
    # A needed 10 epochs, so B and C are expected to: 80 + 20 of 80 + 40 + 40.
    assert tally.share_done == pytest.approx(100 / 160)
    clock.seconds += 100
    assert tally.line().endswith("100 s so far, about 60 s to go")
    tally.on_epoch(epoch("B", None, 30, expected=30))
    assert tally.share_done == pytest.approx(200 / (80 + 4 * 31 + 40)), "one that goes on has an epoch left at least"


def test_the_last_network_to_end_is_reported_at_once(tally: TrainingTally, lines: list[str]) -> None:
    tasks = [task("A", None), task("B", 1)]
    tally.on_start(tasks)
    for number, one in enumerate(tasks):
        tally.on_epoch(epoch(one.ticker, one.fold, 3))
        tally.on_result(fitted(one))
        assert len(lines) == number
    assert lines[0].startswith("2 of 2 networks done, 0 training, 0 waiting; 6 epochs")
    assert "to go" not in lines[0]
    assert tally.share_done == 1


def test_nothing_is_reported_of_nothing(tally: TrainingTally, lines: list[str]) -> None:
    tally.on_start([])
    assert (lines, tally.share_done) == ([], 0)
    assert tally.line().startswith("0 of 0 networks done, 0 training, 0 waiting; 0 epochs; no validation loss yet")


def test_bursts_of_a_universe_give_a_line_every_five_seconds_and_none_a_network(clock: Clock, lines: list[str]) -> None:
    tally = TrainingTally(lambda tally: lines.append(tally.line()), seconds_between=5, clock=clock)
    tally.on_start([task(*network) for network in NETWORKS])
    for number in range(1, 41):
        clock.seconds += 1
        for network in NETWORKS:
            tally.on_epoch(epoch(*network, number))
    assert len(lines) == 8
    assert all("validation loss" in line for line in lines)


def test_a_finished_network_is_not_kept_alive(tally: TrainingTally) -> None:
    """515 of them would hold half a gigabyte."""
    import gc
    import weakref

    tally.on_start([task("A", None), task("B", None)])
    result = fitted(task("A", None))
    weights = weakref.ref(result.state["weights"])
    tally.on_result(result)
    del result
    gc.collect()
    assert weights() is None


def _seconds_of_a_universe(callbacks: TrainingTally, bursts: Sequence[list[Progress]]) -> float:
    started = time.perf_counter()
    for burst in bursts:
        for progress in burst:
            callbacks.on_epoch(progress)
    return time.perf_counter() - started


@pytest.mark.parametrize("shown", ["log", "bar"])
def test_reporting_a_universe_costs_next_to_nothing(shown: str) -> None:
    """515 networks, 100 epochs: 0.02 s on an idle core. The bound of 0.2 s leaves room for a busy one."""
    bursts = [[epoch(*network, number) for network in NETWORKS] for number in range(1, 101)]
    seconds = []
    with RichProgress(console=Console(quiet=True)) as progress:
        for _ in range(3):
            reporter = LogLines() if shown == "log" else TrainingBar(progress)
            callbacks = reporter.start(lambda line: None)
            callbacks.on_start([task(*network) for network in NETWORKS])
            seconds.append(_seconds_of_a_universe(callbacks, bursts))
    assert min(seconds) < 0.2


def test_the_bar_fills_up() -> None:
    with RichProgress(console=Console(quiet=True)) as progress:
        callbacks = TrainingBar(progress).start(lambda line: None)
        tasks = [task("AAPL", None), task("AAPL", 1)]
        callbacks.on_start(tasks)
        for one in tasks:
            callbacks.on_epoch(epoch(one.ticker, one.fold, 4, loss=0.25))
            callbacks.on_result(fitted(one))
        (bar,) = progress.tasks
        assert bar.finished
        assert bar.description == "  2 of 2 networks, validation loss 0.2500"
