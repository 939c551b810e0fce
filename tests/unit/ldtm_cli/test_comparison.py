"""The network against its baselines in a terminal of 80 columns, and as JSON."""

import dataclasses
import json
from datetime import date
from typing import Literal

import pytest
from rich.console import Console

from ldtm_cli.comparison import comparisons_as_dict, print_comparison, print_ticker_comparisons
from ldtm_lib.baselines.scores import Comparison, Model, ModelScore
from ldtm_lib.ledger.baselines import ComparisonBoard


def score(model: Model, *errors: float | None, right: int = 0, of: int = 0, up: int = 0, down: int = 0) -> ModelScore:
    day, monday, month = errors
    return ModelScore(
        model=model,
        num_next_day=98,
        next_day_error=day,
        num_next_monday=98,
        next_monday_error=monday,
        num_one_month=36,
        one_month_error=month,
        num_directional=of,
        num_correct=right,
        num_up=up,
        num_down=down,
    )


UNIVERSE = Comparison(
    ticker=None,
    first_session=date(2013, 1, 17),
    last_session=date(2013, 2, 28),
    network=score("network", 1.08, 1.65, 5.04, right=56, of=98, up=60, down=38),
    baselines=(
        score("no_change", 1.03, 1.69, 4.5),
        score("drift", 1.031, 1.67, 4.51),
        score("ar1", 1.09, 1.68, 123.456, right=10, of=12),
        score("ridge", 12.3456, 100.04, None, right=20, of=40),
    ),
)
IBM = dataclasses.replace(UNIVERSE, ticker="IBM")
BOARD = ComparisonBoard(universe=UNIVERSE, tickers=(dataclasses.replace(IBM, ticker="AAPL"), IBM))


def printed(board: ComparisonBoard, how: Literal["universe", "tickers"] = "universe", **options: int) -> list[str]:
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        if how == "universe":
            print_comparison(console, board, of="live forecasts", **options)
        else:
            print_ticker_comparisons(console, board, of="live forecasts")
    return capture.get().splitlines()


@pytest.mark.parametrize("how", ["universe", "tickers"])
def test_the_tables_fit_80_columns_uncut(how: Literal["universe", "tickers"]) -> None:
    lines = printed(BOARD, how)
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if "…" in line]


def test_each_model_stands_with_its_errors_and_where_it_is_better_than_the_network() -> None:
    rows = {line[:10].strip(): line[10:].split() for line in printed(BOARD) if line[:1] not in ("", " ")}
    assert rows["network"] == ["1.080", "1.049", "1.650", "0.976", "5.040", "1.120", "56/98", "57%", "47–66"]
    assert rows["no change"] == ["1.030", "1.000", "1.690", "1.000", "4.500", "1.000", "–", "–", "next", "day,"]
    assert rows["AR(1)"][-3:] == ["83%", "55–95", "direction"]
    assert rows["ridge"] == ["12.35", "11.99", "100.0", "59.20", "–", "20/40", "50%", "35–65"]
    assert rows["always up"] == ["–", "–", "–", "60/98", "61%", "51–70", "direction"]


def test_the_sentence_below_names_the_best_baseline_of_each_horizon() -> None:
    text = " ".join(" ".join(printed(BOARD)).split())
    assert "A baseline has a smaller price error than the network: next day (no change), one month (no change)." in text
    assert "on the same 98 rows of 2 tickers, live forecasts of 2013-01-17 to 2013-02-28" in text
    assert "on the same 98 of 120 rows" in " ".join(" ".join(printed(BOARD, num_counted=120)).split())


def test_without_baselines_there_is_a_sentence_instead() -> None:
    text = " ".join(printed(ComparisonBoard(universe=None, tickers=())))
    assert "these live forecasts have no baselines" in text


def test_every_ticker_names_the_baselines_that_beat_it() -> None:
    (aapl,) = [line.split() for line in printed(BOARD, "tickers") if line.startswith("AAPL")]
    assert aapl[:8] == ["AAPL", "1.080", "1.030", "1.031", "1.090", "12.35", "57%", "61%"]
    assert aapl[8:10] == ["no", "change,"]
    assert "always up" in " ".join(" ".join(printed(BOARD, "tickers")).split())


def test_json_has_every_ratio_interval_and_mark() -> None:
    found = json.loads(json.dumps(comparisons_as_dict(BOARD), default=str))
    assert [each["ticker"] for each in found["tickers"]] == ["AAPL", "IBM"]
    universe = found["universe"]
    assert universe["network"]["next_day_error_ratio"] == pytest.approx(1.08 / 1.03)
    no_change, _, ar1, ridge = universe["baselines"]
    assert no_change["better_than_network"] == ["next day", "one month"]
    assert (no_change["direction_accuracy"], no_change["accuracy_low"]) == (None, None)
    assert ar1["better_than_network"] == ["direction"]
    assert (ridge["one_month_error"], ridge["one_month_error_ratio"]) == (None, None)
    assert universe["best_constant"]["direction"] == "up"
    assert universe["best_constant"]["direction_accuracy"] == pytest.approx(60 / 98)
    assert universe["best_constant"]["better_than_network"] == ["direction"]
    assert json.loads(json.dumps(comparisons_as_dict(ComparisonBoard(universe=None, tickers=())))) == {
        "universe": None,
        "tickers": [],
    }
