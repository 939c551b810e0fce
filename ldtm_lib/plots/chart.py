"""A small chart: white, so that it is legible on light and dark pages alike, and a few kilobytes as a PNG.

The common part of all kinds of charts; only this module and those named after a kind import matplotlib. Figures are
used as objects: no global state is set and no window system is used.
"""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ldtm_lib.plots.colours import BLACK, PALE_GREY, RED, palette

WIDTH_INCHES, HEIGHT_INCHES, PIXELS_PER_INCH = 5.4, 3.0, 100
"""Dagster's dialogue for metadata shows 540 pixels without shrinking."""
FRAME = (0.105, 0.15, 0.875, 0.68)
"""Left, bottom, width and height of the axes as shares of the figure. They are fixed because laying out text takes
longer than drawing."""

TITLE_RISE, LEGEND_RISE, LABEL_DROP = 0.2448, -0.0204, 0.1836
"""Distance of title and legend above the upper edge of the axes, and of the label below the lower one, in inches."""

Values = npt.NDArray[np.float64]


class Chart:
    """One chart in the making. Values that are not finite leave a gap. A subclass defines its axes."""

    def __init__(
        self,
        title: str,
        x_label: str,
        y_label: str,
        *,
        height_inches: float = HEIGHT_INCHES,
        frame: tuple[float, float, float, float] = FRAME,
        title_rise: float = TITLE_RISE,
        legend_rise: float = LEGEND_RISE,
    ) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self._figure: Any = Figure(figsize=(WIDTH_INCHES, height_inches), dpi=PIXELS_PER_INCH)
        self._canvas: Any = FigureCanvasAgg(self._figure)
        self._axes: Any = self._figure.add_axes(frame)
        self._inch = 1 / (frame[3] * height_inches)  # as a share of the height of the axes
        self._legend_rise = legend_rise
        self._drawn: list[Values] = []
        self._labelled: dict[str, Any] = {}
        # Title and labels have fixed places: to find them, matplotlib would lay out all text twice more. A ticker may
        # contain a dollar sign, which must not begin a formula.
        self._axes.set_title(title, fontsize=9, y=1 + title_rise * self._inch, loc="left", parse_math=False)
        self._axes.set_xlabel(x_label, fontsize=8, ha="right")
        self._axes.xaxis.set_label_coords(1.0, -LABEL_DROP * self._inch)
        self._axes.set_ylabel(y_label, fontsize=8)
        self._axes.yaxis.set_label_coords(-0.075, 0.5)

    def line(
        self,
        x: Sequence[Any] | npt.NDArray[Any],
        y: Sequence[float] | Values,
        *,
        colour: str,
        width: float,
        style: str = "-",
        marker: str | None = None,
        label: str | None = None,
    ) -> None:
        """Draw a line of y over x; a single value becomes a dot."""
        finite = self._finite(y)
        shape = "o" if np.count_nonzero(np.isfinite(finite)) == 1 else marker
        self._plot(x, finite, color=colour, lw=width, ls=style, marker=shape, ms=width + 2, label=label)

    def level(self, value: float | None, *, label: str) -> None:
        """Draw a dashed horizontal line at a value; none for None or a value that is not finite."""
        if value is not None and np.isfinite(value):
            self._finite([value])
            self._labelled[label] = self._axes.axhline(value, color=BLACK, lw=0.9, ls=(0, (4, 3)))

    def note(self, text: str) -> None:
        """Write a text in red below the chart, at the left."""
        self._figure.text(0.02, 0.02, text, fontsize=7, color=RED, parse_math=False)

    def png(self) -> bytes:
        """Complete the chart; returns it as a PNG."""
        from PIL import Image

        self._lay_out()
        self._canvas.draw()
        size = self._canvas.get_width_height()
        picture = Image.frombuffer("RGBA", size, self._canvas.buffer_rgba()).convert("RGB")
        content = io.BytesIO()
        colours = Image.new("P", (1, 1))
        colours.putpalette(palette())
        picture.quantize(palette=colours, dither=Image.Dither.NONE).save(content, "PNG")
        return content.getvalue()

    def _lay_out(self) -> None:
        """Complete the layout when everything is drawn; a subclass adds its scales and ticks before."""
        axes = self._axes
        axes.tick_params(labelsize=7, length=2, pad=2)
        axes.grid(color=PALE_GREY, lw=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        if self._labelled:
            # The legend has a row of its own between title and axes, where it hides nothing.
            legend = axes.legend(
                self._labelled.values(),
                self._labelled.keys(),
                loc="lower left",
                bbox_to_anchor=(0, 1 + self._legend_rise * self._inch),
                ncols=6,
                columnspacing=1.2,
                fontsize=7,
                frameon=False,
                borderpad=0.2,
                borderaxespad=0.0,
                handlelength=1.6,
            )
            for text in legend.get_texts():
                text.set_parse_math(False)

    def _plot(self, x: Sequence[Any] | npt.NDArray[Any], y: Values, *, label: str | None, **look: Any) -> None:
        (drawn,) = self._axes.plot(x, y, **look)
        if label is not None:
            self._labelled[label] = drawn

    def _finite(self, values: Sequence[float] | Values) -> Values:
        given = np.asarray(values, dtype=np.float64)
        kept = np.where(np.isfinite(given), given, np.nan)
        self._drawn.append(kept)
        return kept
