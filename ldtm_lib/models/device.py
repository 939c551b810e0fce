"""Choice of the device to compute on, and its identity among the driver's GPUs."""

import torch

from ldtm_lib.errors import ConfigurationError
from ldtm_lib.models.cuda_order import uuid_of
from ldtm_lib.wording import counted


def choose_device(wanted: str) -> str:
    """The requested device, `cpu`, `cuda` or `cuda:N`; for `auto`, `cuda` if CUDA is available and `cpu` if not.

    Raises ConfigurationError when the device is not known or this machine does not have it.
    """
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise ConfigurationError(f"device {wanted!r} is not known; use auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        num_devices = torch.cuda.device_count()
        raise ConfigurationError(
            f"CUDA shows {counted(num_devices, 'device')}, and {wanted!r} is not among them; use auto"
        )
    return str(device)


def torch_version() -> str:
    """The version of PyTorch, such as 2.13.0+cpu."""
    return str(torch.__version__)


def gpu_of(device: str) -> str | None:
    """The UUID, as NVML writes it, of the GPU `cuda:N`; None for `cuda`, which means any GPU."""
    _, _, number = device.partition(":")
    return uuid_of(int(number)) if number else None


def device_of(gpu: str) -> str:
    """The name `cuda:N` of the GPU with a UUID. CUDA counts the fastest GPU first, NVML by the slot on the board.

    Raises ConfigurationError when CUDA does not show the GPU to this process.
    """
    num_devices = torch.cuda.device_count()
    for number in range(num_devices):
        if uuid_of(number).removeprefix("GPU-").removeprefix("MIG-") == gpu.removeprefix("GPU-").removeprefix("MIG-"):
            return f"cuda:{number}"
    if gpu.startswith("MIG-") and num_devices == 1:  # older versions of CUDA report the UUID of the divided GPU
        return "cuda:0"
    raise ConfigurationError(
        f"{gpu} is leased, but is not among the devices that CUDA shows ({num_devices}); name whole GPUs in "
        "CUDA_VISIBLE_DEVICES, or train with the device cpu"
    )
