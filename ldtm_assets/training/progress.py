"""Progress reports of a long training: lines in Dagster's log, or another display of the caller."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from ldtm_lib.models.fit import Fit, FitFailed, FitTask, Progress
from ldtm_lib.training.run import TrainingCallbacks
from ldtm_lib.wording import counted, duration_text

SECONDS_BETWEEN_LINES = 5.0


class TrainingReporter(Protocol):
    """Creates the callbacks of a training, and receives the stages of a bootstrap."""

    def stage(self, title: str, *, num_trainings_after: int = 0) -> None:
        """A stage begins; after its training, if any, `num_trainings_after` others of about the same length follow."""
        ...

    def waits(self, reason: str) -> None:
        """A training waits for a slot; the log of the step reports it too."""
        ...

    def start(self, log: Callable[[str], None]) -> TrainingCallbacks:
        """Begin to report a training whose step writes its log with `log`."""
        ...


class TrainingTally:
    """Counts the progress of a training, and reports it every few seconds and at the end.

    Recording an epoch takes an assignment and a reading of the clock: it happens 50,000 times, 515 in a burst.
    """

    def __init__(
        self,
        tell: Callable[["TrainingTally"], None],
        *,
        seconds_between: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell, self._seconds_between, self._clock = tell, seconds_between, clock
        self._num_rows: dict[tuple[str, int | None], int] = {}
        self._newest: dict[tuple[str, int | None], Progress] = {}
        self._failed: dict[tuple[str, int | None], bool] = {}
        self._started = self._told = clock()

    def on_start(self, tasks: Sequence[FitTask]) -> None:
        """Begin with these networks."""
        self._num_rows = {(task.ticker, task.fold): len(task.training_rows) for task in tasks}
        self._started = self._told = self._clock()

    def on_epoch(self, progress: Progress) -> None:
        """Record an epoch."""
        self._newest[progress.ticker, progress.fold] = progress
        if self._clock() - self._told >= self._seconds_between:
            self._tell_now()

    def on_result(self, result: Fit | FitFailed) -> None:
        """Record a network that was trained, or that failed."""
        self._failed[result.task.ticker, result.task.fold] = isinstance(result, FitFailed)
        if self.num_done == self.num_networks:
            self._tell_now()

    @property
    def elapsed_seconds(self) -> float:
        """Seconds since the training began."""
        return self._clock() - self._started

    @property
    def num_networks(self) -> int:
        """Number of networks to train."""
        return len(self._num_rows)

    @property
    def num_done(self) -> int:
        """Number of networks whose training has ended, failed ones included."""
        return len(self._failed)

    @property
    def share_done(self) -> float:
        """Roughly how much of the work is done, 0 to 1, in rows times epochs.

        A network at work is expected to stop when its patience runs out. One that has not begun is expected to need as
        many epochs as those that ended did on average; before any ended, as many as those at work are expected to.
        """
        ends = [self._newest[key].epoch for key in self._failed if key in self._newest]
        usual = statistics.fmean(ends or [p.expected_epochs for p in self._newest.values()] or [1])
        done = expected = 0.0
        for key, num_rows in self._num_rows.items():
            newest = self._newest.get(key)
            epochs = newest.epoch if newest else 0
            done += num_rows * epochs
            if key in self._failed:  # it has ended, with or without success
                expected += num_rows * epochs
            elif newest is None:
                expected += num_rows * usual
            else:
                expected += num_rows * min(max(usual, newest.expected_epochs, epochs + 1), newest.max_epochs)
        return done / expected if expected else 0.0

    @property
    def remaining_seconds(self) -> float | None:
        """Roughly the time until the training ends; None before its first epoch and after its end."""
        share = self.share_done
        return self.elapsed_seconds * (1 - share) / share if 0 < share < 1 else None

    @property
    def median_loss(self) -> str:
        """The median of the networks' lowest validation losses, in words."""
        known = [p.best_validation_loss for p in self._newest.values() if math.isfinite(p.best_validation_loss)]
        return f"validation loss {statistics.median(known):.4f}" if known else "no validation loss yet"

    @property
    def losses(self) -> str:
        """The median and the worst of the networks' lowest validation losses, in words."""
        known = [p for p in self._newest.values() if math.isfinite(p.best_validation_loss)]
        if not known:
            return "no validation loss yet"
        worst = max(known, key=lambda progress: progress.best_validation_loss)
        what = "final" if worst.fold is None else f"fold {worst.fold}"
        median = statistics.median(progress.best_validation_loss for progress in known)
        return f"validation loss {median:.4f}, worst {worst.best_validation_loss:.4f} ({worst.ticker} {what})"

    def line(self) -> str:
        """The progress in one line."""
        num_failed = sum(self._failed.values())
        num_seen = len(self._newest.keys() | self._failed.keys())
        return (
            f"{self.num_done} of {counted(self.num_networks, 'network')} done"
            + (f" ({num_failed} failed)" if num_failed else "")
            + f", {num_seen - self.num_done} training, {self.num_networks - num_seen} waiting; "
            f"{counted(sum(progress.epoch for progress in self._newest.values()), 'epoch')}; {self.losses}; "
            f"{duration_text(self.elapsed_seconds)} so far{self._remaining()}"
        )

    def _remaining(self) -> str:
        seconds = self.remaining_seconds
        return "" if seconds is None else f", about {duration_text(seconds)} to go"

    def _tell_now(self) -> None:
        self._told = self._clock()
        self._tell(self)


class LogLines:
    """A line in the log every few seconds, however many networks there are."""

    def stage(self, title: str, *, num_trainings_after: int = 0) -> None:
        """Do nothing: it is in the log."""

    def waits(self, reason: str) -> None:
        """Do nothing: it is in the log."""

    def start(self, log: Callable[[str], None]) -> TrainingCallbacks:
        """Begin to report to the log of a step."""
        return TrainingTally(lambda tally: log(tally.line()), seconds_between=SECONDS_BETWEEN_LINES)
