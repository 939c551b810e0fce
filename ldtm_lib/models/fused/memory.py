"""Memory that fused networks take, and the number of networks that a budget holds.

The buffers of a step are made once, so that their sum is what a training needs; tests hold the formula against
measured peaks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ldtm_lib.errors import ConfigurationError
from ldtm_lib.models.fit import FitTask
from ldtm_lib.models.fused.kernels.interface import INPUT_COLUMNS
from ldtm_lib.models.fused.layout import FusedLayout
from ldtm_lib.models.fused.windows import distinct_windows, table_bytes
from ldtm_lib.settings import ArchitectureConfig, TrainingConfig

MIB = 2**20
CUDA_LIBRARIES_MIB = 33
"""The workspace of cuBLAS, 32 MiB on an H100, and small change."""
ROUNDING_MIB = 48
"""What the allocator takes beyond that: it fetches segments of 2 MiB or 20 MiB, a graph's apart from the others. Its
limit counts those, not what lies in them."""
TABLES_SHARE = 0.25
"""Windows live on the device while they take no more than this share of the budget."""
SINGLE, HALF = 4, 2
"""Bytes of a float32 and of a float16."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """The number of networks that train at once in a budget."""

    num_networks: int
    windows_on_device: bool
    peak_mib: float
    """What tensors and libraries are expected to hold; neither CUDA's own context nor what the allocator rounds up."""


def network_bytes(
    architecture: ArchitectureConfig,
    *,
    batch_size: int,
    window_sessions: int,
    max_training_rows: int,
    max_validation_rows: int,
    half_precision: bool,
    kernels: bool,
) -> int:
    """What one more network adds: its row in every matrix, its part of the buffers, and its part of a step's scratch.

    In float16 weights and gradients exist in half precision beside the float32 originals; without kernels the
    optimizer needs three more rows while it works.
    """
    element = HALF if half_precision else SINGLE
    row = FusedLayout(architecture).num_elements
    heads = architecture.num_horizons * architecture.head_hidden
    matrices = 4 * SINGLE * row + element * row + (HALF * row if half_precision else 0)
    gates_and_cells, states = 2 * (4 + 1) * architecture.hidden, INPUT_COLUMNS + 2 * architecture.hidden
    buffers = element * batch_size * (window_sessions * gates_and_cells + (window_sessions + 2) * states + heads)
    targets = batch_size * (2 * SINGLE * architecture.num_horizons + 1)
    orders = SINGLE * (max_training_rows + max_validation_rows)
    scratch = 4 * SINGLE * batch_size * heads
    if not kernels:
        gathered = 2 * SINGLE * batch_size * window_sessions * architecture.num_inputs
        scratch = max(scratch, gathered, 3 * SINGLE * row)
    return matrices + buffers + targets + orders + scratch


def plan_memory(
    tasks: Sequence[FitTask],
    *,
    recipe: TrainingConfig,
    architecture: ArchitectureConfig,
    budget_mib: int,
    half_precision: bool,
    kernels: bool,
) -> MemoryPlan:
    """As many networks as the budget holds, up to one per task. Raises ConfigurationError when it holds none."""
    window_sets = distinct_windows(tasks)
    tables = table_bytes(window_sets)
    windows_on_device = tables <= TABLES_SHARE * budget_mib * MIB
    fixed = CUDA_LIBRARIES_MIB * MIB + (tables if windows_on_device else 0)
    each = network_bytes(
        architecture,
        batch_size=recipe.batch_size,
        window_sessions=window_sets[0].window_sessions,
        max_training_rows=max(len(task.training_rows) for task in tasks),
        max_validation_rows=max(len(task.validation_rows) for task in tasks),
        half_precision=half_precision,
        kernels=kernels,
    )
    num_networks = min(len(tasks), (budget_mib * MIB - fixed - ROUNDING_MIB * MIB) // each)
    if num_networks < 1:
        raise ConfigurationError(
            f"[gpu] mib_per_job is {budget_mib}; one network at batch size {recipe.batch_size} needs "
            f"{(fixed + each) / MIB + ROUNDING_MIB:.0f} MiB: raise it, or lower [training] batch_size, "
            f"now {recipe.batch_size}"
        )
    return MemoryPlan(
        num_networks=num_networks,
        windows_on_device=windows_on_device,
        peak_mib=(fixed + num_networks * each) / MIB,
    )
