"""Section of `gpu.py` that times the rest of a step: AdamW and the gathering of windows."""

from pathlib import Path

import numpy as np
import torch
from gpu_sizes import Sizes

from ldtm_lib.models.fused.kernels.interface import INPUT_COLUMNS, Operations
from ldtm_lib.models.fused.layout import FusedLayout
from ldtm_lib.models.fused.state import BETA1, BETA2, EPS
from ldtm_lib.models.fused.windows import distinct_windows, tables_of
from ldtm_lib.settings import TrainingConfig

MOVED_BYTES = 28
"""Bytes that AdamW reads and writes per element: weight and momenta in float32, gradient and copy in float16."""


def step(sizes: Sizes, folder: Path) -> bool:
    """Time AdamW and the gathering of windows, with kernels and without them."""
    for name, operations in sizes.ways.items():
        ms, num_elements = _adamw_ms(sizes, operations)
        print(
            f"  AdamW, {name}: {ms:.3f} ms for {sizes.num_tickers} networks, "
            f"{MOVED_BYTES * num_elements / ms / 1e6:,.0f} GB/s by count"
        )
    for batch_size in sizes.batch_sizes:
        for name, operations in sizes.ways.items():
            print(f"  gathering, batch {batch_size}, {name}: {_gather_ms(sizes, operations, batch_size):.3f} ms")
    return True


def _adamw_ms(sizes: Sizes, operations: Operations) -> tuple[float, int]:
    """The median time of an update of all networks, and the number of their elements."""
    shape = sizes.num_tickers, FusedLayout(sizes.architecture).num_elements
    parameters, exp_avg, exp_avg_sq = (torch.rand(shape, device=sizes.device) for _ in range(3))
    half, grads = parameters.half(), torch.rand(shape, device=sizes.device).half()
    ones = torch.ones(sizes.num_tickers, device=sizes.device)
    learning_rate_M, update_M = ones * 1e-3, ones > 0

    def run() -> None:
        operations.adamw(
            parameters,
            half,
            grads,
            exp_avg,
            exp_avg_sq,
            learning_rate_M=learning_rate_M,
            bias_correction1_M=ones,
            bias_correction2_sqrt_M=ones,
            inverse_scale_M=ones,
            update_M=update_M,
            weight_decay=TrainingConfig().weight_decay,
            beta1=BETA1,
            beta2=BETA2,
            eps=EPS,
        )

    run()
    return sizes.median_ms(run), parameters.numel()


def _gather_ms(sizes: Sizes, operations: Operations, batch_size: int) -> float:
    """The median time to gather one batch of every network."""
    tasks = sizes.tasks()
    window_sets = distinct_windows(tasks)
    tables = tables_of(window_sets, sizes.device, recipe=TrainingConfig(), architecture=sizes.architecture)
    generator = np.random.default_rng(0)
    rows = [tables.rows_of(task.windows, generator.choice(task.training_rows, batch_size)) for task in tasks]
    rows_MB = torch.stack(rows).to(sizes.device)
    inputs_MTBK = torch.zeros(
        len(tasks), window_sets[0].window_sessions, batch_size, INPUT_COLUMNS, dtype=torch.float16, device=sizes.device
    )

    def run() -> None:
        operations.gather_windows(tables.bars_SI, tables.low_WI, tables.span_WI, tables.starts_W, rows_MB, inputs_MTBK)

    run()
    return sizes.median_ms(run)
