"""Training of many networks at once on a GPU: kernels, graphs, float16 and memory together."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from ldtm_lib.errors import TrainingDiverged
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.models.fit import Fit, FitFailed, FitTask
from ldtm_lib.models.forecast import predict
from ldtm_lib.models.fused.kernels.interface import REFERENCE, Operations, operations_for
from ldtm_lib.models.fused.memory import plan_memory
from ldtm_lib.models.fused.trainer import fit_fused
from ldtm_lib.models.single_fit import fit_alone
from ldtm_lib.settings import ArchitectureConfig, GpuConfig, TrainingConfig

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
CUDA, CPU = torch.device("cuda"), torch.device("cpu")
SHAPE = ArchitectureConfig()
RECIPE = TrainingConfig(max_epochs=5)


@pytest.fixture(scope="module")
def ragged(windows: dict[str, WindowSet]) -> list[FitTask]:
    """Twenty networks on 64 to 1,500 rows."""
    sets = list(windows.values())
    return [
        FitTask(
            ticker=f"T{at:02}",
            fold=None,
            windows=sets[at % 2],
            training_rows=np.arange(64 + 75 * at),
            validation_rows=np.arange(1600, 1660 + at),
        )
        for at in range(20)
    ]


def on_gpu(
    tasks: Sequence[FitTask], *, mib: int = 1200, operations: Operations | None = None, recipe: TrainingConfig = RECIPE
) -> dict[str, Fit | FitFailed]:
    results = fit_fused(
        tasks,
        recipe=recipe,
        architecture=SHAPE,
        device=CUDA,
        gpu=GpuConfig(mib_per_job=mib),
        on_progress=lambda _: None,
        operations=operations,
    )
    return {result.task.ticker: result for result in results}


def fit_of(result: Fit | FitFailed) -> Fit:
    assert isinstance(result, Fit), result.reason
    return result


@pytest.mark.parametrize("with_kernels", [True, False])
def test_fused_networks_in_half_precision_equal_the_reference_in_single(
    ragged: list[FitTask], with_kernels: bool
) -> None:
    """Validation losses within 3%, forecasts within 0.5% of the price, after five epochs."""
    found = on_gpu(ragged, operations=operations_for(CUDA, SHAPE) if with_kernels else REFERENCE)
    for task in ragged[::6]:
        reference = fit_alone(task, recipe=RECIPE, architecture=SHAPE, device=CPU, on_progress=lambda _: None)
        fit = fit_of(found[task.ticker])
        assert fit.validation_loss == pytest.approx(reference.validation_loss, rel=0.03)
        prices = [predict(each.state, task.windows, task.validation_rows, SHAPE, "cpu") for each in (fit, reference)]
        np.testing.assert_allclose(prices[0], prices[1], rtol=5e-3)


def test_other_networks_change_next_to_nothing(ragged: list[FitTask]) -> None:
    """Batched products of another size may add up in another order: losses within 1%."""
    together, two = on_gpu(ragged), on_gpu([ragged[3], ragged[11]])
    for task in (ragged[3], ragged[11]):
        assert fit_of(two[task.ticker]).validation_loss == pytest.approx(
            fit_of(together[task.ticker]).validation_loss, rel=0.01
        )


def test_a_network_that_diverges_fails_alone(ragged: list[FitTask]) -> None:
    targets = ragged[4].windows.targets.copy()
    targets[3] = np.nan
    ill = dataclasses.replace(ragged[4], windows=dataclasses.replace(ragged[4].windows, targets=targets))
    results = on_gpu([ragged[3], ill, ragged[5]])
    failed = results[ill.ticker]
    assert isinstance(failed, FitFailed)
    assert isinstance(failed.reason, TrainingDiverged)
    assert all(np.isfinite(fit_of(results[task.ticker]).validation_loss) for task in (ragged[3], ragged[5]))


@pytest.mark.parametrize("mib", [150, 600])
def test_the_peak_is_what_the_formula_says_and_within_the_budget(ragged: list[FitTask], mib: int) -> None:
    """Within 15%."""
    plan = plan_memory(
        ragged,
        recipe=RECIPE,
        architecture=SHAPE,
        budget_mib=mib,
        half_precision=True,
        kernels=operations_for(CUDA, SHAPE) is not REFERENCE,
    )
    peaks = [fit_of(result).vram_peak_mib for result in on_gpu(ragged, mib=mib).values()]
    peak = max(peak for peak in peaks if peak is not None)
    assert peak <= mib
    assert peak == pytest.approx(plan.peak_mib, rel=0.15)


def test_a_neighbour_that_takes_the_memory_costs_places_not_networks(ragged: list[FitTask]) -> None:
    """Twenty networks need about 245 MiB, half of them 140."""
    free = torch.cuda.mem_get_info(CUDA)[0]
    neighbour = torch.empty(free - 220 * 2**20, dtype=torch.uint8, device=CUDA)
    try:
        results = on_gpu(ragged, mib=600)
    finally:
        del neighbour
        torch.cuda.empty_cache()
    assert all(isinstance(result, Fit) for result in results.values())
