"""What CUDA reports of the memory of its GPUs, asked in a process that ends with the answer.

A process that asks gets a CUDA context of about 500 MiB on every GPU and keeps it until it ends: a daemon that asked
by itself would sit on that memory for ever. The answer is short of the asking process's own context, so a little low.
"""

import json
import subprocess
import sys
from typing import Protocol

from ldtm_lib.gpu.devices import CudaAnswer, CudaGpu
from ldtm_lib.gpu.nvml import MIB, Memory

TIMEOUT_SECONDS = 60.0


def ask_cuda(timeout_seconds: float = TIMEOUT_SECONDS) -> CudaAnswer:
    """Ask CUDA, under this process's environment; takes seconds, most of them to import torch.

    A process that fails, or does not end in time, gives an empty answer with the reason.
    """
    command = [sys.executable, "-m", "ldtm_lib.models.cuda_memory"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_seconds, check=True)
    except subprocess.TimeoutExpired:
        return CudaAnswer(gpus=(), problem=f"CUDA did not answer in {timeout_seconds:g} s")
    except subprocess.CalledProcessError as error:
        lines = str(error.stderr).strip().splitlines() or [f"exit status {error.returncode}"]
        return CudaAnswer(gpus=(), problem=f"CUDA could not be asked: {lines[-1]}")
    gpus = tuple(
        CudaGpu(uuid=row["uuid"], memory=Memory(total_mib=row["total_mib"], free_mib=row["free_mib"]))
        for row in json.loads(done.stdout)
    )
    return CudaAnswer(gpus=gpus, problem="" if gpus else "CUDA reports no GPU")


def uuid_of(number: int) -> str:
    """The UUID of the device `cuda:<number>` as NVML writes it."""
    uuid = str(_properties(number).uuid)
    return uuid if uuid.startswith("GPU-") else f"GPU-{uuid}"


def _report() -> list[dict[str, str | int]]:
    """The GPUs of this process in CUDA's order. One that is too full for a context has nothing free."""
    import torch

    rows: list[dict[str, str | int]] = []
    for number in range(torch.cuda.device_count()):
        try:
            free, total = torch.cuda.mem_get_info(number)
        except RuntimeError as error:
            if "out of memory" not in str(error):
                raise
            free, total = 0, _properties(number).total_memory
        rows.append({"uuid": uuid_of(number), "total_mib": total // MIB, "free_mib": free // MIB})
    return rows


def _properties(number: int) -> "_Properties":
    import torch

    return torch.cuda.get_device_properties(number)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


class _Properties(Protocol):
    """What is asked of torch's description of a device, which has no types."""

    uuid: object
    total_memory: int


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_report()))
