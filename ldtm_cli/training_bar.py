"""A progress bar of a training."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.progress import Progress

if TYPE_CHECKING:
    from ldtm_lib.training.run import TrainingCallbacks

SECONDS_BETWEEN_DRAWINGS = 0.2


class TrainingBar:
    """Shows a training as a bar, drawn again a few times a second however many networks advance at once."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def waits(self, reason: str) -> None:
        """Show in the place of the bar why nothing moves."""
        self._progress.add_task(f"  training waits: {reason}", total=None)

    def start(self, log: Callable[[str], None]) -> "TrainingCallbacks":
        """Begin a bar; the log of the step gets the summary alone."""
        from ldtm_assets.training.progress import TrainingTally  # imports torch: a demo that is up to date needs none

        del log
        bar = self._progress.add_task("  training", total=1)

        def draw(tally: TrainingTally) -> None:
            text = f"  {tally.num_done} of {tally.num_networks} networks, {tally.losses}"
            self._progress.update(bar, completed=tally.share_done, description=text)

        return TrainingTally(draw, seconds_between=SECONDS_BETWEEN_DRAWINGS)
