"""Memory that fused networks take, and the number of networks that a budget holds.

The buffers of a step are made once, so that a training needs their sum. They are counted by making them on PyTorch's
`meta` device, where they take no memory; tests compare the sum with measured peaks.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from ldtm_lib.errors import ConfigurationError
from ldtm_lib.models.fit import FitTask
from ldtm_lib.models.fused.kernels.interface import REFERENCE
from ldtm_lib.models.fused.layout import FusedLayout
from ldtm_lib.models.fused.network import FusedNetwork
from ldtm_lib.models.fused.state import FusedState
from ldtm_lib.models.fused.windows import WindowTables, distinct_windows, table_sizes
from ldtm_lib.settings import ArchitectureConfig, TrainingConfig

MIB = 2**20
CUDA_LIBRARIES_MIB = 33
"""The workspace of cuBLAS, 32 MiB on an H100, and small allocations."""
SPARE_MIB = 22
"""A segment of 2 MiB and one of 20 MiB for memory that is not counted here: the state of a random generator, or a
library's temporary in the separate memory of a graph."""
TABLES_SHARE = 0.25
"""Windows are kept on the device if they take no more than this share of the budget."""
SINGLE = 4
"""Bytes of a float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """The number of networks that train at once in a budget."""

    num_networks: int
    windows_on_device: bool
    peak_mib: float
    """Expected memory of tensors and libraries, without CUDA's own context and the rounding of the allocator."""
    reserved_mib: float
    """Memory that the allocator takes from the device for `peak_mib`, with some to spare; the budget limits this."""


def plan_memory(
    tasks: Sequence[FitTask],
    *,
    recipe: TrainingConfig,
    architecture: ArchitectureConfig,
    budget_mib: int,
    half_precision: bool,
    kernels: bool,
) -> MemoryPlan:
    """Plan for as many networks as the budget holds, up to one per task. Raises ConfigurationError if it holds none."""
    window_sets = distinct_windows(tasks)
    tables = table_sizes(window_sets)
    windows_on_device = sum(tables) <= TABLES_SHARE * budget_mib * MIB
    tables = tables if windows_on_device else []

    def sizes(num_networks: int) -> list[int]:
        return buffer_sizes(
            num_networks,
            recipe=recipe,
            architecture=architecture,
            window_sessions=window_sets[0].window_sessions,
            max_training_rows=max(len(task.training_rows) for task in tasks),
            max_validation_rows=max(len(task.validation_rows) for task in tasks),
            half_precision=half_precision,
            kernels=kernels,
            tables=tables,
        )

    def plan(num_networks: int) -> MemoryPlan:
        needed = sizes(num_networks)
        return MemoryPlan(
            num_networks=num_networks,
            windows_on_device=windows_on_device,
            peak_mib=CUDA_LIBRARIES_MIB + sum(needed) / MIB,
            reserved_mib=CUDA_LIBRARIES_MIB + SPARE_MIB + reserved_bytes(needed) / MIB,
        )

    each = sum(sizes(2)) - sum(sizes(1))
    num_networks = min(len(tasks), budget_mib * MIB // each)
    while num_networks > 1 and plan(num_networks).reserved_mib > budget_mib:
        num_networks -= 1
    chosen = plan(max(num_networks, 1))
    if chosen.reserved_mib > budget_mib:
        raise ConfigurationError(
            f"[gpu] mib_per_job is {budget_mib}; one network at batch size {recipe.batch_size} needs "
            f"{math.ceil(chosen.reserved_mib)} MiB: raise it, or lower [training] batch_size, now {recipe.batch_size}"
        )
    return chosen


def buffer_sizes(
    num_networks: int,
    *,
    recipe: TrainingConfig,
    architecture: ArchitectureConfig,
    window_sessions: int,
    max_training_rows: int,
    max_validation_rows: int,
    half_precision: bool,
    kernels: bool,
    tables: Sequence[int],
) -> list[int]:
    """Bytes of buffers and tables in the order in which they are made, and without kernels a step's scratch memory.

    Without kernels, a step also needs, for each network, the largest of three rows of parameters for the optimizer,
    two copies of a batch's windows, and four float32 tensors of the heads' inner units.
    """
    nothing = torch.empty(0, device="meta")
    network = FusedNetwork(
        architecture,
        REFERENCE,
        num_networks=num_networks,
        batch_size=recipe.batch_size,
        window_sessions=window_sessions,
        delta=recipe.huber_delta,
        dtype=torch.float16 if half_precision else torch.float32,
        device=nothing.device,
    )
    state = FusedState(
        network,
        WindowTables(
            bars_SI=nothing, low_WI=nothing, span_WI=nothing, starts_W=nothing, targets_WE=nothing, first_window={}
        ),
        recipe,
        windows_on_device=True,
        max_training_rows=max_training_rows,
        max_validation_rows=max_validation_rows,
    )
    buffers = [*_storage_sizes(network), *tables, *_storage_sizes(state)]
    if kernels:
        return buffers
    heads = architecture.num_horizons * architecture.head_hidden
    gathered = 2 * recipe.batch_size * window_sessions * architecture.num_inputs
    scratch = max(4 * recipe.batch_size * heads, gathered, 3 * FusedLayout(architecture).num_elements)
    return [*buffers, num_networks * SINGLE * scratch]


def _storage_sizes(owner: FusedNetwork | FusedState) -> list[int]:
    """Bytes of each storage of an object's tensors, the oldest first."""
    storages = [value.untyped_storage() for value in vars(owner).values() if isinstance(value, torch.Tensor)]
    return list({storage._cdata: storage.nbytes() for storage in storages}.values())  # pyright: ignore


def reserved_bytes(sizes: Iterable[int]) -> int:
    """Memory that PyTorch's allocator takes from the device for blocks of some sizes, made in this order and kept.

    Its limit counts segments, not the blocks in them: 2 MiB for blocks of up to 1 MiB, 20 MiB for those below 10 MiB,
    and for each larger block one segment, rounded up to 2 MiB (c10/cuda/CUDACachingAllocator.cpp).
    """
    reserved = 0
    left: dict[bool, list[int]] = {True: [], False: []}
    for size in sizes:
        block = math.ceil(size / 512) * 512
        is_small = block <= MIB
        gaps = left[is_small]
        space = min((gap for gap in gaps if gap >= block), default=0)
        if space:
            gaps.remove(space)
        else:
            space = 2 * MIB if is_small else 20 * MIB if block < 10 * MIB else math.ceil(block / (2 * MIB)) * 2 * MIB
            reserved += space
        if space - block >= (512 if is_small else MIB + 1):
            gaps.append(space - block)
    return reserved
