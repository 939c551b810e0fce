"""Charts stay readable: lines have room above a legend, and shapes repeat what colours say."""

from datetime import date

import polars as pl

from ldtm_dashboard.charts import LEGEND_HEIGHT, errors_chart, losses_chart


def test_a_chart_of_errors_leaves_room_for_its_lines() -> None:
    """Axis and legend take about 200 pixels: of 220 nothing was left, and both lines lay on each other."""
    errors = pl.DataFrame({"run_date": [date(2026, 1, 5)], "error": [1.0], "no_change_error": [1.1]})
    assert errors_chart(errors)["height"] == LEGEND_HEIGHT >= 320


def test_networks_differ_by_shape_and_are_named_in_full() -> None:
    curves = pl.DataFrame(
        {"network": ["v1.2026-09-01"], "epoch": [1], "training": [1.1], "validation": [1.2], "no_change": [1.0]}
    )
    lines, points = losses_chart(curves)["layer"]
    assert lines["encoding"]["strokeDash"]["field"] == "loss", "a legend of dashes, not of points"
    encoding = points["encoding"]
    assert encoding["shape"]["field"] == encoding["color"]["field"] == "network"
    assert encoding["shape"]["legend"]["labelLimit"] == 0
