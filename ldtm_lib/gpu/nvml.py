"""Information from NVML, the driver's own library, about the GPUs of this machine."""

from dataclasses import dataclass
from pathlib import Path
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
    """One GPU by its number in nvidia-smi, with its memory if the driver reports it."""

    index: int
    uuid: str
    """As nvidia-smi writes it: `GPU-`, or `MIG-` for a slice, and five groups of hexadecimal digits."""
    name: str
    memory: Memory

    @property
    def is_slice(self) -> bool:
        """True if it is a slice of a GPU that is divided (Multi-Instance GPU)."""
        return self.uuid.startswith("MIG-")


@dataclass(frozen=True, slots=True, kw_only=True)
class NvmlAnswer:
    """All GPUs that NVML could describe, and a message about those that it could not."""

    gpus: tuple[NvmlGpu, ...]
    problem: str
    """Empty when there was none."""


def ask_nvml() -> NvmlAnswer:
    """Query the driver. Without a driver or GPUs the answer is empty, with the reason that NVML gives, if any.

    A GPU that cannot be described, such as one that is lost, does not hide others. A GPU that is divided is replaced by
    its slices.
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
                handle = nvml.nvmlDeviceGetHandleByIndex(index)
                slices = _slices(handle)
                if slices is not None and not slices:
                    problems.append(f"GPU {index} is in MIG mode and has no slice; create one with nvidia-smi mig")
                gpus += [_describe(index, each) for each in ([handle] if slices is None else slices)]
            except pynvml.NVMLError as error:
                problems.append(f"GPU {index} cannot be read: {error}")
    except pynvml.NVMLError as error:
        problems.append(f"the GPUs cannot be counted: {error}")
    finally:
        pynvml.nvmlShutdown()
    return NvmlAnswer(gpus=tuple(gpus), problem="; ".join(problems))


def driver_version() -> str | None:
    """The version of the driver; None if NVML does not answer."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        return str(nvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def system_memory(meminfo: str) -> Memory:
    """The memory of the machine from the text of /proc/meminfo; the page cache counts as free."""
    sizes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in meminfo.splitlines())}
    return Memory(total_mib=sizes["MemTotal"] // 1024, free_mib=sizes["MemAvailable"] // 1024)


def _describe(index: int, handle: Any) -> NvmlGpu:
    uuid, name = str(nvml.nvmlDeviceGetUUID(handle)), str(nvml.nvmlDeviceGetName(handle))
    try:
        answer = nvml.nvmlDeviceGetMemoryInfo(handle)
    except nvml.NVMLError_NotSupported:  # the GPU has no memory of its own; CUDA counts the page cache as used
        memory = system_memory(Path("/proc/meminfo").read_text())
    else:
        memory = Memory(total_mib=int(answer.total) // MIB, free_mib=int(answer.free) // MIB)
    return NvmlGpu(index=index, uuid=uuid, name=name, memory=memory)


def _slices(handle: Any) -> list[Any] | None:
    """The slices of a GPU; None for one that is not divided."""
    try:
        mode, _ = nvml.nvmlDeviceGetMigMode(handle)
        if mode != nvml.NVML_DEVICE_MIG_ENABLE:
            return None
        most = nvml.nvmlDeviceGetMaxMigDeviceCount(handle)
    except (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound):
        return None
    found: list[Any] = []
    for number in range(most):
        try:
            found.append(nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number))
        except nvml.NVMLError_NotFound:
            continue
    return found
