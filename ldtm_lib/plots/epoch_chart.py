"""Chart of losses by epoch, on a logarithmic axis if they span a wide range."""

from collections.abc import Sequence

import numpy as np

from ldtm_lib.plots.chart import Chart, Values

LOGARITHMIC_FROM_RATIO = 20.0
"""Ratio of the largest to the smallest value above which the axis is logarithmic."""


class EpochChart(Chart):
    """One chart in the making: x is the epoch, counted from 1."""

    def __init__(self, title: str, y_label: str) -> None:
        super().__init__(title, "epoch", y_label)

    def curve(
        self, values: Sequence[float] | Values, *, colour: str, width: float, style: str = "-", label: str | None = None
    ) -> None:
        """Draw one value per epoch; a single value becomes a dot."""
        self.line(_epochs(values), values, colour=colour, width=width, style=style, label=label)

    def point(self, epoch: int, value: float, *, colour: str, label: str | None = None) -> None:
        """Mark one epoch of a line."""
        self._plot([epoch], self._finite([value]), color=colour, ls="none", marker="o", ms=5, label=label)

    def _lay_out(self) -> None:
        from matplotlib.ticker import MaxNLocator

        drawn = np.concatenate([np.empty(0), *self._drawn])
        drawn = drawn[np.isfinite(drawn)]
        if not len(drawn):
            self._axes.text(0.5, 0.5, "no finite loss", transform=self._axes.transAxes, ha="center", fontsize=9)
        elif drawn.min() > 0 and drawn.max() / drawn.min() > LOGARITHMIC_FROM_RATIO:
            self._axes.set_yscale("log")
        self._axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
        super()._lay_out()


def _epochs(values: Sequence[float] | Values) -> Values:
    return np.arange(1.0, len(values) + 1)
