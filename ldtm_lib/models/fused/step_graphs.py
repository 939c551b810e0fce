"""Training steps as CUDA graphs: a step of a hundred small kernels costs the host one launch.

A graph has a fixed size. The number of networks is therefore rounded up to eighths of all; the networks that this adds
have no rows left, and no step changes them.
"""

import math
from collections.abc import Callable

import torch

SIZES = 8
"""Largest number of different sizes that graphs are captured for."""


class StepGraphs:
    """Captures each step of each size when it is first requested, and replays it from then on."""

    def __init__(self, device: torch.device, *, num_networks: int) -> None:
        self._device, self._num_networks = device, num_networks
        self._pool = torch.cuda.graph_pool_handle()
        self._graphs: dict[tuple[str, int], torch.cuda.CUDAGraph] = {}

    def warm_up(self, *steps: Callable[[int], None]) -> None:
        """Compile and load all kernels, which no capture allows, and let libraries set themselves up.

        Libraries choose their kernels by size, hence every size is run once. No network may have rows.
        """
        for size in captured_sizes(self._num_networks):
            for step in steps:
                step(size)
        torch.cuda.current_stream(self._device).synchronize()

    def run(self, step: Callable[[int], None], m: int) -> None:
        """Run a step of at least the first m networks on the current stream."""
        size = captured_size(m, self._num_networks)
        key = (step.__name__, size)
        if key not in self._graphs:
            self._graphs[key] = self._capture(step, size)
        self._graphs[key].replay()

    def _capture(self, step: Callable[[int], None], size: int) -> torch.cuda.CUDAGraph:
        """Capture a step. Other threads may use the device meanwhile: only errors of this thread end the capture."""
        graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.current_stream(self._device)
        try:
            with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
                step(size)
        except RuntimeError as error:  # the error at the end of a failed capture hides the reason
            if isinstance(error.__context__, torch.OutOfMemoryError):
                raise error.__context__ from None
            raise
        return graph


def captured_sizes(num_networks: int) -> list[int]:
    """All numbers of networks that steps are captured for, the largest first."""
    return sorted({captured_size(m, num_networks) for m in range(1, num_networks + 1)}, reverse=True)


def captured_size(m: int, num_networks: int) -> int:
    """The number of networks, at least m, whose graph runs a step of the first m."""
    eighth = math.ceil(num_networks / SIZES)
    return min(num_networks, math.ceil(m / eighth) * eighth)
