"""Progress bars: the stages of a bootstrap, the training within one, and a series of trainings."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.progress import Progress, TaskID

from ldtm_lib.wording import duration_text

if TYPE_CHECKING:
    from ldtm_assets.training.progress import TrainingTally
    from ldtm_lib.models.fit import Fit, FitFailed, FitTask
    from ldtm_lib.models.fit import Progress as EpochProgress
    from ldtm_lib.training.run import TrainingCallbacks

SECONDS_BETWEEN_DRAWINGS = 0.2


class TrainingBar:
    """Shows stages and trainings as bars, redrawn a few times a second however many networks advance at once."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._stage: TaskID | None = None
        self._title = ""
        self._num_trainings_after = 0

    def stage(self, title: str, *, num_trainings_after: int = 0) -> None:
        """Complete all bars so far, and begin a new one."""
        self.complete()
        self._title, self._num_trainings_after = title, num_trainings_after
        self._stage = self._progress.add_task(title, total=None)

    def complete(self) -> None:
        """Complete all bars so far."""
        if self._stage is not None:
            self._progress.update(self._stage, description=self._title)
        for shown in self._progress.tasks:
            self._progress.update(shown.id, total=1, completed=1)

    def waits(self, reason: str) -> None:
        """Show the reason for a wait instead of a bar."""
        self._progress.add_task(f"  training waits: {reason}", total=None)

    def start(self, log: Callable[[str], None]) -> "TrainingCallbacks":
        """Begin a bar; nothing is written to `log`."""
        from ldtm_assets.training.progress import TrainingTally  # imports torch: a demo that is up to date needs none

        del log
        bar = self._progress.add_task("  training", total=1)

        def draw(tally: "TrainingTally") -> None:
            remaining = tally.remaining_seconds
            to_go = "" if remaining is None else f", about {duration_text(remaining)} to go"
            text = f"  {tally.num_done} of {tally.num_networks} networks, {tally.median_loss}{to_go}"
            self._progress.update(bar, completed=tally.share_done, description=text)
            if remaining is not None and self._stage is not None and self._num_trainings_after:
                in_all = remaining + self._num_trainings_after * (tally.elapsed_seconds + remaining)
                after = f"{self._num_trainings_after} more after it, about {duration_text(in_all)} in all"
                self._progress.update(self._stage, description=f"{self._title} ({after})")

        return TrainingTally(draw, seconds_between=SECONDS_BETWEEN_DRAWINGS)


class SeriesBar:
    """Shows consecutive trainings as a single bar, which advances with every network.

    If the console is not a terminal, each training is one line.
    """

    def __init__(self, progress: Progress, *, num_trainings: int, num_networks: int) -> None:
        self._progress, self._num_trainings = progress, num_trainings
        self._bar = progress.add_task("retrainings", total=num_networks)

    def begin(self, number: int) -> None:
        """Begin the next training; numbers count from 1."""
        title = f"retraining {number} of {self._num_trainings}"
        self._progress.update(self._bar, description=title)
        if not self._progress.console.is_terminal:
            self._progress.console.print(title)

    def stage(self, title: str, *, num_trainings_after: int = 0) -> None:
        """Do nothing: a series has no stages."""

    def waits(self, reason: str) -> None:
        """Do nothing: the caller logs the reason."""

    def start(self, log: Callable[[str], None]) -> "TrainingCallbacks":
        """Begin to report one training."""
        del log
        return self

    def on_start(self, tasks: "Sequence[FitTask]") -> None:
        """Do nothing: the bar counts the networks of all trainings."""

    def on_epoch(self, progress: "EpochProgress") -> None:
        """Do nothing: a network takes seconds."""

    def on_result(self, result: "Fit | FitFailed") -> None:
        """Advance by one network."""
        self._progress.advance(self._bar)
