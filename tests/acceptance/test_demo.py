"""The demo from an empty folder to a filled leaderboard, as a newcomer runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.installation import Installation
from tests.integration.audit.verifier import PROGRAM

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DAGSTER_RUNS = "select status, count(*) from ldtm_demo_dagster.runs group by status"
PARTITIONS = "select count(distinct partition) from ldtm_demo_dagster.asset_event_tags"


@pytest.fixture(scope="module")
def printed(small: Installation) -> str:
    return small.ldtm("demo")


def test_it_ends_with_a_leaderboard_and_what_to_do_next(printed: str) -> None:
    for words in ("Leaderboard", "MSFT", "Verdicts of the gate", "demo.toml up", "demo.toml down", "refused"):
        assert words in printed


def test_every_ticker_has_a_simulated_row_for_each_of_30_sessions(small: Installation, printed: str) -> None:
    rows = small.rows("select ticker, count(*), min(kind), max(kind) from snapshot group by ticker order by ticker")
    assert rows == [(ticker, 30, "simulated", "simulated") for ticker in ("AAPL", "FB", "GOOG", "IBM", "MSFT")]


def test_no_model_forecast_a_session_that_its_training_could_see(small: Installation, printed: str) -> None:
    seen = small.rows("select count(*), max(trained_on - run_date) from snapshot join checkpoint using (checkpoint_id)")
    assert seen[0][0] == 120
    assert seen[0][1] < 0


def test_the_ticker_that_is_too_short_abstains_with_the_reason(small: Installation, printed: str) -> None:
    reasons = small.rows("select distinct abstained_reason from snapshot where ticker = 'FB'")
    assert len(reasons) == 1
    assert "no" in reasons[0][0]
    gate = {row["ticker"]: row for row in small.json("registry", "list")}
    assert "166 bars" in gate["FB"]["rules"][0]["reason"]


def test_folds_are_purged_and_at_least_two(small: Installation, printed: str) -> None:
    folds = small.rows(
        "select ticker, count(*), max(train_cutoff - first_test_session), sum(num_leakage_rows)"
        " from backtest join backtest_fold using (backtest_id) group by ticker order by ticker"
    )
    assert [(ticker, number, leaks) for ticker, number, _, leaks in folds] == [
        (ticker, 2, 0) for ticker in ("AAPL", "GOOG", "IBM", "MSFT")
    ]
    assert all(distance < 0 for _, _, distance, _ in folds)


def test_actuals_are_the_closes_of_the_target_sessions(small: Installation, printed: str) -> None:
    wrong = small.rows(
        "select count(*) from snapshot join current_bar on current_bar.ticker = snapshot.ticker"
        " and session = next_day_session where abstained_reason is null and next_day_actual is distinct from close"
    )
    filled = small.rows(
        "select count(next_day_actual), count(next_monday_actual), count(one_month_actual) from snapshot"
    )
    assert wrong == [(0,)]
    assert filled == [(29 * 4, 25 * 4, 9 * 4)]


def test_the_real_splits_are_known_and_the_crash_is_none(small: Installation, printed: str) -> None:
    splits = small.rows("select ticker, session::text, ratio from split order by ticker, session")
    assert splits == [("AAPL", "2000-06-21", 2.0), ("AAPL", "2005-02-28", 2.0), ("MSFT", "2003-02-18", 2.0)]


def test_everything_went_through_dagster(small: Installation, printed: str) -> None:
    assert small.rows(DAGSTER_RUNS) == [("SUCCESS", 1)]


def test_a_second_demo_does_nothing_and_says_the_same(small: Installation, printed: str) -> None:
    again = small.ldtm("demo")
    assert "Nothing new to do" in again
    assert small.rows(DAGSTER_RUNS) == [("SUCCESS", 1)]
    assert printed[printed.index("Leaderboard") :] == again[again.index("Leaderboard") :]


def test_what_lists_prints_json(small: Installation, printed: str) -> None:
    board = small.json("leaderboard", "--simulated")
    assert board["universe"]["num_filled"] == 29 * 4
    assert {row["ticker"] for row in board["rows"]} == {"AAPL", "FB", "GOOG", "IBM", "MSFT"}
    assert {row["bar_is_there"] for row in small.json("fillback", "--dry-run")} == {False}, "the sample ends before"
    assert {finding["what"] for finding in small.json("doctor")} >= {"database", "schema", "GPU", "source", "disk"}
    assert json.dumps(small.json("registry", "list"))


def test_the_record_verifies_against_its_publications_and_a_forecast_is_proven(
    small: Installation, printed: str, tmp_path: Path
) -> None:
    report = small.json("audit", "verify")
    assert (report["intact"], report["num_seals"], report["num_unsealed"]) == (True, 1, 0)
    assert [(place["num_seals"], place["num_unpublished"]) for place in report["publications"]] == [(1, 0), (1, 0)]
    proof = tmp_path / "ibm.json"
    assert ": 4 events of simulation 1, " in small.ldtm("audit", "prove", "IBM", "2013-02-20", "--out", str(proof))
    checked = subprocess.run(
        [sys.executable, "-I", "-S", PROGRAM, proof, "--seals", small.project().home / "seals.jsonl"],
        capture_output=True,
        text=True,
    )
    assert checked.stdout.startswith("PROVEN: IBM on 2013-02-20 by simulation 1 (events: 4, seals: 1)"), (
        checked.stdout + checked.stderr
    )
    assert small.ldtm("replay", "IBM", "2013-02-20").endswith("equal, to the bit\n")


def test_live_rows_are_none_and_that_is_said(small: Installation, printed: str) -> None:
    assert "No live forecast has been filled yet" in small.ldtm("leaderboard")


def test_commands_are_about_the_demo_where_nothing_else_exists(small: Installation, printed: str) -> None:
    folder = small.config.parent

    def ldtm(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "ldtm_cli.main", *words]
        return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=small.environment(), timeout=120)

    shown = ldtm("registry", "show", "IBM", "--json")
    assert (shown.returncode, shown.stderr) == (
        0,
        "note: this is the demo (demo.toml): there is no universe.toml here\n",
    )
    assert json.loads(shown.stdout)
    (folder / "universe.toml").write_text('tickers = ["AAPL"]\n[source]\nkind = "files"\nbasis = "adjusted"\n')
    try:
        verified = ldtm("audit", "verify")
        assert verified.returncode == 0
        assert verified.stderr == "note: this is the demo (demo.toml): universe.toml has no database yet\n"
        imported = ldtm("prices", "import", str(folder), "--basis", "adjusted")
        assert imported.returncode == 2
        assert "schema ldtm of universe.toml lacks" in imported.stderr
        assert "ldtm bootstrap" in imported.stderr
        own = ldtm("leaderboard")  # the database of universe.toml was begun by the command before
        assert own.returncode == 2
        assert "this is the demo" not in own.stderr
    finally:
        ldtm("down", "--all")
        (folder / "universe.toml").unlink()
