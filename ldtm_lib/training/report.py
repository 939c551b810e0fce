"""What became of a training, ticker by ticker."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

from ldtm_lib.registry.failures import Part
from ldtm_lib.registry.trained_network import TrainedNetwork

Status = Literal["trained", "up to date", "too few bars", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOutcome:
    """What became of one part of one ticker's training, with the networks that it left on record."""

    ticker: str
    part: Part
    status: Status
    reason: str | None = None
    """Why there is nothing, for `too few bars` and `failed`."""
    networks: tuple[TrainedNetwork, ...] = ()
    """The final network, or those of a backtest's folds, oldest first. Sums and means below run over them."""

    @property
    def validation_loss(self) -> float | None:
        """The mean over the networks."""
        losses = [network.validation_loss for network in self.networks]
        return sum(losses) / len(losses) if losses else None

    @property
    def no_change_loss(self) -> float | None:
        """The mean over the networks of the loss of forecasting no change."""
        losses = [network.no_change_loss for network in self.networks if network.no_change_loss is not None]
        return sum(losses) / len(losses) if losses else None

    @property
    def num_epochs(self) -> int | None:
        """Of all networks together."""
        return sum(network.num_epochs for network in self.networks) if self.networks else None

    @property
    def best_epoch(self) -> int | None:
        """Of the final network; a backtest has none in common."""
        return self.networks[0].best_epoch if self.part == "checkpoint" and self.networks else None

    @property
    def duration_seconds(self) -> float | None:
        """Of all networks together."""
        seconds = [network.duration_seconds for network in self.networks if network.duration_seconds is not None]
        return sum(seconds) if seconds else None

    @property
    def num_training_rows(self) -> int | None:
        """Of all networks together."""
        return sum(network.num_training_rows for network in self.networks) if self.networks else None

    @property
    def num_validation_rows(self) -> int | None:
        """Of all networks together."""
        return sum(network.num_validation_rows for network in self.networks) if self.networks else None

    @property
    def num_folds(self) -> int | None:
        """Of a backtest."""
        return len(self.networks) if self.part == "backtest" and self.networks else None

    @property
    def num_test_rows(self) -> int | None:
        """Of a backtest."""
        if self.part == "checkpoint" or not self.networks:
            return None
        return sum(network.num_test_rows or 0 for network in self.networks)

    @property
    def device(self) -> str | None:
        """Where the networks were trained."""
        return self.networks[0].device if self.networks else None

    @property
    def gpu_index(self) -> int | None:
        """Which GPU was leased for them."""
        return self.networks[0].gpu_index if self.networks else None

    @property
    def vram_peak_mib(self) -> float | None:
        """The highest of the networks' peaks."""
        peaks = [network.vram_peak_mib for network in self.networks if network.vram_peak_mib is not None]
        return max(peaks, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingReport:
    """What one retraining did."""

    trained_on: date
    outcomes: tuple[TrainingOutcome, ...]
    """One per ticker and part that was asked for, sorted by ticker."""

    def of(self, part: Part) -> dict[str, TrainingOutcome]:
        """The outcomes of one part by ticker."""
        return {outcome.ticker: outcome for outcome in self.outcomes if outcome.part == part}

    def including(self, outcomes: Iterable[TrainingOutcome]) -> "TrainingReport":
        """The report with some more outcomes in their places."""
        return replace(self, outcomes=tuple(sorted((*self.outcomes, *outcomes), key=lambda o: (o.ticker, o.part))))
