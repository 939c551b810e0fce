"""Use of the CPU: one core per network, and freed memory that stays with the process.

The matrices of one network are too small to be worth splitting, and a network that always runs on one thread
gives the same bits on any number of cores. Threads that wait for each other at every small product also suffer
most when other programs want the cores.

A training step frees and allocates the same megabytes hundreds of times a second. glibc hands them back each time, and
every page of them then costs a page fault: 11 to 18% of a training's processor time went there
(`benchmarks/bench_training.py`).
"""

import ctypes
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Parameters of glibc's `mallopt` (malloc.h)."""
MIB = 2**20
AFTERWARDS = {M_TRIM_THRESHOLD: 64 * MIB, M_TOP_PAD: 128 * 1024}
"""Values that glibc reaches by itself in a process that has freed a large block; a parameter cannot be unset."""
KEEPING = {M_TRIM_THRESHOLD: 1024 * MIB, M_TOP_PAD: 64 * MIB, M_MMAP_THRESHOLD: 32 * MIB}
"""32 MiB is the most that glibc accepts for M_MMAP_THRESHOLD; larger blocks are mapped one by one as before."""


def available_cores() -> int:
    """Number of cores for all trainings on the CPU: PyTorch's own setting, so that OMP_NUM_THREADS is heeded."""
    return torch.get_num_threads()


@contextmanager
def one_thread_each() -> Generator[int, None, None]:
    """Limit PyTorch's operations to one thread each within the block; yields the number of cores that they may use.

    The number of threads is restored at the end. Threads that are started within the block must call
    `torch.set_num_threads(1)` too, because the setting is partly per thread.
    """
    num_cores = available_cores()
    torch.set_num_threads(1)
    try:
        yield num_cores
    finally:
        torch.set_num_threads(num_cores)


def on_all_cores(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Do some work on each item on one core, on as many items at once as there are cores; results keep the order."""
    with (
        one_thread_each() as num_cores,
        ThreadPoolExecutor(num_cores, initializer=torch.set_num_threads, initargs=(1,)) as cores,
    ):
        return list(cores.map(work, items))


@contextmanager
def keep_freed_memory() -> Generator[None, None, None]:
    """Keep freed memory with the process within the block, and return all of it to the system at the end.

    Does nothing if the C library is not glibc.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt") or not hasattr(libc, "malloc_trim"):
        yield
        return
    for name, value in KEEPING.items():
        libc.mallopt(name, value)
    try:
        yield
    finally:
        for name, value in AFTERWARDS.items():
            libc.mallopt(name, value)
        libc.malloc_trim(0)
