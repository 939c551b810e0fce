"""How the CPU's cores are shared: a network each, instead of all of them on one network.

The matrices of one network are too small to be worth splitting, and a network that always runs on one thread
gives the same bits on any number of cores. Threads that wait for each other at every small product also suffer
most when other programs want the cores.
"""

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def one_thread_each() -> Generator[int, None, None]:
    """Within the block PyTorch's operations use one thread each; yields how many cores it may use in all.

    That number is PyTorch's own setting, hence OMP_NUM_THREADS is heeded. It is put back at the end. Threads that
    are started within must call `torch.set_num_threads(1)` too: the setting is partly a thread's own.
    """
    num_cores = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield num_cores
    finally:
        torch.set_num_threads(num_cores)


def on_all_cores(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """What some work gives for each item, in their order: one core each, as many at once as there are cores."""
    with (
        one_thread_each() as num_cores,
        ThreadPoolExecutor(num_cores, initializer=torch.set_num_threads, initargs=(1,)) as cores,
    ):
        return list(cores.map(work, items))
