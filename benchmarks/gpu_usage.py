"""The share of time in which any kernel ran, as NVML counts it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from gpu_sizes import Sizes, is_installed

SAMPLE_SECONDS = 0.25


@dataclass(slots=True)
class Usage:
    """Samples taken every quarter of a second, or the reason why there are none."""

    samples: list[int] = field(default_factory=list)
    obstacle: str = ""

    def last(self, seconds: float) -> None:
        """Keep only the samples of the last seconds; earlier ones are of the set-up."""
        del self.samples[: -max(1, round(seconds / SAMPLE_SECONDS))]

    def __str__(self) -> str:
        """The mean over the middle of the watched time; NVML does not report how much of the GPU the kernels used."""
        edge = len(self.samples) // 4
        middle = self.samples[edge : len(self.samples) - edge]
        if not middle:
            return f"any kernel busy: not known, {self.obstacle or 'too short'}"
        return f"any kernel busy {np.mean(middle):.0f}% of the time"


@contextmanager
def watched(sizes: Sizes) -> Iterator[Usage]:
    """Sample the GPU's usage within the block."""
    usage, over = Usage(), threading.Event()
    if not sizes.on_cuda:
        usage.obstacle = "no GPU"
    elif not is_installed("pynvml"):
        usage.obstacle = "pynvml is not installed"
    if usage.obstacle:
        yield usage
        return
    watcher = threading.Thread(target=_sample, args=(usage, over), daemon=True)
    watcher.start()
    try:
        yield usage
    finally:
        over.set()
        watcher.join(5)


def _sample(usage: Usage, over: threading.Event) -> None:
    import pynvml

    from ldtm_lib.models.cuda_order import uuid_of

    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid_of(0))
        while not over.wait(SAMPLE_SECONDS):
            usage.samples.append(int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu))
    except pynvml.NVMLError as error:  # such as "Not Supported" on unified memory
        usage.obstacle = str(error)
