"""How a long training tells how far it is: lines in Dagster's log, or whatever a caller puts in their place."""

import time
from collections.abc import Callable
from typing import Protocol

from ldtm_lib.models.fit import Progress

SECONDS_BETWEEN_LINES = 5.0


class TrainingReporter(Protocol):
    """Makes the function that a training calls after every epoch of every network."""

    def start(self, log: Callable[[str], None]) -> Callable[[Progress], None]:
        """Begin to report a training whose step writes its log with `log`."""
        ...


class LogLines:
    """A line in the log every few seconds."""

    def start(self, log: Callable[[str], None]) -> Callable[[Progress], None]:
        """Begin to report to the log of a step."""
        last = time.monotonic()
        seen: set[tuple[str, int | None]] = set()

        def report(progress: Progress) -> None:
            nonlocal last
            seen.add((progress.ticker, progress.fold))
            if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                what = "final model" if progress.fold is None else f"fold {progress.fold}"
                log(
                    f"network {len(seen)}: {progress.ticker} {what}, epoch {progress.epoch} of at most "
                    f"{progress.max_epochs}, validation loss {progress.validation_loss:.4f} "
                    f"(best {progress.best_validation_loss:.4f})"
                )

        return report
