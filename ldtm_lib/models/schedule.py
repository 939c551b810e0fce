"""What of a training follows from its recipe alone: the seed, the learning rates, when to stop and when to give up.

Every way of training, plain or fused, asks here, so that all of them walk the same path.
"""

import hashlib
import math
from dataclasses import dataclass

from ldtm_lib.errors import TooFewBars, TrainingDiverged
from ldtm_lib.models.fit import FitTask
from ldtm_lib.settings import TrainingConfig


def seed_of(ticker: str, fold: int | None, seed: int) -> int:
    """The seed of one network: the first 63 bits of a SHA-256 over what names it."""
    digest = hashlib.sha256(f"{ticker}|{'final' if fold is None else fold}|{seed}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def learning_rate(recipe: TrainingConfig, step: int, steps_per_epoch: int) -> float:
    """Cosine annealing (Loshchilov and Hutter 2017, without restarts) from the recipe's rate to 0, by the step.

    Steps count from 0 over all epochs; the last one of `max_epochs` is the first that would be 0.
    """
    done = step / (recipe.max_epochs * steps_per_epoch)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


@dataclass(slots=True, kw_only=True)
class EarlyStopping:
    """Watches validation losses: which epoch is the best so far, and whether patience has run out."""

    patience: int
    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = math.inf

    def improves(self, loss: float) -> bool:
        """Take the loss of the next epoch; whether it is the lowest so far."""
        self.epoch += 1
        if loss < self.best_loss:
            self.best_epoch, self.best_loss = self.epoch, loss
            return True
        return False

    @property
    def exhausted(self) -> bool:
        """Whether `patience` epochs in a row brought nothing better."""
        return self.epoch - self.best_epoch >= self.patience


def require_rows(task: FitTask) -> None:
    """Raises TooFewBars when a task has nothing to learn from or nothing to be watched by."""
    for kind, rows in (("training", task.training_rows), ("validation", task.validation_rows)):
        if len(rows) == 0:
            raise TooFewBars(f"{task.name} has no {kind} rows; give {task.ticker} more bars or leave it untrained")


def require_finite(task: FitTask, recipe: TrainingConfig, epoch: int, training: float, validation: float) -> None:
    """Raises TrainingDiverged when a loss of an epoch is not a number."""
    if not (math.isfinite(training) and math.isfinite(validation)):
        raise TrainingDiverged(
            f"{task.name}: in epoch {epoch} the training loss is {training} and the validation loss {validation}; "
            f"lower [training] learning_rate, now {recipe.learning_rate}, and look at the bars of {task.ticker}"
        )
