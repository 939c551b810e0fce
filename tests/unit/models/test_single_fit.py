import dataclasses
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ldtm_lib.errors import TooFewBars, TrainingDiverged
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.models.cpu import one_thread_each
from ldtm_lib.models.fit import Fit, FitTask, Progress
from ldtm_lib.models.lstm import initial_state, network_of
from ldtm_lib.models.single_fit import EarlyStopping, fit_alone, learning_rate, seed_of
from ldtm_lib.settings import ArchitectureConfig, TrainingConfig

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_core() -> Iterator[None]:
    """As the trainer runs it; threads that wait for each other make these small networks slow on a busy machine."""
    with one_thread_each():
        yield


def fitted(task: FitTask, recipe: TrainingConfig, architecture: ArchitectureConfig) -> Fit:
    return fit_alone(task, recipe=recipe, architecture=architecture, device=CPU, on_progress=lambda _: None)


def examples(task: FitTask, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(task.windows.gather(rows)), torch.from_numpy(task.windows.targets[rows])


def test_training_is_adamw_on_the_huber_loss_with_cosine_annealing(
    tasks: list[FitTask], recipe: TrainingConfig, small: ArchitectureConfig
) -> None:
    """Against PyTorch's own loop, scheduler and unfused optimizer; 1e-4 is what float32 drifts in 15 steps."""
    task = tasks[0]
    generator = torch.Generator().manual_seed(seed_of(task.ticker, task.fold, recipe.seed))
    network = network_of(initial_state(small, generator), small)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    annealing = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=3 * math.ceil(150 / 32))
    inputs, targets = examples(task, task.training_rows)
    units = (targets - inputs[:, -1, 3, None]).square().mean(0).sqrt()
    for _ in range(recipe.max_epochs):
        order = torch.randperm(150, generator=generator)
        for first in range(0, 150, 32):
            batch = order[first : first + 32]
            optimizer.zero_grad()
            errors = (network(inputs[batch]) - targets[batch]) / units
            torch.where(errors.abs() < 1, errors**2, 2 * errors.abs() - 1).mean().backward()
            optimizer.step()
            annealing.step()
    best_is_last = dataclasses.replace(task, validation_rows=task.training_rows)
    state = fitted(best_is_last, recipe, small).state
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=1e-4)


def test_the_best_epochs_weights_are_kept_not_the_last(tasks: list[FitTask], small: ArchitectureConfig) -> None:
    """1e-6: the same mean in float32 and in another order."""
    restless = TrainingConfig(batch_size=16, max_epochs=40, learning_rate=0.02, patience=4)
    fit = fitted(tasks[2], restless, small)
    assert fit.best_epoch < fit.num_epochs
    assert fit.validation_loss == min(fit.validation_losses) == fit.validation_losses[fit.best_epoch - 1]
    assert fit.num_epochs == len(fit.training_losses) == len(fit.validation_losses) == fit.best_epoch + 4 < 40
    inputs, targets = examples(tasks[2], tasks[2].validation_rows)
    with torch.inference_mode():
        errors = ((network_of(fit.state, small)(inputs) - targets) ** 2).mean(0).tolist()
    assert errors == pytest.approx(fit.horizon_errors, abs=1e-6)


def test_a_network_learns_more_than_the_mean_of_its_targets(tasks: list[FitTask], small: ArchitectureConfig) -> None:
    task = tasks[2]
    fit = fitted(task, TrainingConfig(batch_size=32, max_epochs=15, learning_rate=0.01), small)
    mean = task.windows.targets[task.training_rows].mean(axis=0)
    of_the_mean = float(((task.windows.targets[task.validation_rows] - mean) ** 2).mean())
    assert np.mean(fit.horizon_errors) < 0.8 * of_the_mean
    assert fit.training_losses[-1] < 0.9 * fit.training_losses[0]


def test_nothing_but_its_own_rows_reaches_a_network(
    tasks: list[FitTask], recipe: TrainingConfig, small: ArchitectureConfig
) -> None:
    """IBM's fold 0 learns from rows 0 to 149 and is watched by 180 to 239; other labels and later bars are altered."""
    task = tasks[0]
    own = np.union1d(task.training_rows, task.validation_rows)
    targets = np.full_like(task.windows.targets, 1e6)
    targets[own] = task.windows.targets[own]
    inputs = task.windows.inputs.copy()
    inputs[task.windows.ends[own.max()] + 1 :] *= 3
    altered = dataclasses.replace(task, windows=dataclasses.replace(task.windows, targets=targets, inputs=inputs))
    expected, found = fitted(task, recipe, small), fitted(altered, recipe, small)
    assert same_bits(expected, found)
    assert expected.validation_losses == found.validation_losses


def test_the_seed_the_fold_and_the_ticker_choose_the_path(
    tasks: list[FitTask], recipe: TrainingConfig, small: ArchitectureConfig
) -> None:
    task = tasks[0]
    others = [
        fitted(task, recipe.replace(seed=1), small),
        fitted(dataclasses.replace(task, fold=None), recipe, small),
        fitted(dataclasses.replace(task, ticker="XYZ"), recipe, small),
    ]
    assert not any(same_bits(fitted(task, recipe, small), other) for other in others)


def test_the_process_wide_generator_neither_matters_nor_moves(
    tasks: list[FitTask], recipe: TrainingConfig, small: ArchitectureConfig
) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = fitted(tasks[0], recipe, small)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert same_bits(first, fitted(tasks[0], recipe, small))


def test_every_epoch_is_reported(tasks: list[FitTask], recipe: TrainingConfig, small: ArchitectureConfig) -> None:
    seen: list[Progress] = []
    fit = fit_alone(tasks[1], recipe=recipe, architecture=small, device=CPU, on_progress=seen.append)
    assert [progress.epoch for progress in seen] == [1, 2, 3]
    assert tuple(progress.validation_loss for progress in seen) == fit.validation_losses
    assert tuple(progress.training_loss for progress in seen) == fit.training_losses
    assert seen[-1].best_validation_loss == fit.validation_loss
    assert {(p.ticker, p.fold, p.max_epochs) for p in seen} == {("IBM", 1, 3)}


def test_a_rate_far_too_high_is_named_as_the_reason(tasks: list[FitTask], small: ArchitectureConfig) -> None:
    wild = TrainingConfig(learning_rate=1e30, max_epochs=3)
    with pytest.raises(
        TrainingDiverged, match=r"IBM fold 0: in epoch 1 .* lower \[training\] learning_rate, now 1e\+30"
    ):
        fitted(tasks[0], wild, small)


@pytest.mark.parametrize("kind", ["training", "validation"])
def test_a_task_without_rows_is_refused(
    windows: dict[str, WindowSet], tasks: list[FitTask], small: ArchitectureConfig, kind: str
) -> None:
    empty = dataclasses.replace(tasks[3], **{f"{kind}_rows": np.empty(0, dtype=np.int64)})
    with pytest.raises(TooFewBars, match=f"GOOG final has no {kind} rows; give GOOG more bars"):
        fitted(empty, TrainingConfig(), small)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_half_precision_on_a_gpu_reaches_the_loss_of_float32_on_a_cpu(
    tasks: list[FitTask], small: ArchitectureConfig
) -> None:
    """5%: FP16 rounds at 1e-3 and the paths part; both end at the same kind of minimum."""
    recipe = TrainingConfig(batch_size=32, max_epochs=10, learning_rate=3e-3)
    on_gpu = fit_alone(
        tasks[2], recipe=recipe, architecture=small, device=torch.device("cuda"), on_progress=lambda _: None
    )
    assert on_gpu.validation_loss == pytest.approx(fitted(tasks[2], recipe, small).validation_loss, rel=0.05)
    assert {tensor.device.type for tensor in on_gpu.state.values()} == {"cpu"}


def same_bits(one: Fit, other: Fit) -> bool:
    return all(torch.equal(one.state[name], other.state[name]) for name in one.state)


def test_a_seed_never_changes_between_releases() -> None:
    """The digits of `printf 'AAPL|final|0' | sha256sum`, first 16, shifted right by one bit."""
    assert seed_of("AAPL", None, 0) == 4614945752584801242


def test_ticker_fold_and_seed_all_matter() -> None:
    names = [(ticker, fold, seed) for ticker in ("AAPL", "IBM") for fold in (None, 0, 1) for seed in (0, 1)]
    assert len({seed_of(*name) for name in names}) == len(names)


def test_the_rate_falls_along_half_a_cosine() -> None:
    recipe = TrainingConfig(max_epochs=10, learning_rate=0.004)
    assert learning_rate(recipe, 0, 8) == 0.004
    assert learning_rate(recipe, 40, 8) == pytest.approx(0.002)
    assert learning_rate(recipe, 20, 8) == pytest.approx(0.002 * (1 + math.sqrt(0.5)))
    assert learning_rate(recipe, 80, 8) == pytest.approx(0, abs=1e-18)


@given(max_epochs=st.integers(1, 200), steps_per_epoch=st.integers(1, 100), at=st.floats(0, 1, exclude_max=True))
def test_the_rate_is_positive_and_falls_with_every_step(max_epochs: int, steps_per_epoch: int, at: float) -> None:
    recipe = TrainingConfig(max_epochs=max_epochs)
    step = int(at * max_epochs * steps_per_epoch)
    assert 0 < learning_rate(recipe, step, steps_per_epoch) <= recipe.learning_rate
    assert learning_rate(recipe, step + 1, steps_per_epoch) < learning_rate(recipe, step, steps_per_epoch)


def test_patience_runs_out_after_that_many_epochs_without_anything_better() -> None:
    stopping = EarlyStopping(patience=2)
    taken = [(stopping.improves(loss), stopping.exhausted) for loss in (0.5, 0.6, 0.4, 0.4, 0.41)]
    assert taken == [(True, False), (False, False), (True, False), (False, False), (False, True)]
    assert (stopping.best_epoch, stopping.best_loss, stopping.epoch) == (3, 0.4, 5)


@given(losses=st.lists(st.floats(0, 1), min_size=1, max_size=30), patience=st.integers(1, 5))
def test_the_best_epoch_is_the_first_lowest_before_the_stop(losses: list[float], patience: int) -> None:
    stopping = EarlyStopping(patience=patience)
    seen: list[float] = []
    for loss in losses:
        seen.append(loss)
        stopping.improves(loss)
        if stopping.exhausted:
            break
    assert stopping.best_loss == min(seen)
    assert stopping.best_epoch == seen.index(min(seen)) + 1
    assert stopping.exhausted == (len(seen) - stopping.best_epoch >= patience)
