"""The windows of many tickers as one set of tables, from which any batch of any network is gathered.

A bar is held once, however many windows contain it and however many folds read them: 5,000 sessions take 0.7 MiB per
ticker instead of the 6.6 MiB of their scaled windows.

Axes: S bars of all tickers, W windows of all tickers, I inputs, E horizons, M fused networks, B windows of a
batch, T sessions of a window, K columns of the buffer of inputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ldtm_lib.features.scaling import Float32s
from ldtm_lib.features.window_set import Rows, WindowSet
from ldtm_lib.models.fit import FitTask
from ldtm_lib.models.objective import learning_moves, learning_targets
from ldtm_lib.settings import ArchitectureConfig, TrainingConfig


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WindowTables:
    """Bars, scales and targets of all windows that some tasks may read."""

    bars_SI: Tensor
    low_WI: Tensor
    span_WI: Tensor
    starts_W: Tensor
    """The first bar of each window."""
    targets_WE: Tensor
    """Targets of the networks: for residual networks the moves from the last close, else the scaled prices."""
    first_window: dict[int, int]
    """The row of each window set's first window, by the identity (`id`) of the set."""

    def rows_of(self, windows: WindowSet, rows: Rows) -> Tensor:
        """Positions of some windows of one ticker in these tables, int32 on the CPU."""
        return torch.as_tensor((rows + self.first_window[id(windows)]).astype(np.int32))


def distinct_windows(tasks: Sequence[FitTask]) -> list[WindowSet]:
    """The window sets of some tasks, each once: the folds of a ticker share theirs."""
    return list({id(task.windows): task.windows for task in tasks}.values())


def table_sizes(window_sets: Sequence[WindowSet]) -> list[int]:
    """Bytes of each of the tables of some window sets, in the order in which `tables_of` makes them."""
    by_set = [
        (windows.inputs.nbytes, windows.low.nbytes, windows.span.nbytes, 8 * len(windows), windows.targets.nbytes)
        for windows in window_sets
    ]
    return [sum(sizes) for sizes in zip(*by_set, strict=True)]


def tables_of(
    window_sets: Sequence[WindowSet],
    device: torch.device,
    *,
    recipe: TrainingConfig,
    architecture: ArchitectureConfig,
) -> WindowTables:
    """The tables of some window sets, on a device."""
    first_bar = np.cumsum([0, *(len(windows.inputs) for windows in window_sets)])
    first_window = np.cumsum([0, *(len(windows) for windows in window_sets)])
    starts = [
        windows.ends - (windows.window_sessions - 1) + bar
        for windows, bar in zip(window_sets, first_bar[:-1], strict=True)
    ]

    def together(arrays: Sequence[np.ndarray]) -> Tensor:
        return torch.as_tensor(np.concatenate(arrays)).to(device)

    return WindowTables(
        bars_SI=together([windows.inputs for windows in window_sets]),
        low_WI=together([windows.low for windows in window_sets]),
        span_WI=together([windows.span for windows in window_sets]),
        starts_W=together(starts),
        targets_WE=together([_targets(windows, recipe, architecture) for windows in window_sets]),
        first_window={id(windows): int(at) for windows, at in zip(window_sets, first_window[:-1], strict=True)},
    )


def _targets(windows: WindowSet, recipe: TrainingConfig, architecture: ArchitectureConfig) -> Float32s:
    """Moves in float32: added to the last close in float16 they would lose their last digits."""
    asked = learning_moves if architecture.residual else learning_targets
    return asked(windows, np.arange(len(windows)), recipe)
