"""`ldtm replay`: exit status, JSON, and what a stranger reads in the terminal."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ldtm_cli.commands.replay import print_replay
from ldtm_lib.audit.replay import FieldComparison, replay
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings
from tests.integration.environment import RUN_DATE, ForecastEnvironment
from tests.integration.ldtm_cli.kept_outputs import MOMENT, compare_at_all_widths, masked
from tests.integration.ldtm_cli.shell import run_ldtm


def compare_replay(name: str, shell: "Shell", conn: Connection, calendar: Calendar, settings: Settings) -> None:
    """Compare a replay with a kept output, with other figures: those of a network may differ between machines."""
    folder = shell.checkpoints
    found = replay(conn, "AAPL", RUN_DATE, 1, folder=folder, settings=settings, calendar=calendar)

    def fixed(number: int, compared: FieldComparison) -> FieldComparison:
        if not isinstance(compared.recomputed, float):
            return compared
        figure = 98.765 + number
        return replace(compared, on_record=figure if compared.is_same else compared.on_record, recomputed=figure)

    found = replace(found, comparisons=tuple(fixed(*each) for each in enumerate(found.comparisons)))
    hashes = {r"\b[0-9a-f]{64}\b": "0123456789abcdef" * 4}
    compare_at_all_widths(name, lambda console: print_replay(console, masked(found, hashes)), masks=MOMENT)


class Shell:
    """A shell in the folder of an installation that has one forecast of AAPL and one abstention of MSFT on record."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder = folder
        self.url = database.url
        self.checkpoints = folder / ".ldtm" / "ldtm" / "checkpoints"
        (folder / "universe.toml").write_text('tickers = ["AAPL", "MSFT"]\n')

    def replay(self, *words: str) -> subprocess.CompletedProcess[str]:
        return run_ldtm(self.folder, self.url, "replay", *words, COLUMNS="200")


@pytest.fixture
def shell(tmp_path: Path, database: Database, conn: Connection, calendar: Calendar, settings: Settings) -> Shell:
    shell = Shell(tmp_path, database)
    environment = ForecastEnvironment(conn, calendar, settings, shell.checkpoints)
    environment.ready("AAPL")
    environment.take("AAPL", "MSFT")
    conn.commit()
    return shell


def test_an_equal_forecast_is_status_0(shell: Shell, conn: Connection, calendar: Calendar, settings: Settings) -> None:
    shown = shell.replay("AAPL", str(RUN_DATE))
    assert shown.returncode == 0, shown.stderr
    assert "AAPL on 2013-01-11, simulation 1, recorded " in shown.stdout
    assert "next Monday, forecast" in shown.stdout
    assert "differs" not in shown.stdout
    assert shown.stdout.endswith("equal, to the bit\n")
    compare_replay("replay", shell, conn, calendar, settings)
    assert shell.replay("AAPL", str(RUN_DATE), "--simulation", "1").stdout == shown.stdout
    unknown = shell.replay("AAPL", str(RUN_DATE), "--simulation", "2")
    assert unknown.returncode == 2
    assert "there is no simulation 2; simulations 1 to 1 are on record" in unknown.stderr
    abstained = shell.replay("MSFT", str(RUN_DATE))
    assert abstained.returncode == 0
    assert "MSFT has no active model: there is no forecast to compute again, and no window to make" in abstained.stdout


def test_a_difference_is_status_1_and_named(
    shell: Shell, conn: Connection, calendar: Calendar, settings: Settings
) -> None:
    conn.execute("alter table snapshot disable trigger user")
    conn.execute("update snapshot set next_day_pred = 123.25 where ticker = 'AAPL'")
    conn.commit()
    shown = shell.replay("AAPL", str(RUN_DATE))
    assert shown.returncode == 1
    assert shown.stdout.endswith("differs in next day, forecast\n")
    assert "123.25" in shown.stdout
    compare_replay("replay-differs", shell, conn, calendar, settings)
    printed = shell.replay("AAPL", str(RUN_DATE), "--json")
    assert printed.returncode == 1
    report = json.loads(printed.stdout)
    assert (report["ticker"], report["run_date"], report["is_equal"]) == ("AAPL", "2013-01-11", False)
    (found,) = (compared for compared in report["comparisons"] if not compared["is_same"])
    assert (found["what"], found["on_record"]) == ("next_day_pred", 123.25)


def test_what_cannot_be_replayed_is_status_1_with_the_remedy(shell: Shell) -> None:
    (path,) = shell.checkpoints.glob("*.pt")
    path.unlink()
    gone = shell.replay("AAPL", str(RUN_DATE))
    assert gone.returncode == 1
    assert f"checkpoint {path} is missing; restore the file from a copy" in gone.stderr
    assert "Traceback" not in gone.stderr
    stranger = shell.replay("TSLA", str(RUN_DATE))
    assert (stranger.returncode, "TSLA is not in the universe" in stranger.stderr) == (1, True)


def test_a_day_that_is_no_date_is_status_2(shell: Shell) -> None:
    assert shell.replay("AAPL", "yesterday").returncode == 2
