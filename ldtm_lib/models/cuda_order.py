"""The order in which CUDA numbers the GPUs, queried in a process that ends with the answer.

A process that queries CUDA gets a context of about 500 MiB on every GPU and keeps it until it ends: a daemon would
occupy that memory for as long as it runs. The order does not change while a process lives, and is queried once.
"""

import json
import subprocess
import sys

from ldtm_lib.gpu.devices import CudaOrder

TIMEOUT_SECONDS = 60.0
_known: dict[str | None, CudaOrder] = {}


def cuda_order(visible: str | None, timeout_seconds: float = TIMEOUT_SECONDS) -> CudaOrder:
    """Query CUDA in this process's environment, whose CUDA_VISIBLE_DEVICES is `visible`.

    Takes seconds the first time. If the query fails or does not end in time, the answer is empty, with the reason, and
    the next call queries again.
    """
    if visible in _known:
        return _known[visible]
    command = [sys.executable, "-m", "ldtm_lib.models.cuda_order"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_seconds, check=True)
    except subprocess.TimeoutExpired:
        return CudaOrder(uuids=(), problem=f"CUDA did not answer in {timeout_seconds:g} s")
    except subprocess.CalledProcessError as error:
        lines = str(error.stderr).strip().splitlines() or [f"exit status {error.returncode}"]
        return CudaOrder(uuids=(), problem=f"CUDA could not be queried: {lines[-1]}")
    uuids = tuple(json.loads(done.stdout))
    if not uuids:
        return CudaOrder(uuids=(), problem="CUDA reports no GPU")
    return _known.setdefault(visible, CudaOrder(uuids=uuids))


def uuid_of(number: int) -> str:
    """The UUID of the device `cuda:<number>` as NVML writes that of a whole GPU."""
    import torch

    properties = torch.cuda.get_device_properties(number)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    uuid = str(properties.uuid)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    return uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"


def _report() -> list[str]:
    """The GPUs of this process in CUDA's order."""
    import torch

    return [uuid_of(number) for number in range(torch.cuda.device_count())]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_report()))
