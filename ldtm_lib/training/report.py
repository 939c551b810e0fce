"""Report of a training: the outcome of every ticker and part, and the summary table."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

from ldtm_lib.registry.trained_network import Part, TrainedNetwork
from ldtm_lib.sessions import HORIZON_NAMES, HORIZONS
from ldtm_lib.wording import counted, duration_text

Status = Literal["trained", "up to date", "too few bars", "failed"]
NOTHING = "-"
COLUMNS = ("ticker", "GPU", "duration", "status", "val_loss", "no change", "folds' val_loss")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOutcome:
    """The outcome of one part of one ticker's training, with the networks that are on record."""

    ticker: str
    part: Part
    status: Status
    reason: str | None = None
    """Reason why there is no network, for `too few bars` and `failed`."""
    networks: tuple[TrainedNetwork, ...] = ()
    """The final network, or those of a backtest's folds, oldest first. Sums and means below are over these."""

    @classmethod
    def of_networks(
        cls, ticker: str, part: Part, status: Status, networks: Sequence[TrainedNetwork]
    ) -> "TrainingOutcome":
        """The outcome of a part whose networks are on record."""
        return cls(ticker=ticker, part=part, status=status, networks=tuple(networks))

    @classmethod
    def without_networks(cls, ticker: str, part: Part, status: Status, reason: str) -> "TrainingOutcome":
        """The outcome of a part that has too few bars or failed."""
        return cls(ticker=ticker, part=part, status=status, reason=reason)

    @property
    def validation_loss(self) -> float | None:
        """The mean validation loss over the networks."""
        losses = [network.validation_loss for network in self.networks]
        return sum(losses) / len(losses) if losses else None

    @property
    def no_change_loss(self) -> float | None:
        """The mean over the networks of the loss of forecasting no change."""
        losses = [network.no_change_loss for network in self.networks if network.no_change_loss is not None]
        return sum(losses) / len(losses) if losses else None

    @property
    def relative_errors(self) -> str | None:
        """Ratios of the validation's mean squared errors to those of no change, such as `next day 1.001, ...`."""
        errors = [n.horizon_errors for n in self.networks if n.horizon_errors is not None]
        no_change = [n.no_change_errors for n in self.networks if n.no_change_errors is not None]
        if not errors or not no_change:
            return None
        means = [
            (horizon, statistics.fmean(of[at] for of in errors), statistics.fmean(of[at] for of in no_change))
            for at, horizon in enumerate(HORIZONS)
        ]
        return ", ".join(
            f"{HORIZON_NAMES[horizon]} {f'{error / still:.3f}' if still else NOTHING}"
            for horizon, error, still in means
        )

    @property
    def num_epochs(self) -> int | None:
        """Number of epochs of all networks together."""
        return sum(network.num_epochs for network in self.networks) if self.networks else None

    @property
    def best_epoch(self) -> int | None:
        """Best epoch of the final network; None for a backtest, whose networks have one each."""
        return self.networks[0].best_epoch if self.part == "checkpoint" and self.networks else None

    @property
    def duration_seconds(self) -> float | None:
        """Duration of all networks together."""
        seconds = [network.duration_seconds for network in self.networks if network.duration_seconds is not None]
        return sum(seconds) if seconds else None

    @property
    def num_training_rows(self) -> int | None:
        """Number of training rows of all networks together."""
        return sum(network.num_training_rows for network in self.networks) if self.networks else None

    @property
    def num_validation_rows(self) -> int | None:
        """Number of validation rows of all networks together."""
        return sum(network.num_validation_rows for network in self.networks) if self.networks else None

    @property
    def num_folds(self) -> int | None:
        """Number of folds of a backtest."""
        return len(self.networks) if self.part == "backtest" and self.networks else None

    @property
    def num_test_rows(self) -> int | None:
        """Number of test rows of a backtest."""
        if self.part == "checkpoint" or not self.networks:
            return None
        return sum(network.num_test_rows or 0 for network in self.networks)

    @property
    def device(self) -> str | None:
        """Device on which the networks were trained."""
        return self.networks[0].device if self.networks else None

    @property
    def gpu_index(self) -> int | None:
        """Index of the GPU that was leased for them."""
        return self.networks[0].gpu_index if self.networks else None

    @property
    def method(self) -> str | None:
        """Methods by which the networks were trained on a GPU, each once."""
        return (
            "; ".join(dict.fromkeys(n.training_method for n in self.networks if n.training_method is not None)) or None
        )

    @property
    def vram_peak_mib(self) -> float | None:
        """The highest GPU memory peak of the networks, in MiB."""
        peaks = [network.vram_peak_mib for network in self.networks if network.vram_peak_mib is not None]
        return max(peaks, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingReport:
    """The outcomes of one training."""

    trained_on: date
    outcomes: tuple[TrainingOutcome, ...]
    """Outcomes, one per ticker and part that was requested, sorted by ticker."""
    notices: tuple[str, ...] = ()
    """Notices for a person about the course of the training on a GPU."""

    @property
    def num_trained(self) -> int:
        """Number of outcomes with networks that this training trained."""
        return sum(outcome.status == "trained" for outcome in self.outcomes)

    def of(self, part: Part) -> dict[str, TrainingOutcome]:
        """The outcomes of one part by ticker."""
        return {outcome.ticker: outcome for outcome in self.outcomes if outcome.part == part}

    def including(self, outcomes: Iterable[TrainingOutcome]) -> "TrainingReport":
        """The report with further outcomes, sorted in."""
        return replace(self, outcomes=tuple(sorted((*self.outcomes, *outcomes), key=lambda o: (o.ticker, o.part))))


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryRow:
    """One ticker's row of the summary table."""

    ticker: str
    gpu_index: int | None
    duration_seconds: float | None
    """Duration of the final network and the folds together, if they were trained."""
    status: str
    """The status of both parts if it is the same, otherwise that of each."""
    validation_loss: float | None
    no_change_loss: float | None
    """Loss of forecasting no change for the same rows."""
    fold_validation_loss: float | None
    """The mean over the backtest's folds."""

    def texts(self) -> tuple[str, ...]:
        """The row in the order of COLUMNS."""
        return (
            self.ticker,
            NOTHING if self.gpu_index is None else str(self.gpu_index),
            NOTHING if self.duration_seconds is None else duration_text(self.duration_seconds, 1),
            self.status,
            *(_loss(value) for value in (self.validation_loss, self.no_change_loss, self.fold_validation_loss)),
        )


def summary_rows(report: TrainingReport) -> list[SummaryRow]:
    """One row per ticker, sorted by name."""
    finals, walks = report.of("checkpoint"), report.of("backtest")
    return [_row(ticker, finals.get(ticker), walks.get(ticker)) for ticker in sorted({*finals, *walks})]


def summary_text(report: TrainingReport) -> str:
    """The report as text: totals, an aligned table with a row per ticker, and the reasons of failures."""
    rows = summary_rows(report)
    trained = [outcome for outcome in report.outcomes if outcome.status == "trained"]
    counts = {status: sum(row.status == status for row in rows) for status in dict.fromkeys(row.status for row in rows)}
    lines = [
        f"trained on bars up to {report.trained_on}: {counted(len(rows), 'ticker')}, "
        + ("; ".join(f"{number} {status}" for status, number in counts.items()) or "nothing to do"),
        f"{counted(sum(len(outcome.networks) for outcome in trained), 'network')} trained, "
        f"{counted(sum(outcome.num_epochs or 0 for outcome in trained), 'epoch')}, "
        f"{duration_text(sum(outcome.duration_seconds or 0 for outcome in trained), 1)} in total",
        *_aligned([COLUMNS, *(row.texts() for row in rows)]),
    ]
    lines += [f"{o.ticker} {o.part} {o.status}: {o.reason}" for o in report.outcomes if o.reason is not None]
    return "\n".join(lines)


def median_loss(losses: Iterable[float | None]) -> float | None:
    """The median of the known losses; None if there is none."""
    known = [loss for loss in losses if loss is not None]
    return statistics.median(known) if known else None


def _row(ticker: str, final: TrainingOutcome | None, walk: TrainingOutcome | None) -> SummaryRow:
    parts = [outcome for outcome in (final, walk) if outcome is not None]
    statuses = {outcome.status for outcome in parts}
    seconds = [outcome.duration_seconds for outcome in parts if outcome.duration_seconds is not None]
    return SummaryRow(
        ticker=ticker,
        gpu_index=next((outcome.gpu_index for outcome in parts if outcome.gpu_index is not None), None),
        duration_seconds=sum(seconds) if seconds else None,
        status=statuses.pop() if len(statuses) == 1 else ", ".join(f"{o.part} {o.status}" for o in parts),
        validation_loss=final.validation_loss if final else None,
        no_change_loss=final.no_change_loss if final else None,
        fold_validation_loss=walk.validation_loss if walk else None,
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines with aligned columns; numbers are right-aligned."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    left = {COLUMNS.index("ticker"), COLUMNS.index("status")}
    return [
        "  ".join(
            cell.ljust(width) if at in left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _loss(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4f}"
