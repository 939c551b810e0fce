"""Charts of the pages. Accuracies and errors have their intervals, and a coin flip or no change for comparison.

Shapes, line styles and words carry the meaning; colours only repeat it.
"""

from collections.abc import Sequence
from typing import Any

import altair as alt
import polars as pl

from ldtm_dashboard.frames.leaderboard import COIN
from ldtm_lib.ledger.track_record import CalibrationBin
from ldtm_lib.plots.colours import BLUE, GREY, ORANGE, PALE_BLUE, RED

Spec = dict[str, Any]
"""A Vega-Lite specification with its data."""
STEP = 15
"""Pixels of a ticker's row."""
LEGEND_HEIGHT = 340
"""Height of a chart with a legend below it; Streamlit subtracts the legend and the axis from the height."""
DASHES = [5, 4]


def accuracy_chart(points: pl.DataFrame) -> Spec:
    """The universe's accuracy with its interval, by run date."""
    shown = points.with_columns(pl.col("run_date").cast(pl.String).alias("day"))
    base = alt.Chart(shown)
    band = base.mark_area(color=PALE_BLUE, opacity=0.7).encode(
        x=_dates("run_date", "run date"),
        y=alt.Y("low:Q", title="direction right", axis=alt.Axis(format="%"), scale=alt.Scale(zero=False)),
        y2="high:Q",
    )
    line = base.mark_line(color=BLUE).encode(
        x=_dates("run_date", "run date"),
        y="accuracy:Q",
        tooltip=[
            alt.Tooltip("day:N", title="run date"),
            *_accuracy_tooltips("low", "high"),
        ],
    )
    return _spec(
        alt.layer(band, line, _level(COIN, "a coin")).properties(
            height=280,
            width="container",
            description="Direction accuracy of all tickers with its 95% interval by run date",
        )
    )


def ratio_chart(points: pl.DataFrame) -> Spec:
    """The universe's next-day error divided by that of forecasting no change, by run date."""
    shown = points.with_columns(pl.col("run_date").cast(pl.String).alias("day"))
    line = (
        alt.Chart(shown)
        .mark_line(color=ORANGE)
        .encode(
            x=_dates("run_date", "run date"),
            y=alt.Y("ratio:Q", title="next-day error / no change", scale=alt.Scale(zero=False)),
            tooltip=[
                alt.Tooltip("day:N", title="run date"),
                alt.Tooltip("ratio:Q", title="next-day error / no change", format=".3f"),
            ],
        )
    )
    return _spec(
        alt.layer(line, _level(1.0, "no change")).properties(
            height=260,
            width="container",
            description="Next-day error relative to forecasting no change, by run date",
        )
    )


def tickers_chart(tickers: pl.DataFrame) -> Spec:
    """Each ticker's accuracy with its 95% interval, in the order of ranks, with the line of a coin."""
    shown = tickers.filter(pl.col("accuracy").is_not_null()).select(
        "ticker", "accuracy", "accuracy_low", "accuracy_high", "num_directional", "rank"
    )
    labels = alt.Axis(labelOverlap=False, labelFontSize=11)
    y = alt.Y("ticker:N", sort=shown["ticker"].to_list(), title=None, axis=labels)
    base = alt.Chart(shown)
    interval = base.mark_rule(color=BLUE, strokeWidth=2).encode(
        y=y,
        x=alt.X("accuracy_low:Q", title="direction right, 95% interval", axis=alt.Axis(format="%", orient="top")),
        x2="accuracy_high:Q",
    )
    point = base.mark_point(color=BLUE, filled=True, size=40).encode(
        y=y,
        x="accuracy:Q",
        tooltip=[
            "ticker:N",
            *_accuracy_tooltips("accuracy_low", "accuracy_high"),
            alt.Tooltip("num_directional:Q", title="calls"),
        ],
    )
    coin = alt.Chart(pl.DataFrame({"x": [COIN]})).mark_rule(strokeDash=DASHES, color=RED).encode(x="x:Q")
    return _spec(
        alt.layer(interval, point, coin).properties(
            height=alt.Step(STEP),
            width="container",
            description="Direction accuracy of every ticker with its 95% interval; the dashed line is a coin",
        )
    )


def candles_chart(bars: pl.DataFrame, forecasts: pl.DataFrame, horizon: str, splits: pl.DataFrame) -> Spec:
    """Daily candles, and the forecasts of one horizon with their 80% intervals at their target sessions.

    A hollow candle rose, a filled one fell.
    """
    x = _dates("session", "session")
    price = alt.Y("low:Q", title="price", scale=alt.Scale(zero=False))
    candles = alt.Chart(
        bars.with_columns(
            (pl.col("close") >= pl.col("open")).alias("rose"), pl.col("session").cast(pl.String).alias("day")
        )
    )
    wick = candles.mark_rule(color=GREY).encode(x=x, y=price, y2="high:Q")
    body = candles.mark_bar(stroke=GREY, strokeWidth=1, size=4).encode(
        x=x,
        y=alt.Y("open:Q"),
        y2="close:Q",
        fill=alt.condition("datum.rose", alt.value("white"), alt.value(GREY)),
        tooltip=["day:N", "open:Q", "high:Q", "low:Q", "close:Q"],
    )
    made = alt.Chart(forecasts.with_columns(pl.col("run_date", "session").cast(pl.String).name.suffix("_day")))
    interval = made.mark_rule(color=BLUE, opacity=0.35).encode(x=x, y="low:Q", y2="high:Q")
    point = made.mark_point(color=BLUE, shape="diamond", filled=True, size=26).encode(
        x=x,
        y="pred:Q",
        tooltip=[
            alt.Tooltip("run_date_day:N", title="run date"),
            alt.Tooltip("session_day:N", title="target session"),
            alt.Tooltip("pred:Q", title="forecast", format=".2f"),
            alt.Tooltip("actual:Q", title="actual", format=".2f"),
        ],
    )
    layers = [wick, body, interval, point]
    if not bars.is_empty():
        inside = splits.filter(pl.col("session").is_between(bars["session"].min(), bars["session"].max()))
        if not inside.is_empty():  # an empty layer has no name for a screen reader
            line = alt.Chart(inside).mark_rule(strokeDash=[2, 2], color=RED)
            layers.append(line.encode(x=_dates("session", "session")))
    return _spec(
        alt.layer(*layers).properties(
            height=340,
            width="container",
            description=f"Daily candles and {horizon} forecasts (diamonds) with their 80% intervals",
        )
    )


def errors_chart(errors: pl.DataFrame) -> Spec:
    """The mean absolute error of the forecasts (solid) and of forecasting no change (dashed), by run date."""
    named = errors.unpivot(index="run_date", variable_name="of", value_name="percent").with_columns(
        pl.col("of").replace({"error": "forecasts", "no_change_error": "no change"}),
        pl.col("run_date").cast(pl.String).alias("day"),
    )
    return _spec(
        alt.Chart(named)
        .mark_line()
        .encode(
            x=_dates("run_date", "run date"),
            y=alt.Y("percent:Q", title="mean absolute error, %", scale=alt.Scale(zero=False)),
            color=alt.Color(
                "of:N", scale=alt.Scale(range=[BLUE, ORANGE]), legend=alt.Legend(orient="bottom", title=None, columns=1)
            ),
            strokeDash=alt.StrokeDash("of:N", legend=alt.Legend(orient="bottom", title=None, columns=1)),
            tooltip=[
                alt.Tooltip("day:N", title="run date"),
                "of:N",
                alt.Tooltip("percent:Q", title="mean absolute error, %", format=".2f"),
            ],
        )
        .properties(
            height=LEGEND_HEIGHT,
            width="container",
            description="Errors of the forecasts and of forecasting no change, by run date",
        )
    )


def calibration_chart(bins: Sequence[CalibrationBin]) -> Spec:
    """Actual returns by predicted ones, with 95% intervals; the dashed line marks exact forecasts."""
    rows = [(each.predicted, each.actual.value, each.actual.low, each.actual.high, each.num_forecasts) for each in bins]
    schema = ["predicted", "actual", "low", "high", "number"]
    base = alt.Chart(pl.DataFrame(rows, schema=schema, orient="row"))
    x = alt.X("predicted:Q", title="predicted next-day return, %")
    interval = base.mark_rule(color=BLUE).encode(x=x, y=alt.Y("low:Q", title="actual next-day return, %"), y2="high:Q")
    point = base.mark_point(color=BLUE, filled=True).encode(
        x=x,
        y="actual:Q",
        tooltip=[
            alt.Tooltip("predicted:Q", title="mean predicted, %", format=".2f"),
            alt.Tooltip("actual:Q", title="mean actual, %", format=".2f"),
            alt.Tooltip("number:Q", title="forecasts"),
        ],
    )
    ends = [min(each.predicted for each in bins), max(each.predicted for each in bins)]
    diagonal = (
        alt.Chart(pl.DataFrame({"x": ends, "y": ends}))
        .mark_line(strokeDash=DASHES, color=GREY)
        .encode(x="x:Q", y="y:Q")
    )
    return _spec(
        alt.layer(interval, point, diagonal, _level(0.0, "no change")).properties(
            height=260, width="container", description="Actual returns by predicted returns, with 95% intervals"
        )
    )


def losses_chart(curves: pl.DataFrame) -> Spec:
    """Training and validation loss by epoch of some networks, and the validation loss of forecasting no change."""
    networks = curves["network"].unique(maintain_order=True).to_list()
    named = curves.unpivot(
        on=["training", "validation", "no_change"], index=["network", "epoch"], variable_name="loss", value_name="value"
    ).with_columns(pl.col("loss").replace({"no_change": "no change"}))
    legend = alt.Legend(orient="bottom", title=None, columns=1, labelLimit=0)
    base = alt.Chart(named).encode(
        x=alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1)),
        y=alt.Y("value:Q", title="loss", scale=alt.Scale(zero=False)),
        color=alt.Color("network:N", sort=networks, legend=legend),
        tooltip=["network:N", "loss:N", "epoch:Q", alt.Tooltip("value:Q", format=".4f")],
    )
    line = base.mark_line().encode(strokeDash=alt.StrokeDash("loss:N", legend=legend))
    point = base.mark_point(filled=True, size=36).encode(shape=alt.Shape("network:N", sort=networks, legend=legend))
    return _spec(
        alt.layer(line, point).properties(
            height=LEGEND_HEIGHT + 60,
            width="container",
            description="Losses by epoch, and the loss of forecasting no change",
        )
    )


def _spec(chart: alt.Chart | alt.LayerChart | alt.FacetChart) -> Spec:
    return chart.to_dict(validate=False)


def _dates(column: str, title: str) -> alt.X:
    """An axis of dates, which every browser shows in UTC."""
    return alt.X(
        f"{column}:T", title=title, scale=alt.Scale(type="utc"), axis=alt.Axis(format="%Y-%m-%d", labelAngle=-30)
    )


def _level(value: float, name: str) -> alt.LayerChart | alt.FacetChart:
    """A dashed horizontal line with its name."""
    at = alt.Chart(pl.DataFrame({"y": [value], "name": [name]}))
    line = at.mark_rule(strokeDash=DASHES, color=RED).encode(y="y:Q")
    label = at.mark_text(align="left", dx=4, color=RED, fontWeight="bold").encode(  # at a place that no line crosses
        x=alt.value("width"), y="y:Q", text="name:N"
    )
    return alt.layer(line, label)


def _accuracy_tooltips(low: str, high: str) -> list[alt.Tooltip]:
    named = {"accuracy": "direction right", low: "95% from", high: "95% to"}
    return [alt.Tooltip(f"{field}:Q", title=title, format=".1%") for field, title in named.items()]
