"""Charts of losses by epoch: of one network, of a backtest's folds, and of a whole universe."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ldtm_lib.plots.chart import Values
from ldtm_lib.plots.colours import BLUE, GREY, ORANGE, PALE_BLUE, SERIES
from ldtm_lib.plots.epoch_chart import EpochChart
from ldtm_lib.wording import named

Y_LABEL = "Huber loss"
MAX_NAMES = 6
"""Largest number of failed tickers that are named; the others are counted."""
MIN_FOR_PERCENTILES = 5
"""Fewest curves for which percentiles are drawn: percentiles of fewer show no more than the curves themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossCurve:
    """One network's losses, one per epoch, and the epoch whose weights it kept, counted from 1."""

    training: Sequence[float]
    validation: Sequence[float]
    best_epoch: int | None = None

    @property
    def best(self) -> tuple[int, float] | None:
        """The epoch that was kept and its validation loss; None if the curve lacks it or it is not finite."""
        if self.best_epoch is None or not 1 <= self.best_epoch <= len(self.validation):
            return None
        loss = self.validation[self.best_epoch - 1]
        return (self.best_epoch, loss) if math.isfinite(loss) else None


def network_losses(
    title: str, curve: LossCurve, *, folds: Sequence[LossCurve] = (), no_change_loss: float | None = None
) -> bytes:
    """A PNG of one network's training and validation losses, with the folds' validation losses as thin lines behind.

    The kept epoch is marked. `no_change_loss` is the loss of forecasting no change for the same validation rows.
    """
    chart = EpochChart(title, Y_LABEL)
    for number, fold in enumerate(folds):
        chart.curve(fold.validation, colour=PALE_BLUE, width=0.8, label=None if number else "folds' validation")
    chart.level(no_change_loss, label="no change")
    chart.curve(curve.training, colour=GREY, width=1.2, label="training")
    chart.curve(curve.validation, colour=BLUE, width=1.7, label="validation")
    if curve.best is not None:
        chart.point(*curve.best, colour=ORANGE, label="kept epoch")
    return chart.png()


def fold_losses(title: str, folds: Mapping[int, LossCurve]) -> bytes:
    """A PNG of the losses of a backtest's folds: validation solid with the kept epoch, training dotted."""
    chart = EpochChart(title, Y_LABEL)
    for number, (fold, curve) in enumerate(folds.items()):
        colour = SERIES[number % len(SERIES)]
        chart.curve(curve.training, colour=colour, width=0.7, style=":")
        label = f"fold {fold}" if len(folds) <= len(SERIES) else None  # there is room for one row of labels
        chart.curve(curve.validation, colour=colour, width=1.5, label=label)
        if curve.best is not None:
            chart.point(*curve.best, colour=colour)
    return chart.png()


def universe_losses(
    title: str,
    validation: Mapping[str, Sequence[float]],
    *,
    failed: Sequence[str] = (),
    no_change_loss: float | None = None,
) -> bytes:
    """A PNG of every ticker's validation losses, with their median and their 10th and 90th percentile.

    After a network has stopped, it counts with its lowest loss, whose weights it keeps: otherwise the late epochs would
    represent only the networks that still improve. `failed` tickers are named. `no_change_loss` is the loss of
    forecasting no change, the median over the tickers.
    """
    chart = EpochChart(title, Y_LABEL)
    curves = [curve for values in validation.values() if np.isfinite(curve := np.asarray(values, np.float64)).any()]
    if len(curves) >= MIN_FOR_PERCENTILES:
        low, median, high = np.nanquantile(_until_the_last_epoch(curves), (0.1, 0.5, 0.9), axis=0)
        for curve in curves:
            chart.curve(curve, colour=PALE_BLUE, width=0.5)
        chart.curve(high, colour=BLUE, width=1.0, style=":", label="10th and 90th percentile")
        chart.curve(low, colour=BLUE, width=1.0, style=":")
        chart.curve(median, colour=BLUE, width=2.0, label="median")
    else:
        for number, (ticker, values) in enumerate(validation.items()):
            chart.curve(values, colour=SERIES[number % len(SERIES)], width=1.5, label=ticker)
    chart.level(no_change_loss, label="no change")
    if failed:
        chart.note(f"failed: {named(failed, MAX_NAMES)}")
    return chart.png()


def _until_the_last_epoch(curves: Sequence[Values]) -> Values:
    """The curves as rows of one table, each held at its lowest value after its end."""
    table = np.empty((len(curves), max(len(curve) for curve in curves)))
    for row, curve in zip(table, curves, strict=True):
        row[: len(curve)] = np.where(np.isfinite(curve), curve, np.nan)
        row[len(curve) :] = np.nanmin(row[: len(curve)])
    return table
