"""The GPUs that training may use, with their memory: from NVML, and from CUDA where NVML does not know."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ldtm_lib.gpu.nvml import Memory, NvmlAnswer, NvmlGpu, ask_nvml
from ldtm_lib.gpu.visibility import counts, visible_uuids


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
    """The GPUs found, and a note that says why others were not."""

    gpus: tuple[Gpu, ...]
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaGpu:
    """One of the GPUs that CUDA shows to a process of this environment."""

    uuid: str
    """As NVML writes it."""
    memory: Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaAnswer:
    """The GPUs that CUDA reports, in its own order, or the reason why it reports none."""

    gpus: tuple[CudaGpu, ...]
    problem: str = ""


AskCuda = Callable[[], CudaAnswer]
ReadGpus = Callable[[], GpuInventory]


def read_gpus(*, visible: str | None, cuda_memory: AskCuda) -> GpuInventory:
    """Read all GPUs that a value of CUDA_VISIBLE_DEVICES does not hide; None hides none.

    A machine without one gives an empty inventory with the reason. `cuda_memory` may be slow: it is called only where
    NVML does not tell the memory, or cannot say which GPU a number means.
    """
    return inventory_of(ask_nvml(), visible=visible, cuda_memory=cuda_memory)


def inventory_of(answer: NvmlAnswer, *, visible: str | None, cuda_memory: AskCuda) -> GpuInventory:
    """The inventory that follows from NVML's answer."""
    if not answer.gpus:
        return GpuInventory(
            gpus=(), note=f"no GPU: {answer.problem or 'NVML counts none'}; models are trained on the CPU"
        )
    answers: list[CudaAnswer] = []

    def cuda() -> CudaAnswer:
        if not answers:
            answers.append(cuda_memory())
        return answers[0]

    notes = [answer.problem] if answer.problem else []
    seen = _seen(answer.gpus, visible, cuda)
    if hidden := [gpu for gpu in answer.gpus if gpu.uuid not in seen]:
        notes.append(f"CUDA_VISIBLE_DEVICES={visible} hides GPU {', '.join(str(gpu.index) for gpu in hidden)}")
    gpus: list[Gpu] = []
    for gpu in answer.gpus:
        if gpu.uuid not in seen:
            continue
        memory = gpu.memory or next((known.memory for known in cuda().gpus if known.uuid == gpu.uuid), None)
        if memory is None:
            why = cuda().problem or "CUDA does not report it"
            notes.append(f"GPU {gpu.index} ({gpu.name}) does not tell its memory: NVML does not support it, and {why}")
            continue
        total, free = memory.total_mib, memory.free_mib
        gpus.append(Gpu(index=gpu.index, uuid=gpu.uuid, name=gpu.name, total_mib=total, free_mib=free))
    if not gpus:
        return GpuInventory(gpus=(), note=f"no GPU: {'; '.join(notes)}; models are trained on the CPU")
    found = f"{len(gpus)} GPU{'s' if len(gpus) != 1 else ''}"
    return GpuInventory(gpus=tuple(gpus), note="; ".join([found, *notes]))


def _seen(gpus: Sequence[NvmlGpu], visible: str | None, cuda: AskCuda) -> set[str]:
    """The UUIDs that CUDA shows. Its numbers are NVML's only among equal GPUs: it counts the fastest ones first."""
    if counts(visible) and len({gpu.name for gpu in gpus}) > 1 and not (answer := cuda()).problem:
        return {gpu.uuid for gpu in answer.gpus}
    by_number = [gpu.uuid for gpu in sorted(gpus, key=lambda gpu: gpu.index)]
    return set(visible_uuids(visible, by_number))
