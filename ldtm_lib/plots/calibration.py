"""Plot of actual against predicted moves, in bins: it shows whether larger forecasts meant larger moves."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ldtm_lib.plots.chart import Chart
from ldtm_lib.plots.colours import BLUE, GREY


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationPoint:
    """The mean prediction of some forecasts and the mean of the actual moves, with its interval; in percent."""

    predicted: float
    actual: float
    low: float | None
    high: float | None


def calibration_picture(title: str, points: Sequence[CalibrationPoint]) -> bytes:
    """A PNG of the mean actual next-day return per bin of predictions, with the line on which both are equal."""
    chart = _ReturnsChart(title, "predicted next-day return, %", "actual next-day return, %")
    predicted = np.array([point.predicted for point in points], np.float64)
    chart.diagonal(predicted)
    chart.level(0.0, label="no change")
    lows = [np.nan if point.low is None else point.low for point in points]
    highs = [np.nan if point.high is None else point.high for point in points]
    chart.whiskers(predicted.tolist(), lows, highs)
    chart.line(
        predicted,
        [point.actual for point in points],
        colour=BLUE,
        width=1.5,
        style="none",
        marker="o",
        label="mean actual return, with its 95% interval",
    )
    return chart.png()


class _ReturnsChart(Chart):
    def diagonal(self, predicted: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
        finite = predicted[np.isfinite(predicted)]
        if len(finite):
            ends = [finite.min(), finite.max()] if len(finite) > 1 else [finite[0] - 0.1, finite[0] + 0.1]
            self._plot(ends, self._finite(ends), color=GREY, lw=1.2, label="as predicted")

    def whiskers(self, x: Sequence[float], low: Sequence[float], high: Sequence[float]) -> None:
        self._axes.vlines(x, self._finite(low), self._finite(high), color=BLUE, lw=1.0)
