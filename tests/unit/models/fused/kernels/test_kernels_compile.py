"""What the kernels take on GPUs that are not here: compiled for them, in a process without Triton's interpreter.

A thread has 255 registers; what does not fit is spilled to memory. A block may have 163 KiB of shared memory on
compute capability 8.0, 99 KiB on 8.6, 8.9 and 12.x, and 227 KiB on 9.0 and 10.x (CUDA programming guide, compute
capabilities). 8.6 and 10.3 compile to the same tilings as 8.9 and 10.0, and narrower networks take less of everything.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repository import REPOSITORY

if importlib.util.find_spec("triton") is None:  # imported here it could not be interpreted in test_kernels any more
    pytest.skip("kernels need Triton", allow_module_level=True)

SHARED_KIB = {"8.0": 163, "8.9": 99, "9.0": 227, "10.0": 227, "12.1": 99}
KERNELS = {"first forward", "second forward", "second backward", "first backward", "adamw", "gather"}


@pytest.mark.slow
@pytest.mark.parametrize("capability", SHARED_KIB)
def test_no_kernel_spills_registers_or_asks_for_more_shared_memory_than_a_block_may_have(capability: str) -> None:
    """At the real width, for a batch of whole programs and one with a rest."""
    found = compiled(capability)
    assert {(entry["kernel"], entry["windows"]) for entry in found} == {(k, w) for k in KERNELS for w in (64, 100)}
    for entry in found:
        assert entry["spilled"] == 0, entry
        assert entry["shared"] <= SHARED_KIB[capability] * 1024, entry


def compiled(capability: str) -> list[dict[str, int | str]]:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("kernel_resources.py")), capability, "128"],
        env={**environment, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    entries: list[dict[str, int | str]] = json.loads(done.stdout)
    return entries
