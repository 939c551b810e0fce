"""Methods of training that break off as they do on GPUs, run in processes of their own.

Triton's errors are its own where they can be had without a GPU: kernels are really compiled, for a GPU that is not
here.
"""

import dataclasses
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import torch

from ldtm_lib.errors import LdtmError, TooFewBars, TrainingDiverged
from ldtm_lib.models.fit import Fit, FitFailed, Progress
from ldtm_lib.models.fused.trainer import OutOfDeviceMemory
from ldtm_lib.models.on_gpu.methods import Job, Reports, one_by_one

PIDS = "pids"
"""The file beside the cache of a job that processes which hang leave their number in."""
Results = Iterator[Fit | FitFailed]


def compile_a_kernel() -> None:
    """As at the first launch on a GPU of compute capability 9.0."""
    os.environ.pop("TRITON_INTERPRET", None)
    from triton import runtime
    from triton.backends.compiler import GPUTarget

    from ldtm_lib.models.fused.kernels import step

    runtime.driver.set_active(
        SimpleNamespace(
            get_current_target=lambda: GPUTarget("cuda", 90, 32),
            get_current_device=lambda: 0,
            get_current_stream=lambda device: 0,
        )
    )
    row, number = torch.empty(3, 1024, device="meta"), torch.empty(3, device="meta")
    arguments = [row, row, row, row, row, *[number] * 4, torch.empty(3, dtype=torch.bool, device="meta"), 1024]
    constants = {"WEIGHT_DECAY": 0.0, "BETA1": 0.9, "BETA2": 0.999, "EPS": 1e-8, "HALF": False, "BLOCK": 1024}
    step.adamw.warmup(*arguments, *[1024] * 5, *[1] * 5, grid=(1, 3), **constants)


def no_driver(job: Job, reports: Reports) -> Results:
    os.environ.pop("TRITON_INTERPRET", None)
    from triton.backends.nvidia.driver import libcuda_dirs

    os.environ["TRITON_LIBCUDA_PATH"] = ""
    libcuda_dirs()
    yield from ()


def invalid_image(job: Job, reports: Reports) -> Results:
    raise RuntimeError("Triton Error [CUDA]: device kernel image is invalid")
    yield


def out_of_resources(job: Job, reports: Reports) -> Results:
    from triton.runtime.errors import OutOfResources

    raise OutOfResources(262144, 232448, "shared memory")
    yield


def cache_that_cannot_be_written(job: Job, reports: Reports) -> Results:
    os.environ["TRITON_CACHE_DIR"] = "/proc/triton"
    compile_a_kernel()
    yield from ()


def failing_assembler(job: Job, reports: Reports) -> Results:
    folder = job.cache.parent
    os.environ["TRITON_CACHE_DIR"] = str(folder / "triton")
    ptxas = folder / "ptxas"
    ptxas.write_text(
        '#!/bin/sh\nif [ "$1" = --version ]; then echo "Cuda compilation tools, release 12.9, V12.9.86"; exit; fi\n'
        "echo \"ptxas fatal   : Value 'sm_90a' is not defined for option 'gpu-name'\" >&2\nexit 255\n"
    )
    ptxas.chmod(0o755)
    os.environ["TRITON_PTXAS_PATH"] = str(ptxas)
    compile_a_kernel()
    yield from ()


def no_memory(job: Job, reports: Reports) -> Results:
    raise OutOfDeviceMemory("cuda:0 has no room for one network: CUDA out of memory.")
    yield


def illegal_access_after_one(job: Job, reports: Reports) -> Results:
    """The context is poisoned from then on, as an illegal access does."""
    yield from one_by_one(dataclasses.replace(job, tasks=job.tasks[:1]), reports)
    raise RuntimeError("CUDA error: an illegal memory access was encountered\nCompile with TORCH_USE_CUDA_DSA")


def crash_after_one(job: Job, reports: Reports) -> Results:
    yield from one_by_one(dataclasses.replace(job, tasks=job.tasks[:1]), reports)
    os.kill(os.getpid(), signal.SIGSEGV)


def never_ready(job: Job, reports: Reports) -> Results:
    _write_pid(job)
    time.sleep(600)
    yield from ()


def ready_and_silent(job: Job, reports: Reports) -> Results:
    reports.ready()
    _write_pid(job)
    time.sleep(600)
    yield from ()


def notice_and_silence(job: Job, reports: Reports) -> Results:
    _write_pid(job)
    reports.ready()
    reports.notice("the last that is heard")
    time.sleep(600)
    yield from ()


def out_of_words_and_alive(job: Job, reports: Reports) -> Results:
    """A process that closes its end of the pipe and hangs, as one that cannot leave a broken GPU does."""
    reports.ready()
    _write_pid(job)
    os.closerange(3, 100)
    time.sleep(600)
    yield from ()


class TwoReasons(LdtmError):
    """An error that pickle cannot put together again."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


def error_that_does_not_unpickle(job: Job, reports: Reports) -> Results:
    reports.ready()
    yield FitFailed(task=job.tasks[0], reason=TwoReasons("this", "that"))


def refusal_that_does_not_unpickle(job: Job, reports: Reports) -> Results:
    raise TwoReasons("this", "that")
    yield


def garbage(job: Job, reports: Reports) -> Results:
    reports.ready()
    reports.progress(cast(Progress, "garbage"))
    yield from ()


def much_to_say_and_a_crash(job: Job, reports: Reports) -> Results:
    for _ in range(64):
        os.write(2, b"x" * 2**20)
    os.write(2, b"\nthe last words\n")
    os.kill(os.getpid(), signal.SIGKILL)
    yield from ()


def everything_twice(job: Job, reports: Reports) -> Results:
    for result in one_by_one(job, reports):
        yield result
        yield result
        yield FitFailed(task=result.task, reason=TooFewBars("said after the result"))


def all_diverge(job: Job, reports: Reports) -> Results:
    reports.ready()
    for task in job.tasks:
        yield FitFailed(task=task, reason=TrainingDiverged(f"{task.name}: in epoch 1 the training loss is nan"))


def weights_of_no_network(job: Job, reports: Reports) -> Results:
    for result in one_by_one(job, reports):
        yield dataclasses.replace(result, state={}) if isinstance(result, Fit) else result


def with_notices(job: Job, reports: Reports) -> Results:
    reports.notice("cuda:0 has no room for 43 networks at once; 21 at once from here on")
    yield from one_by_one(job, reports)


def wrong_weights(job: Job, reports: Reports) -> Results:
    """What a network of the last task forecasts is not what it was watched by."""
    for result in one_by_one(job, reports):
        if isinstance(result, Fit) and result.task is job.tasks[-1]:
            yield dataclasses.replace(result, validation_loss=result.validation_loss / 1.05)
        else:
            yield result


def _write_pid(job: Job) -> None:
    path: Path = job.cache.with_name(PIDS)
    path.with_suffix(".part").write_text(str(os.getpid()))
    path.with_suffix(".part").replace(path)
