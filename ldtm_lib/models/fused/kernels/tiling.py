"""Tilings of the recurrence kernels on each kind of GPU, and the conditions for running the kernels at all.

The tilings were chosen from compiled code, without a GPU. Compiled with Triton 3.7.1 none spills registers, and each
fits into the shared memory that a block may have: 227 KiB on compute capability 9.0 and 10.x (208 KiB used), 163 KiB
on 8.0 and 8.7 (152 KiB used), 99 KiB on consumer GPUs (56 KiB used).
"""

import importlib.util
import os
import shutil
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch

HIDDEN_UNITS = (16, 32, 64, 128)
"""Supported numbers H of hidden units: beyond 128 the weights of a layer, 8 H^2 bytes, fit into no GPU's shared
memory."""
CACHED_WEIGHTS_FROM = 128
"""Smallest number of hidden units with which consumer GPUs read weights from the cache at every session."""
WARP_THREADS, THREAD_ELEMENTS = 32, 8
OLDEST_CAPABILITY = (8, 0)
"""Oldest compute capability with matrix units for float16 and asynchronous copies as the kernels use them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """The shape of one program of a recurrence kernel."""

    rows: int
    """Windows of one program: a power of two, at least 16."""
    warps: int
    stages: int
    """With 2, a session is loaded while the one before it is computed; with 1 it is not."""
    resident: bool
    """True if the recurrent weights stay in shared memory all the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tilings:
    """One tiling for each direction."""

    forward: Tiling
    backward: Tiling


HOPPER = Tilings(
    forward=Tiling(rows=64, warps=8, stages=2, resident=True),
    backward=Tiling(rows=32, warps=8, stages=2, resident=True),
)
"""Hopper's matrix units take 64 rows from shared memory without copies in registers. In the backward pass there is no
room next to the weights to load 64 rows ahead; 32 rows with loads ahead are kept until a benchmark times both."""
BLACKWELL = Tilings(
    forward=Tiling(rows=32, warps=8, stages=2, resident=True),
    backward=Tiling(rows=32, warps=8, stages=2, resident=True),
)
AMPERE = Tilings(
    forward=Tiling(rows=32, warps=8, stages=1, resident=True),
    backward=Tiling(rows=32, warps=8, stages=1, resident=True),
)
CONSUMER = Tilings(
    forward=Tiling(rows=32, warps=8, stages=1, resident=False),
    backward=Tiling(rows=32, warps=8, stages=1, resident=False),
)

CHOSEN: Mapping[tuple[int, int], Tilings] = {
    (8, 0): AMPERE,
    (8, 7): AMPERE,
    (9, 0): HOPPER,
    (10, 0): BLACKWELL,
    (10, 3): BLACKWELL,
}
"""Tilings by compute capability; all other GPUs get those that fit into 99 KiB."""

HOPPER_ALTERNATIVES = (
    Tilings(
        forward=Tiling(rows=64, warps=8, stages=2, resident=True),
        backward=Tiling(rows=64, warps=16, stages=1, resident=True),
    ),
    Tilings(
        forward=Tiling(rows=64, warps=8, stages=2, resident=True),
        backward=Tiling(rows=64, warps=8, stages=1, resident=True),
    ),
    Tilings(
        forward=Tiling(rows=64, warps=8, stages=2, resident=True),
        backward=Tiling(rows=32, warps=16, stages=2, resident=True),
    ),
    Tilings(
        forward=Tiling(rows=32, warps=8, stages=2, resident=True),
        backward=Tiling(rows=64, warps=8, stages=1, resident=True),
    ),
    Tilings(
        forward=Tiling(rows=64, warps=8, stages=1, resident=True),
        backward=Tiling(rows=16, warps=8, stages=2, resident=True),
    ),
)
"""Tilings that a benchmark may compare with the choice at 128 hidden units; none spills. With 64 rows in the backward
pass, 103 networks of 64 windows are one wave of programs on 132 multiprocessors instead of two. Nothing is loaded ahead
then; some of 16 warps compute while others wait."""


def tilings_for(capability: tuple[int, int], hidden: int) -> Tilings:
    """The choice for a compute capability and a number of hidden units."""
    tilings = CHOSEN.get(capability, CONSUMER)
    if hidden >= CACHED_WEIGHTS_FROM:
        return tilings
    return Tilings(forward=_narrowed(tilings.forward, hidden), backward=_narrowed(tilings.backward, hidden))


def _narrowed(tiling: Tiling, hidden: int) -> Tiling:
    return replace(tiling, resident=True, warps=min(tiling.warps, max_warps(tiling.rows, hidden)))


def max_warps(rows: int, columns: int) -> int:
    """The most warps that share a matrix of float16 without reading anything twice: a thread reads 16 bytes at once.

    A kernel overwrites what it has read. A warp that read the same again, after another one had written, would compute
    with a result instead of an input.
    """
    return max(1, rows * columns // (WARP_THREADS * THREAD_ELEMENTS))


def smaller_tilings(capability: tuple[int, int], hidden: int) -> Tilings:
    """The smallest programs, for another try where the chosen ones do not run, on every compute capability alike.

    Weights stay in shared memory only if a program then takes at most 48 KiB, which every GPU grants by default.
    """
    del capability  # nothing that differs between GPUs is used
    rows = 16
    tiling = Tiling(rows=rows, warps=max_warps(rows, hidden), stages=1, resident=hidden < CACHED_WEIGHTS_FROM)
    return Tilings(forward=tiling, backward=tiling)


@cache
def tilings_of(device: torch.device, hidden: int) -> Tilings:
    """The choice for a device; on the CPU, where kernels are only interpreted, it does not matter."""
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else (0, 0)
    return tilings_for(capability, hidden)


def obstacle(device: torch.device, hidden: int) -> str | None:
    """Reason why the kernels do not run on a device, such as "no C compiler is on PATH"; None if they do.

    Triton builds its launcher when it first runs, which takes a C compiler and Python's headers.
    """
    if device.type != "cuda":
        return f"{device} is not a CUDA device"
    if hidden not in HIDDEN_UNITS:
        return f"{hidden} hidden units are not among the supported numbers {HIDDEN_UNITS}"
    capability = torch.cuda.get_device_capability(device)
    if capability < OLDEST_CAPABILITY:
        return f"compute capability {capability} is below {OLDEST_CAPABILITY}"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        return "no C compiler is on PATH; install gcc"
    header = Path(sysconfig.get_path("include", "posix_prefix"), "Python.h")
    return None if header.exists() else f"{header} is missing; install Python's development headers"
