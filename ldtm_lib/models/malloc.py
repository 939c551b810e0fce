"""Freed memory is kept for the next step instead of being given back to the system and fetched again.

A training step on the CPU frees and allocates the same megabytes hundreds of times a second. glibc hands them back
each time, and every page of them then costs a page fault: 13 to 18% of a training's processor time went there
(`benchmarks/bench_training.py`).
"""

import ctypes
from collections.abc import Generator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""glibc's names of what `mallopt` sets (malloc.h)."""
MIB = 2**20
AFTERWARDS = {M_TRIM_THRESHOLD: 64 * MIB, M_TOP_PAD: 128 * 1024}
"""What glibc comes to by itself in a process that has freed a large block; it cannot be told to forget a setting."""
KEEPING = {M_TRIM_THRESHOLD: 1024 * MIB, M_TOP_PAD: 64 * MIB, M_MMAP_THRESHOLD: 32 * MIB}
"""32 MiB is the most that glibc accepts for the last; larger blocks are mapped one by one as before."""


@contextmanager
def keep_freed_memory() -> Generator[None, None, None]:
    """Within the block freed memory stays with the process; at its end all of it goes back.

    Does nothing where the C library is not glibc.
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
