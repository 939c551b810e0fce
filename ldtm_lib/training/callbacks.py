"""Whoever wants to know how far a training is."""

from collections.abc import Sequence
from typing import Protocol

from ldtm_lib.models.fit import Fit, FitFailed, FitTask, Progress


class TrainingObserver(Protocol):
    """Hears of a training as it goes on, in the thread that asked for it. A universe calls it 50,000 times."""

    def planned(self, tasks: Sequence[FitTask]) -> None:
        """These networks are going to be trained; called once, before anything else."""
        ...

    def advanced(self, progress: Progress) -> None:
        """One network ended an epoch; networks that train together call in a burst."""
        ...

    def ended(self, result: Fit | FitFailed) -> None:
        """One network is there, or is known not to come, and that is on record."""
        ...
