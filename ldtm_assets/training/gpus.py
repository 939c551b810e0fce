"""The GPUs of this machine as the processes of one environment may use them."""

from collections.abc import Mapping

from ldtm_lib.gpu.devices import GpuInventory, read_gpus
from ldtm_lib.models.cuda_memory import ask_cuda


def gpus_here(environ: Mapping[str, str]) -> GpuInventory:
    """The GPUs that an environment does not hide, with their memory at this moment."""
    return read_gpus(visible=environ.get("CUDA_VISIBLE_DEVICES"), cuda_memory=ask_cuda)
