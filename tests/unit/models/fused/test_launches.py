"""The number of kernels that one step launches, counted without a GPU.

Each operation with a Triton kernel is one launch, for which a function that only counts stands here. Each operation of
PyTorch that makes or changes a tensor is counted as one, though on CUDA some of them are several; views are none.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.models.fused.kernels.interface import Operations
from ldtm_lib.models.fused.network import FusedNetwork
from ldtm_lib.models.fused.state import FusedState
from ldtm_lib.models.fused.windows import tables_of
from ldtm_lib.settings import ArchitectureConfig, TrainingConfig

CPU = torch.device("cpu")
TRAINING, VALIDATION = 18, 7


class Launches(TorchDispatchMode):
    """Counts the operations of PyTorch within it that are no views, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        aliases = [returned.alias_info for returned in func._schema.returns]
        if not any(alias is not None and not alias.is_write for alias in aliases):
            self.count[str(func)] += 1
        return func(*args, **(kwargs or {}))


def test_a_step_launches_few_kernels_and_allocates_nothing(windows: dict[str, WindowSet]) -> None:
    """In float16 with the windows on the device: products of matrices, and a kernel each for everything else."""
    launches = Launches()

    def counting(name: str) -> Callable[..., None]:
        def count(*buffers: torch.Tensor, **more: Any) -> None:
            launches.count[name] += 1

        return count

    state = state_of(windows, Operations(**{field.name: counting(field.name) for field in fields(Operations)}))
    for step, expected in ((state.training_step, TRAINING), (state.validation_step, VALIDATION)):
        launches.count.clear()
        with launches:
            step(2)
        assert launches.count.total() == expected, launches.count
        plain = {name for name in launches.count if name.startswith("aten")}
        assert plain == {"aten.bmm.out"}, "everything else is a kernel, and every result has its buffer"


def state_of(windows: dict[str, WindowSet], operations: Operations) -> FusedState:
    architecture, recipe = ArchitectureConfig(hidden=16, head_hidden=8), TrainingConfig(batch_size=16)
    network = FusedNetwork(
        architecture,
        operations,
        num_networks=3,
        batch_size=recipe.batch_size,
        window_sessions=30,
        delta=recipe.huber_delta,
        dtype=torch.float16,
        device=CPU,
    )
    return FusedState(
        network,
        tables_of([windows["IBM"]], CPU, recipe=recipe, architecture=architecture),
        recipe,
        windows_on_device=True,
        max_training_rows=100,
        max_validation_rows=20,
    )
