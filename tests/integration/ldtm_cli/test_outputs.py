"""Outputs of commands that read a large generated record, at 80 and 120 columns."""

import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from ldtm_lib.database.connection import Database
from ldtm_lib.sessions import Calendar
from tests.databases import create_database, drop_database, url_of
from tests.integration.ldtm_cli.kept_outputs import WIDTHS, compare
from tests.integration.ldtm_cli.shell import run_ldtm
from tests.large_record import write_large_record

LAST = date(2026, 6, 5)
TICKERS = tuple(f"T{number:03d}" for number in range(12))
COMMANDS = (
    *("leaderboard", "leaderboard --baselines", "leaderboard --backtests", "leaderboard --shadows"),
    *("forecasts", "forecasts T001", "forecasts --horizon next-day"),
    *("registry list", "registry show T001", "registry history T001"),
    *("fillback --restated", "prices quarantine", "alerts list", "settings partitions"),
)


@pytest.fixture(scope="module")
def written(server_url: str, template: str, calendar: Calendar) -> Iterator[Database]:
    """A database with twelve tickers over 300 sessions, the same on every day."""
    name = f"ldtm_outputs_{os.getpid()}"
    create_database(server_url, name, template)
    database = Database(url=url_of(server_url, name), schema="ldtm")
    with database.connect() as conn:
        write_large_record(conn, calendar, LAST, num_tickers=len(TICKERS), num_sessions=300)
    yield database
    drop_database(server_url, name)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_prints_its_kept_output(written: Database, tmp_path: Path, command: str, width: int) -> None:
    (tmp_path / "universe.toml").write_text(f"tickers = {list(TICKERS)}\n")
    done = run_ldtm(tmp_path, written.url, *command.split(), COLUMNS=str(width))
    assert (done.returncode, done.stderr) == (0, "")
    compare(command.replace(" --", " ").replace(" ", "-"), done.stdout, width=width, folder=tmp_path)
