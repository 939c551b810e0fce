"""Section of `gpu.py` that measures the step time of another tenant while a training runs."""

import threading
from collections.abc import Sequence
from pathlib import Path

from gpu_processes import tenant
from gpu_sizes import Sizes

from ldtm_lib.models.fit import FitTask, Progress
from ldtm_lib.models.fused.trainer import fit_fused
from ldtm_lib.settings import GpuConfig, TrainingConfig

START_SECONDS = 60.0
"""Longest time that the first epoch of a training may take."""


class Abandoned(Exception):
    """Raised in a training to end it when the measurement is over."""


class Training(threading.Thread):
    """A training that continues until it is abandoned."""

    def __init__(self, sizes: Sizes, tasks: Sequence[FitTask], gpu: GpuConfig) -> None:
        super().__init__(daemon=True)
        self._sizes, self._tasks, self._gpu = sizes, tasks, gpu
        self.abandoned, self.under_way = threading.Event(), threading.Event()
        self.error: Exception | None = None

    def run(self) -> None:
        """Train."""
        try:
            for _ in fit_fused(
                self._tasks,
                recipe=TrainingConfig(batch_size=self._sizes.batch_sizes[0], max_epochs=10_000, patience=10_000),
                architecture=self._sizes.architecture,
                device=self._sizes.device,
                gpu=self._gpu,
                on_progress=self._watch,
                operations=self._sizes.kernels,
                half_precision=True,
            ):
                pass
        except Abandoned:
            pass
        except Exception as error:  # raised again by the main thread
            self.error = error
        finally:
            self.under_way.set()

    def _watch(self, progress: Progress) -> None:
        self.under_way.set()
        if self.abandoned.is_set():
            raise Abandoned


def neighbours(sizes: Sizes, folder: Path) -> bool:
    """Measure the tenant alone and during trainings."""
    tasks = sizes.tasks()
    polite = {
        "during a training": GpuConfig(mib_per_job=max(sizes.budgets_mib)),
        "the same in little memory": GpuConfig(mib_per_job=min(sizes.budgets_mib)),
        "little memory, 5 ms of pause": GpuConfig(mib_per_job=min(sizes.budgets_mib), pause_ms=5.0),
    }
    with tenant(sizes) as other:
        median, alone = other.step_ms()
        print(f"  {'alone':30} {median:7.3f} {alone:7.3f}")
        for what, gpu in polite.items():
            training = Training(sizes, tasks, gpu)
            training.start()
            try:
                if not training.under_way.wait(START_SECONDS):
                    raise RuntimeError(f"{what}: no epoch of the training ended in {START_SECONDS:.0f} s")
                median, highest = other.step_ms()
                if not training.is_alive():
                    raise RuntimeError(
                        f"{what}: the training ended before the measurement of the tenant did"
                    ) from training.error
            finally:
                training.abandoned.set()
                training.join(START_SECONDS)
            print(f"  {what:30} {median:7.3f} {highest:7.3f} ({highest / alone - 1:+.0%}), {gpu.mib_per_job} MiB")
    return True
