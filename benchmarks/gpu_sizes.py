"""Sizes of the sections of `gpu.py`: real ones, and tiny ones for a rehearsal of every section on a CPU."""

import importlib.util
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sections import LeftOut

from ldtm_lib.models.fit import FitTask
from ldtm_lib.models.fused.kernels.interface import REFERENCE, Operations, operations_for
from ldtm_lib.models.on_gpu.trial import synthetic_tasks
from ldtm_lib.settings import ArchitectureConfig, GpuConfig, TrainingConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The device and the sizes of a run. The precision is float16, on a CPU too."""

    device: torch.device
    architecture: ArchitectureConfig
    num_tickers: int
    num_rows: int
    num_validation_rows: int
    num_bars: int
    """Bars of a ticker that is retrained."""
    batch_sizes: tuple[int, ...]
    num_compared: int
    """Networks that are compared with the reference."""
    num_compared_rows: int
    num_epochs: int
    num_sessions: int
    """Sessions that the recurrence kernels are timed on."""
    repetitions: int
    """Timings of one kernel."""
    budgets_mib: tuple[int, ...]
    roomy: GpuConfig
    retraining: TrainingConfig
    test_sessions: int
    tenant_mib: int
    tenant_seconds: float
    tenant_size: int

    @property
    def on_cuda(self) -> bool:
        """True if the figures are those of a GPU."""
        return self.device.type == "cuda"

    @property
    def kernels(self) -> Operations | None:
        """The Triton kernels where they run; on a CPU by Triton's interpreter if TRITON_INTERPRET=1 asks for it."""
        if not self.on_cuda and os.environ.get("TRITON_INTERPRET") == "1":
            from ldtm_lib.models.fused.kernels.launch import TRITON

            return TRITON
        found = operations_for(self.device, self.architecture)
        return None if found is REFERENCE else found

    @property
    def ways(self) -> dict[str, Operations]:
        """The operations that are compared and timed, by name."""
        plain = {"plain operations": REFERENCE}
        return {"kernels": self.kernels, **plain} if self.kernels else plain

    def tasks(self, num_tickers: int | None = None) -> list[FitTask]:
        """One network per ticker on its synthetic windows."""
        return synthetic_tasks(num_tickers or self.num_tickers, self.num_rows, self.num_validation_rows)

    @staticmethod
    def prepare() -> None:
        """Add up products of float16 in float32, as trainings do (`on_gpu.worker`)."""
        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False

    def synchronize(self) -> None:
        """Wait until the device has finished all work; raises the errors of that work."""
        if self.on_cuda:
            torch.cuda.synchronize(self.device)

    def median_ms(self, run: Callable[[], None], before: Callable[[], None] = lambda: None) -> float:
        """The median of some timings in milliseconds, by CUDA events; `before` runs before each and is not timed."""
        times: list[float] = []
        for _ in range(self.repetitions):
            before()
            if self.on_cuda:
                begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                begin.record()
                run()
                end.record()
                end.synchronize()
                times.append(begin.elapsed_time(end))
            else:
                began = time.perf_counter()
                run()
                times.append((time.perf_counter() - began) * 1000)
        return float(np.median(times))


FIGURES = Sizes(
    device=torch.device("cuda:0"),
    architecture=ArchitectureConfig(),
    num_tickers=103,
    num_rows=5000,
    num_validation_rows=64,
    num_bars=5350,
    batch_sizes=(64, 256),
    num_compared=4,
    num_compared_rows=400,
    num_epochs=20,
    num_sessions=30,
    repetitions=20,
    budgets_mib=(600, 1200, 4096),
    roomy=GpuConfig(mib_per_job=20_000),
    retraining=TrainingConfig(),
    test_sessions=126,
    tenant_mib=39_000,
    tenant_seconds=4.0,
    tenant_size=4096,
)
REHEARSAL = Sizes(
    device=torch.device("cpu"),
    architecture=ArchitectureConfig(hidden=16, head_hidden=8),
    num_tickers=3,
    num_rows=96,
    num_validation_rows=16,
    num_bars=420,
    batch_sizes=(16, 32),
    num_compared=1,
    num_compared_rows=64,
    num_epochs=3,
    num_sessions=4,
    repetitions=2,
    budgets_mib=(100, 600),
    roomy=GpuConfig(mib_per_job=600),
    retraining=TrainingConfig(batch_size=32, max_epochs=2, min_training_rows=100),
    test_sessions=63,
    tenant_mib=1,
    tenant_seconds=0.2,
    tenant_size=32,
)


def require(*modules: str) -> None:
    """Raise LeftOut if a module is not installed."""
    for module in modules:
        if not is_installed(module):
            raise LeftOut(f"{module} is not installed")


def is_installed(module: str) -> bool:
    """True if a module can be imported; does not import it."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
