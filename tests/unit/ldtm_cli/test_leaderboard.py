"""The leaderboard in a terminal of 80 columns, and as JSON."""

import dataclasses
import json
from datetime import date

import pytest
from rich.console import Console

from ldtm_cli.commands.leaderboard import leaderboard_as_dict, print_leaderboard
from ldtm_lib.ledger.baselines import ComparisonBoard
from ldtm_lib.ledger.leaderboard import Leaderboard, LeaderboardRow, Score
from ldtm_lib.ledger.simulations import LIVE

SCORE = Score(
    first_run_date=date(2013, 1, 2),
    last_run_date=date(2013, 2, 14),
    num_filled=30,
    num_directional=30,
    num_correct=18,
    direction_accuracy=0.6,
    accuracy_low=0.423,
    accuracy_high=0.754,
    coverage=1.0,
    next_day_error=1.234,
    next_day_no_change_error=1.1,
    num_next_monday=25,
    next_monday_error=3.25,
    next_monday_no_change_error=3.2,
    num_one_month=9,
    one_month_error=6.5,
    one_month_no_change_error=6.1,
)
LARGEST = dataclasses.replace(
    SCORE,
    num_correct=30,
    direction_accuracy=1.0,
    accuracy_low=0.886,
    accuracy_high=1.0,
    next_monday_error=12.345,
    next_monday_no_change_error=9.999,
    one_month_error=123.4,
    one_month_no_change_error=99.96,
)
UNIVERSE = dataclasses.replace(SCORE, num_filled=3090, num_directional=3090, num_correct=1584, direction_accuracy=0.513)


def row(ticker: str, rank: int | None, ranks: tuple[int | None, int | None], score: Score) -> LeaderboardRow:
    return LeaderboardRow(
        ticker=ticker,
        rank=rank,
        rank_low=ranks[0],
        rank_high=ranks[1],
        score=score,
        gate_passed=False,
        gate_reasons=("49.0% < 52%",),
        model_status="candidate",
        model_version=None,
        trained_on=None,
        active_version=None,
    )


BOARD = Leaderboard(
    rows=(
        row("GOOGL", 1, (1, 4), SCORE),
        row("AAPL", 103, (1, 103), LARGEST),
        row("SPY", 104, (None, None), SCORE),
    ),
    universe=UNIVERSE,
)
NO_BASELINES = ComparisonBoard(universe=None, tickers=())


def _printed(width: int) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        print_leaderboard(console, BOARD, LIVE, NO_BASELINES, [])
    return capture.get().splitlines()


@pytest.fixture
def printed() -> list[str]:
    return _printed(80)


def test_the_widest_figures_fit_80_columns_uncut(printed: list[str]) -> None:
    assert max(map(len, printed)) <= 80
    assert not [line for line in printed if "…" in line]


def test_each_ticker_stands_with_its_rank_interval(printed: list[str]) -> None:
    rows = [line.split()[:2] for line in printed if "candidate" in line]
    assert rows == [["1–4", "GOOGL"], ["1–103", "AAPL"], ["–", "SPY"]]
    assert "Rank 95% CI: simultaneous confidence intervals" in " ".join(" ".join(printed).split())


def test_a_wider_terminal_has_the_ranks_too() -> None:
    rows = [line.split()[:3] for line in _printed(85) if "candidate" in line]
    assert rows == [["1", "1–4", "GOOGL"], ["103", "1–103", "AAPL"], ["104", "–", "SPY"]]


def test_rows_without_baselines_are_said_to_have_none(printed: list[str]) -> None:
    assert "these live forecasts have no baselines" in " ".join(" ".join(printed).split())


def test_figures_are_rounded_to_what_fits(printed: list[str]) -> None:
    (row,) = [line.split() for line in printed if "AAPL" in line and "candidate" in line]
    assert row[3:] == ["30/30", "100%", "89–100", "100%", "1.23/1.10", "12.3/10.0", "123/100"]
    (universe,) = [line.split() for line in printed if " all " in line and "3090" in line]
    assert universe[:5] == ["all", "51%", "of", "3090", "42–75"]


def test_json_has_the_rank_interval() -> None:
    first = json.loads(json.dumps(leaderboard_as_dict(BOARD, NO_BASELINES, []), default=str))["rows"][0]
    assert (first["ticker"], first["rank"], first["rank_low"], first["rank_high"]) == ("GOOGL", 1, 1, 4)
