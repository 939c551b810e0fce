"""`ldtm leaderboard`: the network against its baselines, in rows and in backtests."""

import json
import subprocess
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from rich.console import Console

from ldtm_cli.commands.leaderboard import print_leaderboard, print_shadows, print_simulations
from ldtm_cli.comparison import print_ticker_comparisons
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.ledger.baselines import comparisons
from ldtm_lib.ledger.fillbacks import fill
from ldtm_lib.ledger.interval_scores import interval_scores
from ldtm_lib.ledger.leaderboard import Score, leaderboard
from ldtm_lib.ledger.shadows import ShadowRecord
from ldtm_lib.ledger.simulations import LIVE, simulations
from ldtm_lib.settings import LedgerConfig
from tests.integration.ldtm_cli.kept_outputs import compare_at_all_widths
from tests.integration.ldtm_cli.shell import run_ldtm
from tests.integration.ledger_rows import LedgerRows, Model

DAYS = (date(2013, 1, 10), date(2013, 1, 11), date(2013, 1, 14))


class Shell:
    def __init__(self, folder: Path, database: Database) -> None:
        self.folder = folder
        self.url = database.url
        (folder / "universe.toml").write_text('tickers = ["AAPL"]\n')

    def leaderboard(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return run_ldtm(self.folder, self.url, "leaderboard", *words, COLUMNS="80")


@pytest.fixture
def shell(tmp_path: Path, database: Database) -> Shell:
    return Shell(tmp_path, database)


@pytest.fixture
def recorded(ledger_rows: LedgerRows, conn: Connection) -> None:
    """Two filled simulated rows of AAPL with baselines: 101 is forecast, 102 comes, and ridge says so."""
    model = Model("active", "v1", ledger_rows.promoted("AAPL", date(2013, 1, 9)))
    baselines = {"drift": (103, 103, 103), "ar1": (90, 90, 90), "ridge": (102, 102, 102)}
    for run_date in DAYS[:2]:
        ledger_rows.forecast("AAPL", run_date, model=model)
        ledger_rows.baselines("AAPL", run_date, baselines, direction="bullish")
    for session in DAYS[1:]:
        ledger_rows.bar("AAPL", session, 102)
    fill(conn, config=LedgerConfig(), as_of=DAYS[-1])
    conn.commit()


@pytest.mark.usefixtures("recorded")
def test_the_board_shows_the_network_against_its_baselines(shell: Shell) -> None:
    done = shell.leaderboard("--simulated")
    assert done.returncode == 0, done.stderr
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    words = " ".join(done.stdout.split())
    assert "Network against baselines on the same 2 rows of 1 ticker, simulated forecasts of 2013-01-10" in words
    assert "A baseline has a smaller price error than the network: next day (ridge)" in words
    (ridge,) = [line.split() for line in done.stdout.splitlines() if line.startswith("ridge")]
    assert ridge[1:3] == ["0.000", "0.000"]
    assert "day" in ridge[-1] or "day," in ridge


@pytest.mark.usefixtures("recorded")
def test_ranks_baselines_and_simulations_are_printed(conn: Connection) -> None:
    known = simulations(conn)
    rows, of = known[0].rows, f"{known[0].rows.kind} forecasts"
    board, compared, intervals = leaderboard(conn, rows), comparisons(conn, rows), interval_scores(conn, rows)

    def show(console: Console) -> None:
        print_leaderboard(console, board, rows, compared, intervals)
        print_simulations(console, known, rows)

    compare_at_all_widths("leaderboard-simulated", show, masks={r"\b20[2-9]\d-\d\d-\d\d\b": "2026-11-30"})
    compare_at_all_widths(
        "leaderboard-baselines-simulated", lambda console: print_ticker_comparisons(console, compared, of=of)
    )


def test_shadow_forecasts_are_printed() -> None:
    score = Score(
        first_run_date=date(2026, 9, 1),
        last_run_date=date(2026, 11, 27),
        num_filled=60,
        num_directional=52,
        num_correct=29,
        direction_accuracy=29 / 52,
        accuracy_low=0.424,
        accuracy_high=0.683,
        coverage=52 / 60,
        next_day_error=1.234,
        next_day_no_change_error=1.198,
        num_next_monday=50,
        next_monday_error=2.5,
        next_monday_no_change_error=2.4,
        num_one_month=40,
        one_month_error=6.5,
        one_month_no_change_error=6.1,
    )
    retired = ShadowRecord(
        ticker="AAPL",
        checkpoint_id=7,
        status="retired",
        version="v1.2026-03-27",
        file_sha256="0123456789abcdef" * 4,
        trained_on=date(2026, 3, 27),
        num_shadows=61,
        score=score,
        num_beside=60,
        error_beside=1.234,
        error_on_record=1.201,
    )
    candidate = replace(retired, ticker="GOOGL", status="candidate", version=None)
    compare_at_all_widths(
        "leaderboard-shadows-live", lambda console: print_shadows(console, [retired, candidate], LIVE)
    )


@pytest.mark.usefixtures("recorded")
def test_json_has_the_comparison_and_the_intervals(shell: Shell) -> None:
    board = json.loads(shell.leaderboard("--simulated", "--json").stdout)
    universe = board["baselines"]["universe"]
    assert [score["model"] for score in universe["baselines"]] == ["no_change", "drift", "ar1", "ridge"]
    assert universe["baselines"][-1]["better_than_network"][0] == "next day"
    assert [each["ticker"] for each in board["baselines"]["tickers"]] == ["AAPL"]
    assert {(each["ticker"], each["level"], each["num_intervals"]) for each in board["intervals"]} == {
        (ticker, level, 0) for ticker in ("AAPL", None) for level in (0.8, 0.95)
    }
    assert json.loads(shell.leaderboard("--simulated", "--baselines", "--json").stdout) == board["baselines"]


@pytest.mark.usefixtures("recorded")
def test_the_comparison_by_ticker_names_what_beats_the_network(shell: Shell) -> None:
    done = shell.leaderboard("--simulated", "--baselines")
    assert done.returncode == 0, done.stderr
    (aapl,) = [line.split() for line in done.stdout.splitlines() if line.startswith("AAPL")]
    assert aapl == ["AAPL", "0.980", "1.961", "0.980", "11.76", "0.000", "100%", "100%", "ridge"]


def test_without_rows_and_backtests_there_are_sentences(shell: Shell) -> None:
    assert "No live forecast that has baselines has been filled yet" in shell.leaderboard("--baselines").stdout
    assert "No backtest has baseline scores yet; the next training records them" in (
        " ".join(shell.leaderboard("--backtests").stdout.split())
    )


def test_options_that_exclude_each_other_are_refused(shell: Shell) -> None:
    for words in (("--backtests", "--simulated"), ("--backtests", "--late"), ("--baselines", "--shadows")):
        refused = shell.leaderboard(*words)
        assert refused.returncode == 2
        assert f"{words[0]} cannot be combined with" in " ".join(refused.stderr.split())
