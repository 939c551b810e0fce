"""Methods of training on a GPU, the fastest first. Each runs in a process that ends with it (`worker`)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ldtm_lib.errors import LdtmError
from ldtm_lib.models.fit import Fit, FitFailed, FitTask, Progress
from ldtm_lib.models.fused.kernels.interface import REFERENCE, Operations
from ldtm_lib.models.fused.kernels.tiling import Tilings, obstacle, smaller_tilings, tilings_for
from ldtm_lib.models.fused.layout import FUSED_LAYERS, FusedLayout
from ldtm_lib.models.fused.trainer import fit_fused
from ldtm_lib.models.on_gpu.probe import require_same_as_on_the_cpu
from ldtm_lib.models.on_gpu.probe_cache import require_probed
from ldtm_lib.models.single_fit import fit_alone
from ldtm_lib.settings import ArchitectureConfig, GpuConfig, TrainingConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Tasks that a method is to train, and the part of the GPU that it may take."""

    tasks: Sequence[FitTask]
    recipe: TrainingConfig
    architecture: ArchitectureConfig
    device: str
    """`cuda:N`."""
    gpu: GpuConfig
    cache: Path
    """The file that records the probes that were passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """Callbacks that a method reports to while it trains."""

    progress: Callable[[Progress], None]
    notice: Callable[[str], None]
    """Called with a text for the log and the record, such as on a shortage of memory."""
    ready: Callable[[], None]
    """Called when the probe is over."""


class NotApplicable(LdtmError):
    """A method cannot train these networks on this device; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class Method:
    """One method of training on a GPU."""

    name: str
    """Name in logs and on record."""
    train: Callable[[Job, Reports], Iterator[Fit | FitFailed]]
    """A function on the level of a module, so that another process can unpickle it."""


def fused(job: Job, reports: Reports) -> Iterator[Fit | FitFailed]:
    """All networks at once, by the kernels in the tilings that were chosen for the GPU."""
    return _by_kernels(tilings_for, job, reports)


def fused_in_small_programs(job: Job, reports: Reports) -> Iterator[Fit | FitFailed]:
    """All networks at once, by the kernels in tilings that take few resources of every kind."""
    return _by_kernels(smaller_tilings, job, reports)


def fused_without_kernels(job: Job, reports: Reports) -> Iterator[Fit | FitFailed]:
    """All networks at once, by plain PyTorch."""
    _require_fusible(job)
    return _fused_by(REFERENCE, "no kernels", job, reports)


def one_by_one(job: Job, reports: Reports) -> Iterator[Fit | FitFailed]:
    """One network after the other by PyTorch's own LSTM, which is cuDNN's on a GPU."""
    device = torch.device(job.device)
    torch.zeros(1, device=device)  # raises on a GPU that cannot be used at all, before the first network
    reports.ready()
    for task in job.tasks:
        try:
            yield fit_alone(
                task, recipe=job.recipe, architecture=job.architecture, device=device, on_progress=reports.progress
            )
        except LdtmError as error:
            yield FitFailed(task=task, reason=error)


METHODS = (
    Method("all networks fused", fused),
    Method("all networks fused, in small programs", fused_in_small_programs),
    Method("all networks fused, without kernels", fused_without_kernels),
    Method("one network after the other", one_by_one),
)
"""Methods in the order in which they are tried; after the last one comes the CPU."""


def _fused_by(operations: Operations, what: str, job: Job, reports: Reports) -> Iterator[Fit | FitFailed]:
    device, window_sessions = torch.device(job.device), job.tasks[0].windows.window_sessions

    def probe() -> str:
        return require_same_as_on_the_cpu(
            operations,
            device=device,
            recipe=job.recipe,
            architecture=job.architecture,
            window_sessions=window_sessions,
        )

    require_probed(
        probe,
        what,
        job.cache,
        device=device,
        recipe=job.recipe,
        architecture=job.architecture,
        window_sessions=window_sessions,
    )
    reports.ready()
    yield from fit_fused(
        job.tasks,
        recipe=job.recipe,
        architecture=job.architecture,
        device=device,
        gpu=job.gpu,
        on_progress=reports.progress,
        on_notice=reports.notice,
        operations=operations,
    )


def _require_fusible(job: Job) -> None:
    if not FusedLayout.supports(job.architecture):
        raise NotApplicable(
            f"only networks of {FUSED_LAYERS} layers can be fused, these have {job.architecture.num_layers}"
        )


def _by_kernels(
    choose: Callable[[tuple[int, int], int], Tilings], job: Job, reports: Reports
) -> Iterator[Fit | FitFailed]:
    _require_fusible(job)
    device, hidden = torch.device(job.device), job.architecture.hidden
    if (missing := obstacle(device, hidden)) is not None:
        raise NotApplicable(missing)
    from ldtm_lib.models.fused.kernels.launch import operations_with

    tilings = choose(torch.cuda.get_device_capability(device), hidden)
    yield from _fused_by(operations_with(tilings), str(tilings), job, reports)
