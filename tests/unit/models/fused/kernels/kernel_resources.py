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
from ldtm_lib.models.fused.kernels import step_launch
from ldtm_lib.models.fused.kernels.tiling import HOPPER_ALTERNATIVES, Tilings, smaller_tilings, tilings_for
from ldtm_lib.models.fused.layout import FusedLayout
from ldtm_lib.settings import ArchitectureConfig

M, T, NUM_INPUTS, COLUMNS = 103, 30, 11, 16
KERNELS = {
    *("LSTM_FORWARD", "LSTM_BACKWARD", "HEADS_FORWARD", "HEADS_BACKWARD", "TAKE_ROWS", "GATHER_WINDOWS"),
    *("FIND_OVERFLOWS", "PLAN_UPDATES", "ADAMW"),
}


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
    first, first_hh, second_hh = weights.first_ih_MGK, weights.first_hh_MGH, weights.second_hh_MGH
    states, active = buffer(M, T + 2, B, COLUMNS + 2 * H), buffer(M, B, dtype=torch.bool)[:, 0]
    gates, cell = buffer(M, T, B, 4 * H), buffer(M, T, B, H)
    return {
        "first forward": lambda: kernels.lstm_forward(
            gates,
            first_hh,
            states[:, 1 : T + 1, :, COLUMNS : COLUMNS + H],
            cell,
            active_M=active,
            inputs_MTBK=states[:, :T, :, :COLUMNS],
            weight_ih_MGI=first,
            tiling=tilings.forward,
        ),
        "second forward": lambda: kernels.lstm_forward(
            gates, second_hh, states[:, 2:, :, COLUMNS + H :], cell, active_M=active, tiling=tilings.forward
        ),
        "second backward": lambda: kernels.lstm_backward(
            gates, second_hh, cell, active_M=active, grad_last_MBH=buffer(M, B, H), tiling=tilings.backward
        ),
        "first backward": lambda: kernels.lstm_backward(
            gates, first_hh, cell, active_M=active, grad_hidden_MTBH=buffer(M, T, B, H), tiling=tilings.backward
        ),
    }


def launch_step(num_windows: int) -> dict[str, Callable[[], None]]:
    """The other launches of a training step; those of a validation step differ by a sum."""
    single, long, B, E, D, R = torch.float32, torch.int64, num_windows, 3, 64, 5000
    layout = FusedLayout(ArchitectureConfig())
    parameters, exp_avg, exp_avg_sq = (buffer(M, layout.num_elements, dtype=single) for _ in range(3))
    half, grads = buffer(M, layout.num_elements), buffer(M, layout.num_elements)
    weights, of_weights = layout.weights(half), layout.weights(grads)
    numbers = {
        "learning_rate_M": buffer(M, dtype=single),
        "bias_correction1_M": buffer(M, dtype=single),
        "bias_correction2_sqrt_M": buffer(M, dtype=single),
        "inverse_scale_M": buffer(M, dtype=single),
        "update_M": buffer(M, dtype=torch.bool),
    }
    valid, rows, inner = buffer(M, B, dtype=torch.bool), buffer(M, B, dtype=torch.int32), buffer(M, B, E * D)
    table, targets = buffer(490_000, E, dtype=single), buffer(M, B, E, dtype=single)
    by_horizon = {name: buffer(M, E, dtype=single) for name in ("units", "losses", "weight")}
    counts = {name: buffer(M, dtype=long) for name in ("num_steps_M", "attempts_M", "updates_M", "streak_M")}
    overflow, scale = buffer(M, dtype=torch.int32), buffer(M, dtype=single)
    of_batch = (targets, by_horizon["units"], valid, buffer(M, B, E, dtype=single))
    return {
        "take rows": lambda: kernels.take_rows(
            *(buffer(M, R, dtype=torch.int32), buffer(M, dtype=long), buffer(M, dtype=long), valid, rows),
            targets_WE=table,
            targets_MBE=targets,
        ),
        "gather": lambda: kernels.gather_windows(
            buffer(500_000, NUM_INPUTS, dtype=single),
            buffer(490_000, NUM_INPUTS, dtype=single),
            buffer(490_000, NUM_INPUTS, dtype=single),
            buffer(490_000, dtype=long),
            rows,
            buffer(M, T + 2, B, COLUMNS + 256)[:, :T, :, :COLUMNS],
        ),
        "heads forward": lambda: kernels.heads_forward(
            *(inner, weights.inner_bias_MF, weights.outer_MED, weights.outer_bias_ME, *of_batch),
            delta=1.0,
            losses_ME=by_horizon["losses"],
        ),
        "heads backward": lambda: kernels.heads_backward(
            *(inner, weights.outer_MED, *of_batch),
            delta=1.0,
            weight_ME=by_horizon["weight"],
            scale_M=scale,
            grad_inner_bias_MF=of_weights.inner_bias_MF,
            grad_outer_MED=of_weights.outer_MED,
            grad_outer_bias_ME=of_weights.outer_bias_ME,
        ),
        "find overflows": lambda: kernels.find_overflows(grads, valid[:, 0], overflow),
        "plan updates": lambda: kernels.plan_updates(
            active_M=valid[:, 0],
            **counts,
            scale_M=scale,
            overflow_M=overflow,
            **numbers,
            learning_rate=1e-3,
            beta1=0.9,
            beta2=0.999,
            backoff=0.5,
            growth=2.0,
            growth_interval=2000,
        ),
        "adamw": lambda: kernels.adamw(
            *(parameters, half, grads, exp_avg, exp_avg_sq),
            **numbers,
            weight_decay=0.01,
            beta1=0.9,
            beta2=0.999,
            eps=1e-8,
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
    for module in (kernels, step_launch):
        for name in vars(module).keys() & KERNELS:
            setattr(module, name, Compiling(getattr(module, name), compiled))
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
