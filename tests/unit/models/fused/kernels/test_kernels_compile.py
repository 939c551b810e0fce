"""What the kernels take on GPUs that are not here: compiled for them, in a process without Triton's interpreter.

A thread has 255 registers; what does not fit is spilled to memory. A block may have 163 KiB of shared memory on
compute capability 8.0, 99 KiB on 8.6, 8.9 and 12.x, and 227 KiB on 9.0 and 10.x (CUDA programming guide, compute
capabilities). 10.3 has the tilings of 10.0.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ldtm_lib.models.fused.kernels.tiling import HIDDEN_UNITS
from tests.repository import REPOSITORY

if importlib.util.find_spec("triton") is None:  # imported here it could not be interpreted in test_kernels any more
    pytest.skip("kernels need Triton", allow_module_level=True)

SHARED_KIB = {"8.0": 163, "8.6": 99, "8.9": 99, "9.0": 227, "10.0": 227, "12.0": 99, "12.1": 99}
RECURRENCE = {"first forward", "second forward", "second backward", "first backward"}
STEP = {
    *("take rows", "gather", "heads forward", "heads backward", "find overflows", "plan updates", "adamw"),
}
STACK = {"plan updates"}
"""The cosine of a float64 keeps digits of pi on the stack, for angles that do not occur."""


@pytest.mark.slow
def test_no_kernel_spills_registers_or_asks_for_more_shared_memory_than_a_block_may_have() -> None:
    """At the real width on Hopper, for a batch of whole programs and one with a rest; the nightly tests do the rest."""
    hold_within_limits("9.0", "chosen", 128)


@pytest.mark.nightly
@pytest.mark.parametrize("capability", SHARED_KIB)
def test_networks_of_every_width_fit_into_every_gpu(capability: str) -> None:
    hold_within_limits(capability, "chosen", *HIDDEN_UNITS)


@pytest.mark.nightly
@pytest.mark.parametrize("capability", ["8.0", "9.0", "12.1"])
def test_smaller_programs_fit_into_48_kib_where_networks_are_narrow(capability: str) -> None:
    """The tilings are the same on every GPU; three stand for all."""
    found = hold_within_limits(capability, "smaller", *HIDDEN_UNITS)
    assert all(entry["shared"] <= 48 * 1024 for entry in found if int(entry["hidden"]) <= 64)


@pytest.mark.nightly
def test_the_alternatives_that_a_benchmark_may_try_fit_too() -> None:
    hold_within_limits("9.0", "alternatives", 128)


def hold_within_limits(capability: str, choice: str, *hidden_units: int) -> list[dict[str, int]]:
    found = compiled(capability, choice, *hidden_units)
    kernels = {(kernel, hidden) for kernel in RECURRENCE for hidden in hidden_units}
    kernels |= {(kernel, 0) for kernel in STEP if choice == "chosen"}
    assert {(entry["kernel"], entry["hidden"], entry["windows"]) for entry in found} == {
        (*kernel, windows) for kernel in kernels for windows in (64, 100)
    }
    for entry in found:
        assert entry["registers"] <= 255, entry
        assert entry["spilled"] == 0 or entry["kernel"] in STACK, entry
        assert entry["shared"] <= SHARED_KIB[capability] * 1024, entry
    return found


def compiled(capability: str, choice: str, *hidden_units: int) -> list[dict[str, int]]:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [
            *(sys.executable, str(Path(__file__).with_name("kernel_resources.py"))),
            *(capability, choice, *map(str, hidden_units)),
        ],
        env={**environment, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    entries: list[dict[str, int]] = json.loads(done.stdout)
    return entries
