"""Compile the kernels as they would be launched on a GPU that is not here, and print what each would take there.

A program of its own: `python kernel_resources.py 9.0 chosen 64 128` prints a JSON list for a compute capability, a
choice of tilings (`chosen`, `smaller` or `alternatives`) and numbers of hidden units. Triton is given a driver that
only knows a compute capability; tensors on PyTorch's `meta` device stand for the buffers; a launch only compiles.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from triton import knobs, runtime
from triton.backends.compiler import GPUTarget

from ldtm_lib.models.fused.kernels import launch as kernels
from ldtm_lib.models.fused.kernels.tiling import HOPPER_ALTERNATIVES, Tilings, smaller_tilings, tilings_for
from ldtm_lib.models.fused.layout import FusedLayout
from ldtm_lib.settings import ArchitectureConfig

M, T, NUM_INPUTS, COLUMNS = 103, 30, 11, 16


class Compiling:
    """A kernel that is compiled instead of launched."""

    def __init__(self, kernel: Any, compiled: list[Any]) -> None:
        self.kernel, self.compiled = kernel, compiled

    def __getitem__(self, grid: tuple[int, int]) -> Callable[..., None]:
        def compile_(*arguments: Any, **constants: Any) -> None:
            self.compiled.append(self.kernel.warmup(*arguments, grid=grid, **constants))

        return compile_


def buffer(*shape: int, dtype: torch.dtype = torch.float16) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def launch_recurrence(tilings: Tilings, hidden: int, num_windows: int) -> dict[str, Callable[[], None]]:
    """The four launches of a training step, by name."""
    B, H = num_windows, hidden
    layout = FusedLayout(ArchitectureConfig(hidden=hidden))
    weights = layout.weights(buffer(M, layout.num_elements))
    first, first_hh, second_hh = weights.first_ih_MGI, weights.first_hh_MGH, weights.second_hh_MGH
    states, active = buffer(M, T + 1, B, 2 * H), buffer(M, B, dtype=torch.bool)[:, 0]
    gates, cell = buffer(M, T, B, 4 * H), buffer(M, T, B, H)
    return {
        "first forward": lambda: kernels.lstm_forward(
            gates,
            first_hh,
            states[:, :T, :, :H],
            cell,
            active_M=active,
            inputs_MTBK=buffer(M, T, B, COLUMNS),
            weight_ih_MGI=first,
            tiling=tilings.forward,
        ),
        "second forward": lambda: kernels.lstm_forward(
            gates, second_hh, states[:, 1:, :, H:], cell, active_M=active, tiling=tilings.forward
        ),
        "second backward": lambda: kernels.lstm_backward(
            gates, second_hh, cell, active_M=active, grad_last_MBH=buffer(M, B, H), tiling=tilings.backward
        ),
        "first backward": lambda: kernels.lstm_backward(
            gates, first_hh, cell, active_M=active, grad_hidden_MTBH=buffer(M, T, B, H), tiling=tilings.backward
        ),
    }


def launch_step(num_windows: int) -> dict[str, Callable[[], None]]:
    single = torch.float32
    matrices = [buffer(M, 227_328, dtype=single) for _ in range(3)]
    numbers = {
        name: buffer(M, dtype=single)
        for name in ("learning_rate_M", "bias_correction1_M", "bias_correction2_sqrt_M", "inverse_scale_M")
    }
    inputs = buffer(M, T, num_windows, COLUMNS)
    return {
        "adamw": lambda: kernels.adamw(
            matrices[0],
            buffer(M, 227_328),
            buffer(M, 227_328),
            *matrices[1:],
            **numbers,
            update_M=buffer(M, dtype=torch.bool),
            weight_decay=0.01,
            beta1=0.9,
            beta2=0.999,
            eps=1e-8,
        ),
        "gather": lambda: kernels.gather_windows(
            buffer(500_000, NUM_INPUTS, dtype=single),
            buffer(490_000, NUM_INPUTS, dtype=single),
            buffer(490_000, NUM_INPUTS, dtype=single),
            buffer(490_000, dtype=torch.int64),
            buffer(M, num_windows, dtype=torch.int32),
            inputs,
        ),
    }


def resources(compiled: Any) -> dict[str, int]:
    """Registers of a thread, bytes of spilled registers of a thread, bytes of shared memory of a program."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        command = [knobs.nvidia.cuobjdump.path, "--dump-resource-usage", file.name]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)", output)
    assert found, output
    registers, stack, local = map(int, found.groups())
    return {"registers": registers, "spilled": stack + local, "shared": compiled.metadata.shared}


CHOICES: dict[str, Callable[[tuple[int, int], int], tuple[Tilings, ...]]] = {
    "chosen": lambda capability, hidden: (tilings_for(capability, hidden),),
    "smaller": lambda capability, hidden: (smaller_tilings(capability, hidden),),
    "alternatives": lambda capability, hidden: HOPPER_ALTERNATIVES,
}


def main(capability: str, choice: str, *hidden_units: int) -> None:
    major, minor = map(int, capability.split("."))
    target = GPUTarget("cuda", 10 * major + minor, 32)
    runtime.driver.set_active(
        SimpleNamespace(
            get_current_target=lambda: target, get_current_device=lambda: 0, get_current_stream=lambda device: 0
        )
    )
    compiled: list[Any] = []
    for name in ("LSTM_FORWARD", "LSTM_BACKWARD", "ADAMW", "GATHER_WINDOWS"):
        setattr(kernels, name, Compiling(getattr(kernels, name), compiled))
    entries: list[dict[str, object]] = []
    for num_windows in (64, 100):
        by_hidden = {
            (hidden, at): launch_recurrence(tilings, hidden, num_windows)
            for hidden in hidden_units
            for at, tilings in enumerate(CHOICES[choice]((major, minor), hidden))
        }
        if choice == "chosen":
            by_hidden[0, 0] = launch_step(num_windows)
        for (hidden, at), launches in by_hidden.items():
            for name, launch in launches.items():
                launch()
                shape = {"kernel": name, "hidden": hidden, "tilings": at, "windows": num_windows}
                entries.append({**shape, **resources(compiled[-1])})
    print(json.dumps(entries))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
