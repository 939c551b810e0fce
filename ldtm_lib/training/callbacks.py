"""Callbacks of a training."""

from collections.abc import Sequence
from typing import Protocol

from ldtm_lib.models.fit import Fit, FitFailed, FitTask, Progress


class TrainingCallbacks(Protocol):
    """Called as a training proceeds, in the thread that asked for it. A universe makes 50,000 calls."""

    def on_start(self, tasks: Sequence[FitTask]) -> None:
        """Called once, before anything else, with the networks to train."""
        ...

    def on_epoch(self, progress: Progress) -> None:
        """Called after every epoch of every network; networks that train together call in a burst."""
        ...

    def on_result(self, result: Fit | FitFailed) -> None:
        """Called when a network has been trained or has failed, and its ticker's completed results are on record."""
        ...
