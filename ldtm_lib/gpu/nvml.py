"""What NVML, the driver's own library, tells of the GPUs of this machine."""

from dataclasses import dataclass
from typing import Any

import pynvml  # pyright: ignore[reportMissingTypeStubs]

MIB = 2**20
nvml: Any = pynvml


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The memory of one GPU in MiB."""

    total_mib: int
    free_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NvmlGpu:
    """One GPU by its number in nvidia-smi, with its memory where the driver tells it."""

    index: int
    uuid: str
    """As nvidia-smi writes it, `GPU-` and five groups of hexadecimal digits."""
    name: str
    memory: Memory | None
    """None where NVML says "not supported", as on machines whose GPU has no memory of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NvmlAnswer:
    """All GPUs that NVML could describe, and in words what it could not."""

    gpus: tuple[NvmlGpu, ...]
    problem: str
    """Empty when there was none."""


def ask_nvml() -> NvmlAnswer:
    """Ask the driver; a machine without one, or without GPUs, gives an empty answer with the reason.

    A GPU that cannot be described, such as one that is lost, hides no other one.
    """
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return NvmlAnswer(gpus=(), problem=str(error))
    gpus: list[NvmlGpu] = []
    problems: list[str] = []
    try:
        for index in range(nvml.nvmlDeviceGetCount()):
            try:
                gpus.append(_describe(index))
            except pynvml.NVMLError as error:
                problems.append(f"GPU {index} cannot be read: {error}")
    except pynvml.NVMLError as error:
        problems.append(f"the GPUs cannot be counted: {error}")
    finally:
        pynvml.nvmlShutdown()
    return NvmlAnswer(gpus=tuple(gpus), problem="; ".join(problems))


def _describe(index: int) -> NvmlGpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    uuid, name = str(nvml.nvmlDeviceGetUUID(handle)), str(nvml.nvmlDeviceGetName(handle))
    try:
        answer = nvml.nvmlDeviceGetMemoryInfo(handle)
    except nvml.NVMLError_NotSupported:
        return NvmlGpu(index=index, uuid=uuid, name=name, memory=None)
    memory = Memory(total_mib=int(answer.total) // MIB, free_mib=int(answer.free) // MIB)
    return NvmlGpu(index=index, uuid=uuid, name=name, memory=memory)
