"""The account of prediction intervals in a terminal of 80 columns, and as JSON."""

import dataclasses
import json

from rich.console import Console

from ldtm_cli.interval_table import intervals_as_dicts, print_intervals
from ldtm_lib.ledger.interval_scores import IntervalScore

DAY_80 = IntervalScore(
    ticker=None,
    horizon="next_day",
    level=0.8,
    num_filled=3090,
    num_intervals=2990,
    num_inside=2392,
    coverage=0.8,
    coverage_low=0.7853,
    coverage_high=0.8139,
    width=4.321,
    relative_width=1.0249,
    interval_score=5.5,
)
MONTH_95 = dataclasses.replace(
    DAY_80, horizon="one_month", level=0.95, num_inside=2990, coverage=1.0, width=123.456, relative_width=None
)
NONE = dataclasses.replace(
    DAY_80, level=0.95, num_intervals=0, num_inside=0, coverage=None, coverage_low=None, coverage_high=None, width=None
)
AAPL = dataclasses.replace(DAY_80, ticker="AAPL")


def printed(*scores: IntervalScore) -> list[str]:
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        print_intervals(console, scores, of="live forecasts")
    return capture.get().splitlines()


def test_the_table_has_the_universe_by_horizon_and_level_and_fits_80_columns() -> None:
    lines = printed(AAPL, DAY_80, NONE, MONTH_95)
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if "…" in line]
    rows = [line.split() for line in lines if line.startswith(("next", "one"))]
    assert rows == [
        ["next", "day", "80%", "2392/2990", "80.0%", "79–81", "4.32", "1.02", "5.50"],
        ["one", "month", "95%", "2990/2990", "100.0%", "79–81", "123.46", "–", "5.50"],
    ]


def test_without_an_interval_nothing_is_shown() -> None:
    assert printed(NONE) == printed() == []


def test_json_has_the_tickers_and_the_universe() -> None:
    found = json.loads(json.dumps(intervals_as_dicts([AAPL, DAY_80, NONE])))
    assert [(each["ticker"], each["num_intervals"], each["coverage"]) for each in found] == [
        ("AAPL", 2990, 0.8),
        (None, 2990, 0.8),
        (None, 0, None),
    ]
    assert (found[0]["coverage_low"], found[0]["interval_score"], found[0]["relative_width"]) == (0.7853, 5.5, 1.0249)
