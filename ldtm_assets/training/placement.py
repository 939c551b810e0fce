"""Where a training runs: the device that its step may use, and the lease that it holds meanwhile."""

import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ldtm_assets.training.gpus import gpus_here
from ldtm_assets.training.progress import TrainingReporter
from ldtm_lib.gpu.lease import Lease, acquire, acquire_cpu
from ldtm_lib.models.device import choose_device, device_of, gpu_of
from ldtm_lib.models.fit import Progress
from ldtm_lib.models.trainer import training_method
from ldtm_lib.project import Project
from ldtm_lib.training.run import TrainingCallbacks

SECONDS_BETWEEN_CHECKS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlace:
    """A device that is this step's to train on as long as its lease is held."""

    lease: Lease
    device: str
    """`cpu` or `cuda:N`."""
    gpu_index: int | None
    """The GPU's number in nvidia-smi; None for the CPU."""


@contextmanager
def training_place(
    project: Project, wanted: str, log: Callable[[str], None], reporter: TrainingReporter
) -> Iterator[TrainingPlace]:
    """Wait for a slot on the device that is wanted, say so, and give it back at the end."""
    device = choose_device(wanted)

    def waits(reason: str) -> None:
        log(f"waits for a slot to train in: {reason}")
        reporter.waits(reason)

    if device == "cpu":
        leased = acquire_cpu(project.database, host=platform.node(), on_wait=waits)
    else:
        leased = acquire(
            project.database,
            project.settings.gpu,
            lambda: gpus_here(os.environ),
            only=gpu_of(device),
            on_wait=waits,
        )
    with leased as lease:
        if lease.gpu is None:
            place = TrainingPlace(lease=lease, device="cpu", gpu_index=None)
        else:
            place = TrainingPlace(lease=lease, device=device_of(lease.gpu.uuid), gpu_index=lease.gpu.index)
        log(f"trains in {lease}, device {place.device}: {training_method(place.device, project.settings.architecture)}")
        yield place


class HoldingReporter:
    """Reports a training as another reporter does, and ends it when its lease is lost.

    The first report tells the other jobs that this one has taken its memory: an epoch has run by then.
    """

    def __init__(
        self, reporter: TrainingReporter, lease: Lease, *, seconds_between_checks: float = SECONDS_BETWEEN_CHECKS
    ) -> None:
        self._reporter, self._lease, self._seconds = reporter, lease, seconds_between_checks

    def stage(self, title: str, *, num_trainings_after: int = 0) -> None:
        """A stage begins."""
        self._reporter.stage(title, num_trainings_after=num_trainings_after)

    def waits(self, reason: str) -> None:
        """A training waits for its turn."""
        self._reporter.waits(reason)

    def start(self, log: Callable[[str], None]) -> TrainingCallbacks:
        """Begin to report and to look after the lease; what is returned raises LeaseLost."""
        return _HoldingCallbacks(self._reporter.start(log), self._lease, self._seconds)


class _HoldingCallbacks:
    """Passes on what it hears, and looks after the lease meanwhile."""

    def __init__(self, callbacks: TrainingCallbacks, lease: Lease, seconds_between_checks: float) -> None:
        self._lease, self._seconds, self._on_epoch = lease, seconds_between_checks, callbacks.on_epoch
        self._checked = time.monotonic()
        self.on_start, self.on_result = callbacks.on_start, callbacks.on_result

    def on_epoch(self, progress: Progress) -> None:
        """One network ended an epoch."""
        self._lease.settle()
        if time.monotonic() - self._checked >= self._seconds:
            self._checked = time.monotonic()
            self._lease.require_held()
        self._on_epoch(progress)
