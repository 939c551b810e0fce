"""Place of a training: the device that its step may use, and the lease that it holds during the training."""

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from ldtm_assets.training.progress import TrainingReporter
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.gpu.devices import GpuInventory
from ldtm_lib.gpu.lease import SECONDS_BETWEEN_CHECKS, Lease, LeaseWatch, acquire, acquire_cpu
from ldtm_lib.models.device import choose_device, device_of, gpu_of, torch_version
from ldtm_lib.models.fit import Progress
from ldtm_lib.models.fused.budget import universe_mib
from ldtm_lib.models.on_ray.engine import RayEngine, TrainingEngine
from ldtm_lib.models.trainer import OnNotice, fit_universe
from ldtm_lib.models.visible_gpus import gpus_here
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import GpuConfig, Settings
from ldtm_lib.training.node_leases import node_leases
from ldtm_lib.training.run import NoCallbacks, TrainingCallbacks, TrainingContext
from ldtm_lib.wording import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlace:
    """A device that this step may train on as long as its lease is held, or a cluster."""

    lease: Lease | None
    """Lease of a device; None for a cluster, on whose nodes every task has one of its own."""
    device: str
    """`cpu` or `cuda:N`; for a cluster `cpu`, `cuda` or `auto`."""
    engine: TrainingEngine = fit_universe
    gpu_index: int | None
    """The GPU's number in nvidia-smi; None for the CPU."""
    unused_gpu: str = ""
    """Reason why a GPU that CUDA or NVML sees is not used; empty if none is seen or the CPU was requested."""

    @property
    def may_use_gpu(self) -> bool:
        """True if networks may be trained on a GPU."""
        return self.device != "cpu" if self.lease is None else self.lease.gpu is not None

    def context(
        self,
        settings: Settings,
        callbacks: TrainingCallbacks | None = None,
        *,
        on_notice: OnNotice | None = None,
        calendar: Calendar | None = None,
    ) -> TrainingContext:
        """The context of a training here, which takes no more of the GPU than its lease grants."""
        granted = self.lease.memory_mib if self.lease else 0
        return TrainingContext(
            settings=settings,
            device=self.device,
            engine=self.engine,
            gpu_index=self.gpu_index,
            gpu=settings.gpu.replace(mib_per_job=granted) if granted else None,
            callbacks=callbacks or NoCallbacks(),
            on_notice=on_notice,
            calendar=calendar,
        )


@contextmanager
def training_place(
    project: Project, wanted: str, log: Callable[[str], None], reporter: TrainingReporter, *, num_tickers: int = 1
) -> Iterator[TrainingPlace]:
    """Wait for a slot on the requested device, report the wait, and release the slot at the end.

    If `auto` finds a GPU that cannot be leased or used, the training uses the CPU and reports the reason. If no setting
    states the memory of a job, the job takes the memory of one network of each of `num_tickers` at once, or as much of
    it as is free. On a Ray cluster there is no wait here: its tasks wait for slots on their nodes.
    """
    settings = project.settings
    if settings.engine.kind == "ray":
        yield cluster_place(project, wanted, log, os.environ)
        return
    device, unused = choose_device(wanted), ""
    if wanted == "auto":
        inventory = gpus_here(os.environ)
        unused = _unused_gpu(device, inventory)
        if device != "cpu" and not inventory.gpus:
            device = "cpu"

    def waits(reason: str) -> None:
        log(f"waits for a slot to train in: {reason}")
        reporter.waits(reason)

    wanted_mib = None
    if device == "cpu":
        leased = acquire_cpu(project.database, host=platform.node(), on_wait=waits)
    else:
        if settings.gpu.takes_what_the_universe_needs:
            wanted_mib = universe_mib(
                num_tickers,
                recipe=settings.training,
                architecture=settings.architecture,
                window=settings.window,
            )
        leased = acquire(
            project.database,
            settings.gpu,
            lambda: gpus_here(os.environ),
            only=gpu_of(device),
            wanted_mib=wanted_mib,
            on_wait=waits,
        )
    with leased as lease:
        if lease.gpu is None:
            place = TrainingPlace(lease=lease, device="cpu", gpu_index=None, unused_gpu=unused)
        else:
            place = TrainingPlace(lease=lease, device=device_of(lease.gpu.uuid), gpu_index=lease.gpu.index)
            log(_grant_words(lease, num_tickers, wanted_mib, settings.gpu))
        if unused:
            log(f"WARNING: {unused}")
        log(f"trains in {lease}, device {place.device}")
        yield place


def cluster_place(
    project: Project, wanted: str, log: Callable[[str], None], environ: Mapping[str, str]
) -> TrainingPlace:
    """The Ray cluster of the settings. Raises ConfigurationError for `cuda:N`, which has no meaning there."""
    if wanted not in ("auto", "cpu", "cuda"):
        raise ConfigurationError(
            f'device {wanted!r} names a GPU of this machine, but engine.kind is "ray"; use auto, cpu or cuda'
        )
    leases, no_leases = node_leases(project, environ)
    engine = RayEngine(config=project.settings.engine, leases=leases, no_leases=no_leases, log=log, environ=environ)
    return TrainingPlace(lease=None, device=wanted, gpu_index=None, engine=engine)


def _unused_gpu(device: str, inventory: GpuInventory) -> str:
    """Reason why `auto` does not take a GPU that CUDA or NVML sees."""
    if device != "cpu" and not inventory.gpus:
        return f"CUDA sees a GPU that cannot be leased ({inventory.note}); training runs on the CPU, slowly"
    if device == "cpu" and inventory.gpus:
        return (
            f"the driver shows {inventory.note}, but PyTorch {torch_version()} cannot use CUDA; training runs on the "
            "CPU, slowly: install a CUDA build of PyTorch that the driver supports, or set the device to cpu"
        )
    return ""


def _grant_words(lease: Lease, num_tickers: int, wanted_mib: int | None, config: GpuConfig) -> str:
    """Amount of the GPU's memory that the job takes, with the reason."""
    granted = f"takes {lease.memory_mib:,} MiB"
    if wanted_mib is None:
        return f"{granted}, as set by [gpu] mib_per_job"
    if lease.memory_mib >= wanted_mib:
        return f"{granted}: one network of each of {counted(num_tickers, 'ticker')} at once"
    return (
        f"{granted} of the {wanted_mib:,} MiB that one network of each of {counted(num_tickers, 'ticker')} at once "
        f"would take: no more is available in addition to a reserve of {config.reserve_mib:,} MiB"
    )


class HoldingReporter:
    """Reports a training as another reporter does, and ends it when its lease is lost, if it has one."""

    def __init__(
        self,
        reporter: TrainingReporter,
        lease: Lease | None,
        *,
        seconds_between_checks: float = SECONDS_BETWEEN_CHECKS,
    ) -> None:
        self._reporter, self._lease, self._seconds = reporter, lease, seconds_between_checks

    def stage(self, title: str, *, num_trainings_after: int = 0) -> None:
        """A stage begins."""
        self._reporter.stage(title, num_trainings_after=num_trainings_after)

    def waits(self, reason: str) -> None:
        """A training waits for a slot."""
        self._reporter.waits(reason)

    def start(self, log: Callable[[str], None]) -> TrainingCallbacks:
        """Begin to report and to monitor the lease; the returned callbacks raise LeaseLost."""
        callbacks = self._reporter.start(log)
        if self._lease is None:
            return callbacks
        return _HoldingCallbacks(callbacks, LeaseWatch(self._lease, seconds_between_checks=self._seconds))


class _HoldingCallbacks:
    """Callbacks that forward each call, and monitor the lease."""

    def __init__(self, callbacks: TrainingCallbacks, watch: LeaseWatch) -> None:
        self._watch, self._on_epoch = watch, callbacks.on_epoch
        self.on_start, self.on_result = callbacks.on_start, callbacks.on_result

    def on_epoch(self, progress: Progress) -> None:
        """One network ended an epoch."""
        self._watch.look()
        self._on_epoch(progress)
