"""Chart of the accuracy of a universe's directions over time, with its interval and a line at 50%."""

from collections.abc import Sequence
from datetime import date

import numpy as np

from ldtm_lib.plots.chart import Chart
from ldtm_lib.plots.colours import BLUE, PALE_BLUE

COIN = 50.0
SHOWN_AT_LEAST = (40.0, 60.0)
"""Range of the axis in percent that is always shown, so that small moves about 50% look small."""


def accuracy_over_time(
    title: str,
    run_dates: Sequence[date],
    accuracy: Sequence[float],
    interval: Sequence[tuple[float | None, float | None]],
) -> bytes:
    """A PNG of an accuracy per run date, shares in 0..1, each with its interval where it has one.

    Run dates before the first interval, which have too few days for one, are left out; without any interval, none are.
    """
    first = next((place for place, (low, _) in enumerate(interval) if low is not None), 0)
    run_dates, accuracy, interval = run_dates[first:], accuracy[first:], interval[first:]
    chart = _DatedChart(title, "run date", "directions right, %")
    lows = [np.nan if low is None else 100 * low for low, _ in interval]
    highs = [np.nan if high is None else 100 * high for _, high in interval]
    chart.band(run_dates, lows, highs, label="95% interval, days as clusters")
    chart.line(run_dates, [100 * share for share in accuracy], colour=BLUE, width=1.7, label="all tickers, 30 sessions")
    chart.level(COIN, label="50%, a coin")
    return chart.png()


class _DatedChart(Chart):
    def band(self, x: Sequence[date], low: Sequence[float], high: Sequence[float], *, label: str) -> None:
        """Fill the area between two lines; a single pair becomes a bar."""
        lows, highs = self._finite(low), self._finite(high)
        if np.count_nonzero(np.isfinite(lows)):
            self._labelled[label] = self._axes.fill_between(x, lows, highs, color=PALE_BLUE, lw=0)
            self._axes.vlines(x, lows, highs, color=PALE_BLUE, lw=1.0)

    def _lay_out(self) -> None:
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        locator = AutoDateLocator(minticks=2, maxticks=7)
        self._axes.xaxis.set_major_locator(locator)
        self._axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
        drawn = np.concatenate([*self._drawn, SHOWN_AT_LEAST])
        if len(self._axes.dataLim.intervalx) and self._axes.dataLim.width == 0:
            self._axes.margins(x=0)
            middle = self._axes.dataLim.x0
            self._axes.set_xlim(middle - 3, middle + 3)
        self._axes.set_ylim(np.nanmin(drawn) - 1, np.nanmax(drawn) + 1)
        super()._lay_out()
