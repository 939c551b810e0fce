"""The GPU memory that a training requests before its windows exist."""

import math

from ldtm_lib.features.inputs import INPUTS
from ldtm_lib.models.fused.memory import (
    CUDA_LIBRARIES_MIB,
    SINGLE,
    SPARE_MIB,
    TABLES_SHARE,
    buffer_sizes,
    reserved_bytes,
)
from ldtm_lib.settings import ArchitectureConfig, TrainingConfig, WindowConfig

MIB = 2**20
SESSIONS = 5_500
"""Assumed number of bars of a ticker: 21 years and a half."""
STEP_MIB = 50


def universe_mib(
    num_tickers: int, *, recipe: TrainingConfig, architecture: ArchitectureConfig, window: WindowConfig
) -> int:
    """GPU memory for training one network per ticker at once with the kernels, rounded up to whole 50 MiB."""
    rows = num_tickers * SESSIONS
    tables = [
        *[rows * SINGLE * len(INPUTS)] * 3,  # bars, lows and spans
        rows * 8,
        rows * SINGLE * architecture.num_horizons,
    ]
    sizes = buffer_sizes(
        num_tickers,
        recipe=recipe,
        architecture=architecture,
        window_sessions=window.window_sessions,
        max_training_rows=SESSIONS,
        max_validation_rows=SESSIONS,
        half_precision=True,
        kernels=True,
        tables=tables,
    )
    needed = CUDA_LIBRARIES_MIB + SPARE_MIB + reserved_bytes(sizes) / MIB
    return STEP_MIB * math.ceil(max(needed, sum(tables) / MIB / TABLES_SHARE) / STEP_MIB)
