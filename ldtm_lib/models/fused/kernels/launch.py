"""What a Triton kernel is to the Python that launches it."""

from collections.abc import Callable
from typing import Protocol


class Kernel(Protocol):
    """Something that runs on a grid of programs: `kernel[programs of a network, networks](arguments)`."""

    def __getitem__(self, grid: tuple[int, int], /) -> Callable[..., None]: ...
