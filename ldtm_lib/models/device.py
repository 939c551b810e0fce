"""Which device to compute on."""

import torch

from ldtm_lib.errors import ConfigurationError


def choose_device(wanted: str) -> str:
    """`cpu`, `cuda` or `cuda:N` as asked, and for `auto` CUDA where there is one.

    Raises ConfigurationError when the device is not known or not here.
    """
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise ConfigurationError(f"device {wanted!r} is not known; use auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigurationError(f"device {wanted!r} is not here: {torch.cuda.device_count()} CUDA devices; use auto")
    return str(device)
