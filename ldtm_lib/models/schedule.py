"""What of a training follows from its recipe alone: the seed, the learning rates, when to stop.

Every way of training, plain or fused, asks here, so that all of them walk the same path.
"""

import hashlib
import math
from dataclasses import dataclass

from ldtm_lib.config import TrainingConfig


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
