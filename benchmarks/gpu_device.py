"""Section of `gpu.py` that prints the device and the versions to which all figures belong."""

import importlib.metadata
import platform
from pathlib import Path

import torch
from gpu_sizes import Sizes

from ldtm_lib.models.fused.kernels.tiling import obstacle


def device(sizes: Sizes, folder: Path) -> bool:
    """Print the device and the versions; returns False if there is no device."""
    print(f"  Python {platform.python_version()}, torch {torch.__version__}, CUDA {torch.version.cuda}, {_triton()}")
    if not sizes.on_cuda:
        print("  a rehearsal on the CPU: the figures are meaningless")
        return True
    if not torch.cuda.is_available():
        print("  torch finds no CUDA device; run `ldtm doctor` for the reason")
        return False
    name, capability = torch.cuda.get_device_name(sizes.device), torch.cuda.get_device_capability(sizes.device)
    free, total = (size // 2**20 for size in torch.cuda.mem_get_info(sizes.device))
    print(f"  {name}, compute capability {capability[0]}.{capability[1]}, {free:,} of {total:,} MiB free")
    why = obstacle(sizes.device, sizes.architecture.hidden)
    print(f"  kernels: {f'left out, {why}' if why else 'run on this device'}")
    return True


def _triton() -> str:
    try:
        return f"Triton {importlib.metadata.version('triton')}"
    except importlib.metadata.PackageNotFoundError:
        return "no Triton"
