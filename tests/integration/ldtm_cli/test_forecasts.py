"""`ldtm forecasts`: the rows of a run date or of a ticker, as a table, JSON and CSV."""

import csv
import io
import json
import subprocess
from datetime import date
from functools import partial
from pathlib import Path

import pytest

from ldtm_cli.commands.forecasts import print_intervals, print_run_date, print_ticker
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.ledger.recorded_forecasts import forecasts_of_run_date, forecasts_of_ticker
from ldtm_lib.sessions import HORIZONS, Calendar
from tests.integration.ldtm_cli.kept_outputs import compare_at_all_widths
from tests.integration.ldtm_cli.shell import run_ldtm
from tests.integration.ledger.recorded_intervals import put_intervals
from tests.integration.ledger_rows import LedgerRows, Model

THURSDAY, FRIDAY = date(2013, 1, 10), date(2013, 1, 11)


class Shell:
    def __init__(self, folder: Path, database: Database) -> None:
        self.folder = folder
        self.database = database
        self.url = database.url
        (folder / "universe.toml").write_text('tickers = ["AAPL", "IBM", "MSFT"]\n')

    def forecasts(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return run_ldtm(self.folder, self.url, "forecasts", *words, COLUMNS="80")


@pytest.fixture
def shell(tmp_path: Path, database: Database) -> Shell:
    return Shell(tmp_path, database)


@pytest.fixture
def recorded(ledger_rows: LedgerRows, conn: Connection) -> None:
    """Two run dates of AAPL, and an abstention of IBM on the second."""
    ledger_rows.forecast("AAPL", THURSDAY, kind="late")
    checkpoint_id = ledger_rows.promoted("AAPL", date(2013, 1, 9))
    ledger_rows.forecast(
        "AAPL", FRIDAY, preds=(101.5, 102.25, 103.0), model=Model("active", "v1.2013-01-09", checkpoint_id)
    )
    ledger_rows.abstention("IBM", FRIDAY, kind="late")
    conn.commit()


@pytest.mark.usefixtures("recorded")
def test_the_newest_run_date_is_shown_with_its_target_sessions_and_deadline(shell: Shell) -> None:
    done = shell.forecasts()
    assert done.returncode == 0, done.stderr
    words = " ".join(done.stdout.split())
    assert "Forecasts of 2013-01-11; live if recorded before 2013-01-14 09:30 New York" in words
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    for shown in ("Mon 01-14", "Tue 02-12", "101.50", "102.25", "103.00", "bullish", "v1.2013-01-09"):
        assert shown in done.stdout
    assert "abstained: has no active model" in words
    assert "Next day and next Monday are the same session" in words
    assert "2013-01-10" not in done.stdout
    with shell.database.connect() as conn:
        of_date, of_ticker = forecasts_of_run_date(conn, FRIDAY), forecasts_of_ticker(conn, "AAPL")
    compare_at_all_widths("forecasts-simulated", lambda console: print_run_date(console, of_date))
    compare_at_all_widths("forecasts-simulated-AAPL", lambda console: print_ticker(console, of_ticker))


@pytest.mark.usefixtures("recorded")
def test_a_date_or_a_ticker_selects_rows(shell: Shell) -> None:
    of_thursday = shell.forecasts("2013-01-10").stdout
    assert "late" in of_thursday
    assert "same session" not in of_thursday
    assert "IBM" not in of_thursday
    rows = json.loads(shell.forecasts("AAPL", "--json").stdout)
    assert [(row["run_date"], row["kind"]) for row in rows] == [("2013-01-11", "simulated"), ("2013-01-10", "late")]
    assert [row["simulation_id"] for row in rows] == [1, 0]
    assert rows[0]["one_month_session"] == "2013-02-12"
    assert rows[0]["deadline"].startswith("2013-01-14T14:30")
    of_aapl = shell.forecasts("AAPL").stdout
    assert "2013-01-10" in of_aapl
    assert "simulated 1" in of_aapl


@pytest.mark.usefixtures("recorded")
def test_csv_has_a_line_for_every_row(shell: Shell) -> None:
    aapl, ibm = csv.DictReader(io.StringIO(shell.forecasts("2013-01-11", "--csv").stdout))
    assert (aapl["ticker"], aapl["next_day_pred"], aapl["model_status"]) == ("AAPL", "101.5", "active")
    assert (ibm["ticker"], ibm["next_day_pred"], ibm["abstained_reason"]) == ("IBM", "", "has no active model")


def test_nothing_on_record_is_said_and_is_empty_json(shell: Shell) -> None:
    assert "No forecast is on record. `ldtm status` shows what is pending." in shell.forecasts().stdout
    assert "No forecast of 2013-01-10 is on record." in shell.forecasts("2013-01-10").stdout
    assert json.loads(shell.forecasts("--json").stdout) == []


def test_what_is_no_ticker_and_two_formats_are_refused(shell: Shell) -> None:
    unknown = shell.forecasts("NVDA")
    assert unknown.returncode == 1
    assert "NVDA is not in the universe of" in unknown.stderr
    both = shell.forecasts("--json", "--csv")
    assert (both.returncode, both.stdout) == (2, "")
    assert "--json and --csv exclude each other" in both.stderr


def test_a_horizon_is_shown_with_its_intervals_and_json_has_all(
    shell: Shell, conn: Connection, calendar: Calendar
) -> None:
    put_intervals(conn, calendar, "AAPL", [None, None], first=THURSDAY, without=[0])
    conn.commit()
    done = shell.forecasts("--horizon", "one-month")
    assert done.returncode == 0, done.stderr
    words = " ".join(done.stdout.split())
    assert "Forecasts of 2013-01-11, one month, with 80% and 95% intervals" in words
    assert "AAPL Tue 02-12 100.00 100.00 98.00-102.00 96.00-104.00 live" in words
    assert "too few outcomes" not in words
    rows = forecasts_of_ticker(conn, "AAPL")
    show = partial(print_intervals, rows=rows, horizon="next_day", of_ticker=True)
    compare_at_all_widths("forecasts-AAPL-horizon-next-day", show)
    of_aapl = shell.forecasts("AAPL", "--horizon", "next-day").stdout
    assert max(len(line) for line in of_aapl.splitlines()) <= 80
    assert "2013-01-10 Fri 01-11 100.00 100.00 – – live" in " ".join(of_aapl.split())
    assert "–: no interval, since too few outcomes are known or no finite interval reaches" in of_aapl
    newest, oldest = json.loads(shell.forecasts("AAPL", "--json").stdout)
    assert {newest[f"{h}_{end}_95"] for h in HORIZONS for end in ("low", "high")} == {96.0, 104.0}
    assert (newest["volatility"], oldest["next_day_low_80"]) == (0.02, None)
    refused = shell.forecasts("--json", "--horizon", "next-day")
    assert refused.returncode == 2
    assert "--json and --csv hold all horizons; leave out --horizon" in refused.stderr
