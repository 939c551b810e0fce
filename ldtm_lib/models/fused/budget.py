"""The memory that a training asks for, before its windows are there."""

import math

from ldtm_lib.features.inputs import INPUTS
from ldtm_lib.models.fused.memory import CUDA_LIBRARIES_MIB, ROUNDING_MIB, TABLES_SHARE, network_bytes
from ldtm_lib.settings import ArchitectureConfig, TrainingConfig, WindowConfig

MIB = 2**20
SESSIONS = 5_500
"""Bars of a ticker that are reckoned with: 21 years and a half."""
STEP_MIB = 50


def universe_mib(
    num_tickers: int, *, recipe: TrainingConfig, architecture: ArchitectureConfig, window: WindowConfig
) -> int:
    """What one network of each ticker at once takes on a GPU with the kernels, in whole steps of 50 MiB."""
    each = network_bytes(
        architecture,
        batch_size=recipe.batch_size,
        window_sessions=window.window_sessions,
        max_training_rows=SESSIONS,
        max_validation_rows=SESSIONS,
        half_precision=True,
        kernels=True,
    )
    inputs, horizons = 4 * len(INPUTS), 4 * architecture.num_horizons
    tables = num_tickers * SESSIONS * (3 * inputs + horizons + 8)
    needed = CUDA_LIBRARIES_MIB + ROUNDING_MIB + (tables + num_tickers * each) / MIB
    return STEP_MIB * math.ceil(max(needed, tables / MIB / TABLES_SHARE) / STEP_MIB)
