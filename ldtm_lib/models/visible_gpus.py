"""The GPUs of this machine that processes with a given environment may use."""

from collections.abc import Mapping

from ldtm_lib.gpu.devices import GpuInventory, read_gpus
from ldtm_lib.models.cuda_order import cuda_order


def gpus_here(environ: Mapping[str, str]) -> GpuInventory:
    """The GPUs that an environment does not hide, with their memory at this moment."""
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    return read_gpus(visible=visible, cuda_order=lambda: cuda_order(visible))
