"""Further processes of `gpu.py`: one network per process, and another tenant of the GPU."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import torch
from gpu_sizes import Sizes

from ldtm_lib.models.fit import Progress
from ldtm_lib.models.single_fit import fit_alone
from ldtm_lib.settings import TrainingConfig

READY = "ready"


@contextmanager
def _process(sizes: Sizes, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process of this benchmark, which ends with the block."""
    rehearsal = [] if sizes.on_cuda else ["--rehearse"]
    command = [sys.executable, str(Path(__file__).with_name("gpu.py")), *rehearsal, *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def seconds_alone(sizes: Sizes, num_processes: int, batch_size: int) -> float:
    """The median time of an epoch of one network per process, with some processes at once."""
    with ExitStack() as stack:
        running = [
            stack.enter_context(_process(sizes, "--process", "alone", "--batch", str(batch_size)))
            for _ in range(num_processes)
        ]
        return float(np.median([float(_line(process)) for process in running]))


def _line(process: subprocess.Popen[str]) -> str:
    """The next line that a process prints; raises RuntimeError if the process ended without one."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args} ended with exit status {process.wait()}")
    return line


def alone(sizes: Sizes, batch_size: int) -> None:
    """Train one network the per-ticker way (nn.LSTM, autocast, GradScaler) and print the median of its epochs."""
    ends = [time.perf_counter()]

    def note(progress: Progress) -> None:
        ends.append(time.perf_counter())

    recipe = TrainingConfig(batch_size=batch_size, max_epochs=5)
    fit_alone(sizes.tasks(1)[0], recipe=recipe, architecture=sizes.architecture, device=sizes.device, on_progress=note)
    print(float(np.median(np.diff(ends)[1:])), flush=True)


class Tenant:
    """Another tenant of the GPU, which has started and waits for requests."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert _line(process).strip() == READY

    def step_ms(self) -> tuple[float, float]:
        """Median and 99th percentile of its steps, in milliseconds, over some seconds from now."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        median, highest = json.loads(_line(self._process))
        return median, highest


@contextmanager
def tenant(sizes: Sizes) -> Iterator[Tenant]:
    """A tenant in a process of its own."""
    with _process(sizes, "--process", "tenant") as process:
        yield Tenant(process)


def serve_tenant(sizes: Sizes, lines: Sequence[str] | Iterator[str]) -> None:
    """Hold memory and, for every line, measure steps for some seconds."""
    free = torch.cuda.mem_get_info(sizes.device)[0] if sizes.on_cuda else 2**30
    held = torch.empty(min(sizes.tenant_mib * 2**20, free // 2), dtype=torch.uint8, device=sizes.device)
    shape, dtype = (sizes.tenant_size, sizes.tenant_size), torch.float16 if sizes.on_cuda else torch.float32
    left, right = (torch.randn(shape, device=sizes.device, dtype=dtype) for _ in range(2))
    for _ in range(20):
        left @ right
    sizes.synchronize()
    print(READY, flush=True)
    for _ in lines:
        print(json.dumps(_steps(sizes, left, right)), flush=True)
    del held


def _steps(sizes: Sizes, left: torch.Tensor, right: torch.Tensor) -> tuple[float, float]:
    times: list[float] = []
    until = time.monotonic() + sizes.tenant_seconds
    while time.monotonic() < until:
        began = time.perf_counter()
        left @ right
        sizes.synchronize()
        times.append((time.perf_counter() - began) * 1000)
    return float(np.median(times)), float(np.percentile(times, 99))
