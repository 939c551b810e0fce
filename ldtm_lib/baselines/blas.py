"""One thread for numpy's linear algebra: the matrices of one fit are too small to be worth splitting."""

import ctypes
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock

PREFIXES, SUFFIXES = ("scipy_openblas", "openblas"), ("64_", "_64", "")
"""Prefixes and suffixes of OpenBLAS's function names in the wheels of numpy and in Linux distributions."""
_ONE_AT_A_TIME = Lock()


@dataclass(frozen=True, slots=True)
class OpenBlas:
    """The OpenBLAS that numpy has loaded."""

    library: ctypes.CDLL
    prefix: str
    suffix: str

    @property
    def num_threads(self) -> int:
        """The largest number of threads that an operation uses."""
        return int(self.library[f"{self.prefix}_get_num_threads{self.suffix}"]())

    def set_num_threads(self, num_threads: int) -> None:
        """Set the largest number of threads for operations of the whole process."""
        self.library[f"{self.prefix}_set_num_threads{self.suffix}"](num_threads)


@contextmanager
def one_blas_thread() -> Generator[None, None, None]:
    """Limit OpenBLAS to one thread within the block, so that a fit has the same bits on any number of cores.

    Threads that wait for each other at every small step suffer when other programs want the cores: on two busy cores
    the solution of five systems of 330 equations took 2.2 s with two threads and 0.03 s with one. Does nothing where
    numpy uses another library.
    """
    library = openblas()
    if library is None:
        yield
        return
    with _ONE_AT_A_TIME:
        before = library.num_threads
        library.set_num_threads(1)
        try:
            yield
        finally:
            library.set_num_threads(before)


@cache
def openblas() -> OpenBlas | None:
    """The OpenBLAS of this process, numpy's own where there are several; None if numpy uses another library."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return None
    loaded = {line.split(maxsplit=5)[-1] for line in lines if "openblas" in line}
    for path in sorted(loaded, key=lambda path: ("numpy" not in path, path)):
        library = ctypes.CDLL(path)
        for prefix in PREFIXES:
            for suffix in SUFFIXES:
                if hasattr(library, f"{prefix}_set_num_threads{suffix}"):
                    return OpenBlas(library, prefix, suffix)
    return None
