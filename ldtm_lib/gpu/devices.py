"""The GPUs of this machine as NVML sees them, and how many training jobs fit beside their other tenants."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pynvml  # pyright: ignore[reportMissingTypeStubs]

from ldtm_lib.config import GpuConfig

MIB = 2**20
nvml: Any = pynvml


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU and its memory in MiB."""

    index: int
    name: str
    total_mib: int
    free_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuReading:
    """What was found, or in words why nothing was."""

    gpus: tuple[Gpu, ...]
    note: str


def read_gpus() -> GpuReading:
    """Ask NVML for all GPUs; a machine without one gives an empty reading with the reason."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return GpuReading(gpus=(), note=f"no GPU: {error}; models are trained on the CPU")
    try:
        gpus: list[Gpu] = []
        notes: list[str] = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            name = str(nvml.nvmlDeviceGetName(handle))
            try:
                memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            except pynvml.NVMLError as error:
                notes.append(f"GPU {index} ({name}) does not tell its memory: {error}")
                continue
            gpus.append(
                Gpu(index=index, name=name, total_mib=int(memory.total) // MIB, free_mib=int(memory.free) // MIB)
            )
        return GpuReading(gpus=tuple(gpus), note="; ".join(notes) or f"{len(gpus)} GPUs")
    except pynvml.NVMLError as error:
        return GpuReading(gpus=(), note=f"the GPUs cannot be read: {error}; one training runs at a time")
    finally:
        pynvml.nvmlShutdown()


def job_slots(gpus: Sequence[Gpu], config: GpuConfig) -> int:
    """How many jobs may run at once: (free - reserve) / MiB per job on the first GPU, capped; at least 0.

    Training uses one device, the first, so that the memory of further GPUs makes no room. Where the first GPU is
    absent or does not tell its memory it is 1: one job at a time.
    """
    first = next((gpu for gpu in gpus if gpu.index == 0), None)
    if first is None:
        return 1
    return min(max(0, first.free_mib - config.reserve_mib) // config.mib_per_job, config.max_jobs)
