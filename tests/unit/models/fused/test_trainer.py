"""Networks trained at once against the same ones trained alone by the plain reference, and against each other."""

import dataclasses
import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ldtm_lib.errors import ConfigurationError, TooFewBars, TrainingDiverged
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.models.cpu import one_thread_each
from ldtm_lib.models.fit import Fit, FitFailed, FitTask, Progress
from ldtm_lib.models.forecast import predict
from ldtm_lib.models.fused import memory as fused_memory
from ldtm_lib.models.fused.fit import FusedFit
from ldtm_lib.models.fused.kernels.interface import REFERENCE, Operations
from ldtm_lib.models.fused.network import FusedNetwork
from ldtm_lib.models.fused.state import FusedState
from ldtm_lib.models.fused.step_graphs import captured_size, captured_sizes
from ldtm_lib.models.fused.trainer import OutOfDeviceMemory, fit_fused
from ldtm_lib.models.fused.windows import distinct_windows, tables_of
from ldtm_lib.models.single_fit import fit_alone
from ldtm_lib.settings import ArchitectureConfig, GpuConfig, TrainingConfig

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
Results = dict[str, Fit | FitFailed]
ROOMY = GpuConfig(mib_per_job=600)


def named(windows: WindowSet, ticker: str, *, num_rows: int, first: int = 0, fold: int | None = None) -> FitTask:
    """A task of its own name, hence of its own seed, on some of a ticker's rows."""
    last = first + num_rows
    return FitTask(
        ticker=ticker,
        fold=fold,
        windows=windows,
        training_rows=np.arange(first, last),
        validation_rows=np.arange(last + 30, last + 30 + max(5, num_rows // 8)),
    )


def fused(
    tasks: Sequence[FitTask],
    recipe: TrainingConfig,
    architecture: ArchitectureConfig,
    *,
    gpu: GpuConfig = ROOMY,
    half_precision: bool = False,
    on_progress: Callable[[Progress], None] = lambda _: None,
    operations: Operations = REFERENCE,
) -> Results:
    with one_thread_each():
        results = list(
            fit_fused(
                tasks,
                recipe=recipe,
                architecture=architecture,
                device=CPU,
                gpu=gpu,
                on_progress=on_progress,
                operations=operations,
                half_precision=half_precision,
            )
        )
    assert len(results) == len(tasks)
    return {result.task.name: result for result in results}


def alone(task: FitTask, recipe: TrainingConfig, architecture: ArchitectureConfig) -> Fit:
    with one_thread_each():
        return fit_alone(task, recipe=recipe, architecture=architecture, device=CPU, on_progress=lambda _: None)


def fit_of(result: Fit | FitFailed) -> Fit:
    assert isinstance(result, Fit), result.reason
    return result


def same_bits(one: Fit | FitFailed, other: Fit | FitFailed) -> bool:
    one, other = fit_of(one), fit_of(other)
    assert one.training_losses == other.training_losses
    assert one.validation_losses == other.validation_losses
    return all(torch.equal(one.state[name], other.state[name]) for name in one.state)


@pytest.fixture(scope="session")
def universe(windows: dict[str, WindowSet]) -> list[FitTask]:
    """103 networks of ragged histories, folds among them."""
    choice = random.Random(7)
    return [
        named(
            windows[choice.choice(["IBM", "GOOG"])],
            f"T{at // 2:03}",
            num_rows=choice.choice([20, 33, 64, 150, 151, 300]),
            first=choice.randrange(1000),
            fold=None if at % 2 else 1,
        )
        for at in range(103)
    ]


def test_a_network_fused_with_102_others_equals_the_same_network_trained_alone(
    universe: list[FitTask], small: ArchitectureConfig
) -> None:
    """After five epochs in float32: losses to 1e-6, weights to 1e-5, the same best epoch."""
    recipe = TrainingConfig(batch_size=32, max_epochs=5, learning_rate=3e-3)
    together = fused(universe, recipe, small)
    assert len(together) == 103
    for task in universe[::4]:
        reference, found = alone(task, recipe, small), fit_of(together[task.name])
        assert (found.num_epochs, found.best_epoch) == (reference.num_epochs, reference.best_epoch)
        assert found.training_losses == pytest.approx(reference.training_losses, abs=1e-6)
        assert found.validation_losses == pytest.approx(reference.validation_losses, abs=1e-6)
        for name, tensor in reference.state.items():
            torch.testing.assert_close(found.state[name], tensor, rtol=0, atol=1e-5)


def test_the_default_network_on_long_and_short_histories_equals_the_reference(windows: dict[str, WindowSet]) -> None:
    """Hidden 128; 30 rows beside 450. 1e-5 on the weights after three epochs in float32."""
    recipe = TrainingConfig(max_epochs=3)
    tasks = [named(windows["IBM"], "LONG", num_rows=450), named(windows["GOOG"], "SHORT", num_rows=30)]
    found = fused(tasks, recipe, ArchitectureConfig())
    for task in tasks:
        reference = alone(task, recipe, ArchitectureConfig())
        for name, tensor in reference.state.items():
            torch.testing.assert_close(fit_of(found[task.name]).state[name], tensor, rtol=0, atol=1e-5)


@settings(max_examples=12)
@given(data=st.data())
def test_adding_removing_or_reordering_other_networks_changes_nothing(
    universe: list[FitTask], small: ArchitectureConfig, data: st.DataObject
) -> None:
    """To the bit, on one core of a CPU, however many fit in at once."""
    recipe = TrainingConfig(batch_size=32, max_epochs=6, learning_rate=0.01, patience=2)
    probe = universe[5]
    others = data.draw(st.lists(st.sampled_from(universe), unique_by=id, max_size=7))
    company = data.draw(st.permutations([probe, *(task for task in others if task is not probe)]))
    budget = data.draw(st.sampled_from([61, 65, 600]))
    beside = fused(company, recipe, small, gpu=GpuConfig(mib_per_job=budget))
    assert same_bits(beside[probe.name], fused([probe], recipe, small)[probe.name])


def test_each_network_stops_by_itself_and_keeps_its_best_weights(
    universe: list[FitTask], small: ArchitectureConfig
) -> None:
    recipe = TrainingConfig(batch_size=16, max_epochs=30, learning_rate=0.02, patience=3, max_target_move=1e3)
    together = fused(universe[:8], recipe, small)
    lengths = {fit_of(result).num_epochs for result in together.values()}
    assert len(lengths) > 1
    assert min(lengths) < 30
    for task in universe[:8]:
        fit = fit_of(together[task.name])
        assert fit.num_epochs in {fit.best_epoch + 3, 30}
        assert fit.validation_loss == min(fit.validation_losses) == fit.validation_losses[fit.best_epoch - 1]
        prices = predict(fit.state, task.windows, task.validation_rows, small, "cpu")
        low, high = (getattr(task.windows, name)[task.validation_rows, None] for name in ("close_min", "close_max"))
        error = (prices - task.windows.target_prices[task.validation_rows]) / (high - low)
        assert fit.horizon_errors == pytest.approx(np.mean(error**2, axis=0).tolist(), rel=1e-5)


def test_a_network_that_diverges_fails_alone(universe: list[FitTask], small: ArchitectureConfig) -> None:
    recipe = TrainingConfig(batch_size=32, max_epochs=3)
    well, ill, empty = universe[0], universe[1], dataclasses.replace(universe[2], training_rows=np.arange(0))
    targets = ill.windows.targets.copy()
    targets[ill.training_rows[3], 2] = np.nan
    ill = dataclasses.replace(ill, windows=dataclasses.replace(ill.windows, targets=targets))
    results = fused([ill, well, empty], recipe, small)
    reasons = {name: type(result.reason) for name, result in results.items() if isinstance(result, FitFailed)}
    assert reasons == {ill.name: TrainingDiverged, empty.name: TooFewBars}
    assert same_bits(results[well.name], fused([well], recipe, small)[well.name])


@pytest.mark.parametrize("half_precision", [False, True])
def test_inputs_that_are_no_numbers_do_not_reach_the_padding_of_other_networks(
    universe: list[FitTask], windows: dict[str, WindowSet], small: ArchitectureConfig, half_precision: bool
) -> None:
    """The first window of all is ill, which is where an order that is filled up with zeros points to.

    Losses to 1e-4: some CPUs round products in float16 by the number of networks.
    """
    recipe = TrainingConfig(batch_size=32, max_epochs=3)
    goog = windows["GOOG"]
    inputs = goog.inputs.copy()
    inputs[goog.ends[0] - 5] = np.nan
    ill = named(dataclasses.replace(goog, inputs=inputs), "ILL", num_rows=100)
    well = named(windows["IBM"], "WELL", num_rows=45)
    results = fused([ill, well], recipe, small, half_precision=half_precision)
    assert isinstance(results[ill.name], FitFailed)
    by_itself = fit_of(fused([well], recipe, small, half_precision=half_precision)[well.name])
    assert fit_of(results[well.name]).validation_losses == pytest.approx(by_itself.validation_losses, rel=1e-4)


def test_half_precision_comes_to_the_same_losses_and_forecasts(
    universe: list[FitTask], small: ArchitectureConfig
) -> None:
    """Within 5% of the validation loss and 0.5% of the price: a network whose gradients overflow at the first loss
    scale skips a step, which is one of 15 here; float16 itself has three digits."""
    recipe = TrainingConfig(batch_size=32, max_epochs=3, learning_rate=3e-3)
    tasks = [task for task in universe if len(task.training_rows) >= 150][:4]
    halves, singles = fused(tasks, recipe, small, half_precision=True), fused(tasks, recipe, small)
    for task in tasks:
        half, single = fit_of(halves[task.name]), fit_of(singles[task.name])
        assert half.validation_losses != single.validation_losses, "the precision makes a difference"
        assert half.validation_loss == pytest.approx(single.validation_loss, rel=0.05)
        forecasts = [predict(fit.state, task.windows, task.validation_rows, small, "cpu") for fit in (half, single)]
        np.testing.assert_allclose(forecasts[0], forecasts[1], rtol=5e-3)


def test_an_overflow_under_half_precision_skips_the_steps_of_that_network_alone(
    universe: list[FitTask], small: ArchitectureConfig
) -> None:
    """Targets of 50 times their size overflow at the first scale of 65,536, and train at a lower one."""
    recipe = TrainingConfig(batch_size=32, max_epochs=4, learning_rate=3e-3)
    well, wild = [task for task in universe if len(task.training_rows) >= 150][:2]
    wild = dataclasses.replace(
        wild, windows=dataclasses.replace(wild.windows, targets=wild.windows.targets * np.float32(50))
    )
    results = fused([well, wild], recipe, small, half_precision=True)
    assert same_bits(results[well.name], fused([well], recipe, small, half_precision=True)[well.name])
    assert fit_of(results[wild.name]).validation_losses[-1] < fit_of(results[wild.name]).validation_losses[0]


@pytest.mark.parametrize(
    "shortage",
    [
        torch.OutOfMemoryError("CUDA out of memory.\nmore"),
        torch.AcceleratorError("CUDA error: out of memory.\nmore"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`.\nmore"),
    ],
    ids=["allocator", "driver", "library"],
)
def test_running_out_of_memory_halves_the_number_of_networks_and_keeps_results(
    universe: list[FitTask], small: ArchitectureConfig, shortage: RuntimeError
) -> None:
    recipe = TrainingConfig(batch_size=32, max_epochs=3, learning_rate=3e-3)
    tasks = universe[:9]
    sizes: list[int] = []

    def fitted_with(most: int) -> Results:
        def gather(*buffers: torch.Tensor) -> None:
            num_networks = len(buffers[-1])
            sizes.append(num_networks)
            if num_networks > most:
                raise shortage
            REFERENCE.gather_windows(*buffers)

        return fused(tasks, recipe, small, operations=dataclasses.replace(REFERENCE, gather_windows=gather))

    halved = fitted_with(2)
    assert max(sizes) == 9
    assert {9, 4, 2} <= set(sizes)
    plenty = fused(tasks, recipe, small)
    assert all(same_bits(halved[task.name], plenty[task.name]) for task in tasks)
    with pytest.raises(OutOfDeviceMemory, match=r"no room for one network: CUDA .+\. Lower \[gpu\]"):
        fitted_with(0)


def test_running_out_of_memory_halfway_trains_nobody_twice_to_the_end(
    universe: list[FitTask], small: ArchitectureConfig
) -> None:
    recipe = TrainingConfig(batch_size=16, max_epochs=30, learning_rate=0.02, patience=3)
    ended: list[str] = []
    shortages = 0

    def gather(*buffers: torch.Tensor) -> None:
        nonlocal shortages
        if ended and not shortages:
            shortages += 1
            raise torch.OutOfMemoryError("CUDA out of memory.")
        REFERENCE.gather_windows(*buffers)

    with one_thread_each():
        for result in fit_fused(
            universe[:8],
            recipe=recipe,
            architecture=small,
            device=CPU,
            gpu=ROOMY,
            on_progress=lambda _: None,
            operations=dataclasses.replace(REFERENCE, gather_windows=gather),
        ):
            ended.append(result.task.name)  # noqa: PERF401  seen while the training goes on
    assert shortages == 1
    assert sorted(ended) == sorted(task.name for task in universe[:8])


def test_networks_that_a_step_computes_for_nothing_are_left_alone(
    universe: list[FitTask], small: ArchitectureConfig
) -> None:
    """A captured step is of few sizes, so that it runs over networks whose epoch is over and over empty places."""
    recipe = TrainingConfig(batch_size=16, max_epochs=8, learning_rate=0.02, patience=2)
    tasks = universe[:11]
    found: list[Results] = []
    for size_of in (lambda m: m, lambda m: captured_size(m, 11)):

        def run_step(step: Callable[[int], None], m: int, size_of: Callable[[int], int] = size_of) -> None:
            step(size_of(m))

        with one_thread_each():
            fits = FusedFit(state_of(tasks, recipe, small), tasks, run_step=run_step).results(lambda _: None)
            found.append({fit.task.name: fit for fit in fits})
    assert all(same_bits(found[0][task.name], found[1][task.name]) for task in tasks)


@pytest.mark.parametrize("num_networks", [1, 2, 7, 8, 9, 46, 103, 515])
def test_few_numbers_of_networks_are_captured_and_none_is_too_small(num_networks: int) -> None:
    sizes = {m: captured_size(m, num_networks) for m in range(1, num_networks + 1)}
    assert all(m <= size <= num_networks for m, size in sizes.items())
    assert captured_sizes(num_networks) == sorted(set(sizes.values()), reverse=True), "all are warmed up beforehand"
    assert len(captured_sizes(num_networks)) <= 8


def state_of(tasks: Sequence[FitTask], recipe: TrainingConfig, architecture: ArchitectureConfig) -> FusedState:
    """A state with a slot for every task."""
    network = FusedNetwork(
        architecture,
        REFERENCE,
        num_networks=len(tasks),
        batch_size=recipe.batch_size,
        window_sessions=30,
        delta=recipe.huber_delta,
        dtype=torch.float32,
        device=CPU,
    )
    return FusedState(
        network,
        tables_of(distinct_windows(tasks), CPU, recipe=recipe, architecture=architecture),
        recipe,
        windows_on_device=True,
        max_training_rows=max(len(task.training_rows) for task in tasks),
        max_validation_rows=max(len(task.validation_rows) for task in tasks),
    )


def test_windows_on_the_host_give_the_same(
    universe: list[FitTask], small: ArchitectureConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = TrainingConfig(batch_size=32, max_epochs=2)
    tasks = universe[:3]
    on_device = fused(tasks, recipe, small)
    monkeypatch.setattr(fused_memory, "TABLES_SHARE", 0.0)
    on_host = fused(tasks, recipe, small)
    assert all(same_bits(on_host[task.name], on_device[task.name]) for task in tasks)


def test_a_budget_without_room_for_one_network_is_refused(universe: list[FitTask]) -> None:
    with pytest.raises(ConfigurationError, match=r"mib_per_job is 50; one network at batch size 64 needs 83 MiB"):
        fused(universe[:1], TrainingConfig(), ArchitectureConfig(), gpu=GpuConfig(mib_per_job=50))


def test_every_epoch_of_every_network_is_reported_and_seconds_add_up(
    universe: list[FitTask], small: ArchitectureConfig
) -> None:
    recipe = TrainingConfig(batch_size=32, max_epochs=3)
    epochs: dict[tuple[str, int | None], list[int]] = {}

    def note(progress: Progress) -> None:
        epochs.setdefault((progress.ticker, progress.fold), []).append(progress.epoch)

    results = fused(universe[:5], recipe, small, on_progress=note)
    assert list(epochs.values()) == [[1, 2, 3]] * 5
    longest = max(results.values(), key=lambda result: len(result.task.training_rows))
    assert all(0 < fit_of(result).duration_seconds <= fit_of(longest).duration_seconds for result in results.values())
