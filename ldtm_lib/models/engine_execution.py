"""Execution of a TensorRT context on buffers of torch, which manages the memory of the GPU."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ldtm_lib.errors import EngineRefused


def gpu_properties() -> tuple[str, str] | None:
    """Name and compute capability, such as "9.0", of the current CUDA device; None without one."""
    if not torch.cuda.is_available():
        return None
    major, minor = torch.cuda.get_device_capability()
    return torch.cuda.get_device_name(), f"{major}.{minor}"


def execute(
    context: Any,
    inputs: Mapping[str, npt.NDArray[np.float32]],
    output_shapes: Mapping[str, tuple[int, ...]],
    *,
    device: str,
) -> dict[str, npt.NDArray[np.float32]]:
    """The float32 outputs of an `IExecutionContext` for some inputs, on its current stream.

    Raises EngineRefused when TensorRT refuses a shape or the execution, and when the GPU has no memory for the buffers.
    """
    try:
        buffers = {name: torch.tensor(array, device=device) for name, array in inputs.items()}
        outputs = {name: torch.empty(shape, device=device) for name, shape in output_shapes.items()}
    except RuntimeError as error:  # torch.OutOfMemoryError among others
        raise EngineRefused(
            f"{device} cannot hold inputs and outputs of the engine: {error}; free memory on it"
        ) from None
    for name, tensor in buffers.items():
        if not context.set_input_shape(name, tuple(tensor.shape)):
            raise EngineRefused(f"the engine does not take {name} of shape {tuple(tensor.shape)}; build it again")
    for name, tensor in (buffers | outputs).items():
        context.set_tensor_address(name, tensor.data_ptr())
    is_cuda = torch.device(device).type == "cuda"
    stream = torch.cuda.current_stream().cuda_stream if is_cuda else 0
    if not context.execute_async_v3(stream):
        raise EngineRefused("TensorRT could not execute the engine; see its messages above, and build the engine again")
    return {name: tensor.cpu().numpy() for name, tensor in outputs.items()}
