"""The GPUs that training may use, with their memory as NVML reports it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ldtm_lib.gpu.nvml import NvmlAnswer, NvmlGpu, ask_nvml
from ldtm_lib.gpu.visibility import counts, visible_uuids
from ldtm_lib.wording import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU and its memory in MiB."""

    index: int
    """Its number in nvidia-smi, which need not be CUDA's."""
    uuid: str
    name: str
    total_mib: int
    free_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuInventory:
    """The GPUs found, and a note on why others were not found."""

    gpus: tuple[Gpu, ...]
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaOrder:
    """The UUIDs of the GPUs that CUDA shows to a process of this environment, or the reason why there is none."""

    uuids: tuple[str, ...]
    """In CUDA's own order, as NVML writes them."""
    problem: str = ""


AskCuda = Callable[[], CudaOrder]
ReadGpus = Callable[[], GpuInventory]


def read_gpus(*, visible: str | None, cuda_order: AskCuda) -> GpuInventory:
    """Read all GPUs that a value of CUDA_VISIBLE_DEVICES does not hide; None hides none.

    On a machine without a GPU the inventory is empty, and its note has the reason. `cuda_order` may be slow: it is
    called only if NVML does not show which GPU a number means.
    """
    return inventory_of(ask_nvml(), visible=visible, cuda_order=cuda_order)


def inventory_of(answer: NvmlAnswer, *, visible: str | None, cuda_order: AskCuda) -> GpuInventory:
    """The inventory that follows from NVML's answer."""
    if not answer.gpus:
        return GpuInventory(
            gpus=(), note=f"no GPU: {answer.problem or 'NVML counts none'}; models are trained on the CPU"
        )
    notes = [answer.problem] if answer.problem else []
    seen = _seen(answer.gpus, visible, cuda_order)
    hidden = [gpu for gpu in answer.gpus if gpu.uuid not in seen]
    if hidden and visible is None:
        names = ", ".join(gpu.uuid if gpu.is_slice else f"GPU {gpu.index}" for gpu in hidden)
        notes.append(f"CUDA shows the first slice alone; set CUDA_VISIBLE_DEVICES to use {names}")
    elif hidden:
        names = ", ".join(gpu.uuid if gpu.is_slice else str(gpu.index) for gpu in hidden)
        notes.append(f"CUDA_VISIBLE_DEVICES={visible} hides GPU {names}")
    gpus = tuple(
        Gpu(
            index=gpu.index,
            uuid=gpu.uuid,
            name=gpu.name,
            total_mib=gpu.memory.total_mib,
            free_mib=gpu.memory.free_mib,
        )
        for gpu in answer.gpus
        if gpu.uuid in seen
    )
    if not gpus:
        return GpuInventory(gpus=(), note=f"no GPU: {'; '.join(notes)}; models are trained on the CPU")
    found = f"{counted(len(gpus), 'GPU')}"
    return GpuInventory(gpus=gpus, note="; ".join([found, *notes]))


def _seen(gpus: Sequence[NvmlGpu], visible: str | None, cuda_order: AskCuda) -> set[str]:
    """The UUIDs that CUDA shows. It counts the fastest GPU first, so its numbers are NVML's only if all GPUs are equal.

    If a GPU is divided and the process names no UUID, CUDA shows the first slice alone (NVIDIA MIG user guide).
    """
    slices = [gpu.uuid for gpu in gpus if gpu.is_slice]
    if slices and (visible is None or counts(visible)):
        return {slices[0]}
    if counts(visible) and len({gpu.name for gpu in gpus}) > 1 and not (answer := cuda_order()).problem:
        return set(answer.uuids)
    by_number = [gpu.uuid for gpu in sorted(gpus, key=lambda gpu: gpu.index)]
    return set(visible_uuids(visible, by_number))
