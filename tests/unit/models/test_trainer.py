import dataclasses
import threading
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from ldtm_lib.errors import TooFewBars, TrainingDiverged
from ldtm_lib.models.fit import Fit, FitFailed, FitTask, Progress
from ldtm_lib.models.single_fit import fit_alone
from ldtm_lib.models.trainer import fit_universe
from ldtm_lib.settings import ArchitectureConfig, TrainingConfig

Results = dict[str, Fit | FitFailed]


@pytest.fixture
def train(recipe: TrainingConfig, small: ArchitectureConfig) -> Callable[[Sequence[FitTask]], Results]:
    def run(tasks: Sequence[FitTask]) -> Results:
        results = list(fit_universe(tasks, recipe=recipe, architecture=small, device="cpu"))
        assert len(results) == len(tasks)
        return {result.task.name: result for result in results}

    return run


def same_bits(one: Fit | FitFailed, other: Fit | FitFailed) -> bool:
    assert isinstance(one, Fit)
    assert isinstance(other, Fit)
    assert one.validation_losses == other.validation_losses
    return all(torch.equal(one.state[name], other.state[name]) for name in one.state)


def test_a_result_is_the_same_to_the_bit_whoever_trains_beside_it(
    tasks: list[FitTask], train: Callable[[Sequence[FitTask]], Results]
) -> None:
    together = train(tasks)
    assert set(together) == {"IBM fold 0", "IBM fold 1", "IBM final", "GOOG final"}
    backwards = train(tasks[::-1])
    for task in tasks:
        assert same_bits(together[task.name], backwards[task.name])
        assert same_bits(together[task.name], train([task])[task.name])


def test_a_result_is_the_same_to_the_bit_on_any_number_of_cores(
    tasks: list[FitTask], train: Callable[[Sequence[FitTask]], Results]
) -> None:
    num_cores = torch.get_num_threads()
    try:
        results: list[Results] = []
        for given in (1, 4):
            torch.set_num_threads(given)
            results.append(train(tasks))
            assert torch.get_num_threads() == given
    finally:
        torch.set_num_threads(num_cores)
    assert all(same_bits(results[0][task.name], results[1][task.name]) for task in tasks)


def test_training_many_gives_what_training_one_gives(
    tasks: list[FitTask],
    train: Callable[[Sequence[FitTask]], Results],
    recipe: TrainingConfig,
    small: ArchitectureConfig,
) -> None:
    """At 1e-5: alone, a network's sums may be split over several threads and so come in another order."""
    alone = fit_alone(
        tasks[1], recipe=recipe, architecture=small, device=torch.device("cpu"), on_progress=lambda _: None
    )
    found = train(tasks)["IBM fold 1"]
    assert isinstance(found, Fit)
    assert (found.num_epochs, found.best_epoch) == (alone.num_epochs, alone.best_epoch)
    for name, tensor in alone.state.items():
        torch.testing.assert_close(found.state[name], tensor, rtol=0, atol=1e-5)


def test_a_task_that_fails_takes_no_other_with_it(
    tasks: list[FitTask], train: Callable[[Sequence[FitTask]], Results]
) -> None:
    ibm, goog = tasks[0], tasks[3]
    targets = goog.windows.targets.copy()
    targets[goog.training_rows[5], 1] = np.nan
    diverging = dataclasses.replace(goog, windows=dataclasses.replace(goog.windows, targets=targets))
    empty = dataclasses.replace(ibm, fold=7, training_rows=np.empty(0, dtype=np.int64))
    results = train([diverging, empty, ibm])
    reasons = {name: result.reason for name, result in results.items() if isinstance(result, FitFailed)}
    assert set(reasons) == {"GOOG final", "IBM fold 7"}
    assert isinstance(reasons["GOOG final"], TrainingDiverged)
    assert "in epoch 1 the training loss is nan" in str(reasons["GOOG final"])
    assert isinstance(reasons["IBM fold 7"], TooFewBars)
    assert same_bits(results["IBM fold 0"], train([ibm])["IBM fold 0"])


def test_progress_arrives_in_the_callers_thread_before_the_fit_it_belongs_to(
    tasks: list[FitTask], recipe: TrainingConfig, small: ArchitectureConfig
) -> None:
    epochs: dict[tuple[str, int | None], list[int]] = {}
    callers: set[threading.Thread] = set()

    def note(progress: Progress) -> None:
        callers.add(threading.current_thread())
        epochs.setdefault((progress.ticker, progress.fold), []).append(progress.epoch)

    for result in fit_universe(tasks, recipe=recipe, architecture=small, device="cpu", on_progress=note):
        assert epochs[result.task.ticker, result.task.fold] == [1, 2, 3]
    assert len(epochs) == len(tasks)
    assert callers == {threading.current_thread()}


def test_whoever_stops_listening_stops_the_training(tasks: list[FitTask], small: ArchitectureConfig) -> None:
    long = TrainingConfig(max_epochs=100_000, patience=100_000)
    short = dataclasses.replace(tasks[0], validation_rows=np.empty(0, dtype=np.int64))
    threads, num_cores = threading.active_count(), torch.get_num_threads()
    fits = fit_universe([short, *tasks], recipe=long, architecture=small, device="cpu", on_progress=Stop().after_three)
    with pytest.raises(KeyboardInterrupt):
        list(fits)
    assert threading.active_count() == threads
    assert torch.get_num_threads() == num_cores


class Stop:
    """Interrupts at the third epoch that it hears of."""

    def __init__(self) -> None:
        self.num_epochs = 0

    def after_three(self, progress: Progress) -> None:
        self.num_epochs += 1
        if self.num_epochs == 3:
            raise KeyboardInterrupt


def test_a_mistake_in_the_program_is_not_taken_for_a_failed_ticker(
    tasks: list[FitTask], recipe: TrainingConfig, small: ArchitectureConfig
) -> None:
    def narrow(task: FitTask) -> FitTask:
        inputs = np.ascontiguousarray(task.windows.inputs[:, :10])
        low, span = task.windows.low[:, :10], task.windows.span[:, :10]
        return dataclasses.replace(task, windows=dataclasses.replace(task.windows, inputs=inputs, low=low, span=span))

    with pytest.raises(RuntimeError, match="input"):
        list(fit_universe([narrow(task) for task in tasks], recipe=recipe, architecture=small, device="cpu"))


def test_no_tasks_give_no_fits(recipe: TrainingConfig, small: ArchitectureConfig) -> None:
    assert list(fit_universe([], recipe=recipe, architecture=small, device="cpu")) == []
