"""Bar chart of ranked tickers: the accuracy of each, and next to it the ratio of its error to that of no change."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ldtm_lib.plots.chart import Chart
from ldtm_lib.plots.colours import BLACK, BLUE, GREY, ORANGE, PALE_BLUE, PALE_GREY, WHITE

COIN, NO_CHANGE = 50.0, 1.0
ROW_INCHES, MANY_ROWS_INCHES, MANY_ROWS = 0.16, 0.115, 40
"""The height of a ticker's row; with many rows the names are as close as legibility allows."""
MIN_ROWS = 4
ABOVE_INCHES, BELOW_INCHES = 0.88, 0.12
TITLE_INCHES, LEGEND_INCHES, LABEL_INCHES = 0.68, 0.42, 0.35
"""Distance of title, legend and axis labels above the panels; the ticks are below them."""
LEFT, GAP_FROM, GAP_TO, RIGHT = 0.14, 0.62, 0.655, 0.965
"""Left and right ends of the two panels, as shares of the width."""
LETTER, LARGEST_LEFT = 0.0125, 0.3
"""Share of the width that a letter of a name needs, and the rightmost start of the first panel."""
TYPICAL_SHARE, MOST_TYPICAL = 0.9, 3.0
"""Bars up to MOST_TYPICAL times the 90th percentile of lengths are drawn in full; longer ones show their figure."""
LARGEST_REACH = 1.0
"""Largest distance from 1 that is drawn."""
SMALLEST_REACH = 0.1
"""Smallest range that the ratios' panel shows on both sides of 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedTicker:
    """One row: shares in 0..1 with their interval, and the ratio of two errors. None leaves the place empty."""

    name: str
    accuracy: float | None
    low: float | None
    high: float | None
    error_ratio: float | None


def ranked_tickers(title: str, tickers: Sequence[RankedTicker]) -> bytes:
    """A PNG with a row per ticker, in the order given; its height depends on their number."""
    chart = _BarChart(title, [ticker.name for ticker in tickers])
    for colour, label in (
        (BLUE, "interval above 50%"),
        (PALE_BLUE, "interval contains 50%"),
        (ORANGE, "interval below 50%"),
    ):
        rows = [row for row, ticker in enumerate(tickers) if _colour(ticker) == colour]
        chart.shares(rows, [tickers[row] for row in rows], colour=colour, label=label)
    chart.ratios([ticker.error_ratio for ticker in tickers])
    return chart.png()


def _colour(ticker: RankedTicker) -> str | None:
    if ticker.accuracy is None or ticker.low is None or ticker.high is None:
        return None
    if 100 * ticker.low > COIN:
        return BLUE
    return ORANGE if 100 * ticker.high < COIN else PALE_BLUE


def _reach(distances: Sequence[float]) -> float:
    """The distance from 1 that the ratios' panel shows on both sides: a few outliers do not hide the other bars."""
    if not distances:
        return SMALLEST_REACH
    typical = sorted(distances)[math.ceil(TYPICAL_SHARE * len(distances)) - 1]
    return min(max(SMALLEST_REACH, min(max(distances), MOST_TYPICAL * typical)), LARGEST_REACH)


class _BarChart(Chart):
    """Two panels over the same rows. The scales are above them, since the top of a tall chart is seen first."""

    def __init__(self, title: str, names: Sequence[str]) -> None:
        num_rows = max(len(names), MIN_ROWS)
        rows_inches = num_rows * (ROW_INCHES if num_rows < MANY_ROWS else MANY_ROWS_INCHES)
        height = ABOVE_INCHES + rows_inches + BELOW_INCHES
        bottom, top = BELOW_INCHES / height, rows_inches / height
        left = min(max([LEFT, *(LETTER * len(name) + 0.015 for name in names)]), LARGEST_LEFT)
        super().__init__(
            title,
            "",
            "",
            height_inches=height,
            frame=(left, bottom, GAP_FROM - left, top),
            title_rise=TITLE_INCHES,
            legend_rise=LEGEND_INCHES,
        )
        self._ratio_axes: Any = self._figure.add_axes((GAP_TO, bottom, RIGHT - GAP_TO, top))
        self._axes.set_yticks(range(len(names)), names, parse_math=False)
        self._ratio_axes.set_yticks([])
        for axes, label in ((self._axes, "directions right, %"), (self._ratio_axes, "next-day error / no change")):
            axes.xaxis.tick_top()
            axes.set_xlabel(label, fontsize=8, ha="right")
            axes.xaxis.set_label_coords(1.0, 1 + LABEL_INCHES * self._inch)
            axes.set_ylim(num_rows - 0.5, -0.5)
        self._axes.set_xlim(0, 100)

    def shares(self, rows: Sequence[int], tickers: Sequence[RankedTicker], *, colour: str, label: str) -> None:
        """Draw bars of the accuracy with its interval, in the colour of the interval's position."""
        if not rows:
            return
        shares = [100 * (ticker.accuracy or 0.0) for ticker in tickers]
        self._labelled[label] = self._axes.barh(rows, shares, height=0.62, color=colour)
        lows, highs = (
            [100 * (end or 0.0) for end in ends] for ends in ([t.low for t in tickers], [t.high for t in tickers])
        )
        self._axes.hlines(rows, lows, highs, color=GREY if colour != PALE_BLUE else BLUE, lw=1.2)

    def ratios(self, ratios: Sequence[float | None]) -> None:
        """Draw bars that start at 1, to the left where the error was smaller than that of forecasting no change."""
        kept = {row: ratio for row, ratio in enumerate(ratios) if ratio is not None and math.isfinite(ratio)}
        reach = _reach([abs(ratio - NO_CHANGE) for ratio in kept.values()])
        for colour, is_better in ((BLUE, True), (ORANGE, False)):
            chosen = {row: ratio for row, ratio in kept.items() if (ratio < NO_CHANGE) is is_better}
            widths = [max(min(ratio - NO_CHANGE, reach), -reach) for ratio in chosen.values()]
            self._ratio_axes.barh(list(chosen), widths, left=NO_CHANGE, height=0.62, color=colour)
        for row, ratio in kept.items():
            if abs(ratio - NO_CHANGE) > reach:
                end, side = (NO_CHANGE + reach, "right") if ratio > NO_CHANGE else (NO_CHANGE - reach, "left")
                self._ratio_axes.text(end, row, f" {ratio:.3g} ", fontsize=7, va="center", ha=side, color=WHITE)
        self._ratio_axes.set_xlim(NO_CHANGE - 1.1 * reach, NO_CHANGE + 1.1 * reach)

    def _lay_out(self) -> None:
        from matplotlib.ticker import MaxNLocator

        if not self._labelled:
            self._axes.text(0.5, 0.5, "no directions", transform=self._axes.transAxes, ha="center", fontsize=8)
        self._axes.axvline(COIN, color=BLACK, lw=0.9, ls=(0, (4, 3)))
        self._ratio_axes.axvline(NO_CHANGE, color=BLACK, lw=0.9, ls=(0, (4, 3)))
        self._ratio_axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
        self._ratio_axes.tick_params(labelsize=7, length=2, pad=1)
        self._ratio_axes.grid(color=PALE_GREY, lw=0.6, axis="x")
        self._ratio_axes.set_axisbelow(True)
        self._ratio_axes.spines[["bottom", "right", "left"]].set_visible(False)
        super()._lay_out()
        self._axes.spines[["top", "bottom"]].set_visible(False)
