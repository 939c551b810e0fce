"""The memory formula against what a training really allocates, counted storage by storage."""

import weakref
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.models.fit import FitTask
from ldtm_lib.models.fused.memory import CUDA_LIBRARIES_MIB, MIB, ROUNDING_MIB, plan_memory
from ldtm_lib.models.fused.trainer import fit_fused
from ldtm_lib.settings import ArchitectureConfig, GpuConfig, TrainingConfig

pytestmark = pytest.mark.slow


class LiveMemory(TorchDispatchMode):
    """Counts the bytes of all storages that operations make within it, while they live."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.sizes:
                    self.sizes[storage._cdata] = storage.nbytes()
                    weakref.finalize(storage, self.sizes.pop, storage._cdata)
        self.peak = max(self.peak, sum(self.sizes.values()))
        return result


@pytest.mark.parametrize("half_precision", [False, True])
@pytest.mark.parametrize(("num_tasks", "batch_size"), [(1, 16), (6, 16), (3, 64)])
def test_fused_networks_take_the_memory_that_the_formula_says(
    windows: dict[str, WindowSet], num_tasks: int, batch_size: int, half_precision: bool
) -> None:
    """Within 5%, for the default network; a GPU is allowed 15%, for what its libraries keep."""
    recipe = TrainingConfig(batch_size=batch_size, max_epochs=1)
    tasks = [
        FitTask(
            ticker=f"T{at}",
            fold=None,
            windows=windows["IBM"],
            training_rows=np.arange(batch_size + 1),
            validation_rows=np.arange(200, 200 + 9),
        )
        for at in range(num_tasks)
    ]
    plan = plan_memory(
        tasks,
        recipe=recipe,
        architecture=ArchitectureConfig(),
        budget_mib=600,
        half_precision=half_precision,
        kernels=False,
    )
    assert plan.num_networks == num_tasks
    with LiveMemory() as memory:
        for result in fit_fused(
            tasks,
            recipe=recipe,
            architecture=ArchitectureConfig(),
            device=torch.device("cpu"),
            gpu=GpuConfig(mib_per_job=600),
            on_progress=lambda _: None,
            half_precision=half_precision,
        ):
            del result
    measured = memory.peak / MIB
    assert measured == pytest.approx(plan.peak_mib - CUDA_LIBRARIES_MIB, rel=0.05)


@pytest.mark.parametrize("budget_mib", [150, 200, 600, 1200])
def test_more_networks_are_fused_with_a_larger_budget_and_never_more_than_fit(
    windows: dict[str, WindowSet], budget_mib: int
) -> None:
    tasks = [
        FitTask(
            ticker=f"T{at}",
            fold=None,
            windows=of_ticker,
            training_rows=np.arange(1800),
            validation_rows=np.arange(1900, 2000),
        )
        for at in range(100)
        for of_ticker in windows.values()
    ]
    plan = plan_memory(
        tasks,
        recipe=TrainingConfig(),
        architecture=ArchitectureConfig(),
        budget_mib=budget_mib,
        half_precision=True,
        kernels=True,
    )
    assert plan.windows_on_device
    left = budget_mib - ROUNDING_MIB - plan.peak_mib
    assert 0 <= left < 11, "there is no room for one more, of 10.3 MiB"


def test_windows_stay_on_the_host_when_they_would_take_more_than_a_quarter_of_the_budget(
    windows: dict[str, WindowSet],
) -> None:
    def on_device(copies: int) -> bool:
        distinct = [
            FitTask(
                ticker=f"T{at}",
                fold=None,
                windows=windows["IBM"].known_by(windows["IBM"].sessions[-1 - at].item()),
                training_rows=np.arange(500),
                validation_rows=np.arange(600, 650),
            )
            for at in range(copies)
        ]
        return plan_memory(
            distinct,
            recipe=TrainingConfig(),
            architecture=ArchitectureConfig(),
            budget_mib=120,
            half_precision=True,
            kernels=True,
        ).windows_on_device

    assert on_device(20)
    assert not on_device(80)
