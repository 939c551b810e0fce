"""What commands print at 80 and 120 columns, beside the outputs in the folder `outputs`.

After a change on purpose: LDTM_WRITE_OUTPUTS=1 pytest tests/integration/ldtm_cli/test_outputs.py, then read the diff.
"""

import os
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from ldtm_lib.database.connection import Database
from ldtm_lib.sessions import Calendar
from tests.databases import create_database, drop_database, url_of
from tests.integration.ldtm_cli.shell import run_ldtm
from tests.large_record import write_large_record

OUTPUTS = Path(__file__).parent / "outputs"
LAST = date(2026, 6, 5)
TICKERS = tuple(f"T{number:03d}" for number in range(12))
COMMANDS = (
    *("leaderboard", "leaderboard --baselines", "leaderboard --backtests", "leaderboard --shadows"),
    *("forecasts", "forecasts T001", "forecasts --horizon next-day"),
    *("registry list", "registry show T001", "registry history T001"),
    *("fillback --restated", "prices quarantine", "alerts list", "settings partitions"),
)
MASKED = (
    (r"/[^ \n]*/universe.toml", "<folder>/universe.toml"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d", "<moment>"),
    (r"(?m) +$", ""),
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


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_prints_what_was_read_and_found_good(
    written: Database, tmp_path: Path, command: str, width: int
) -> None:
    (tmp_path / "universe.toml").write_text(f"tickers = {list(TICKERS)}\n")
    done = run_ldtm(tmp_path, written.url, *command.split(), COLUMNS=str(width))
    assert (done.returncode, done.stderr) == (0, "")
    printed = done.stdout
    for pattern, mask in MASKED:
        printed = re.sub(pattern, mask, printed)
    lines = done.stdout.splitlines()
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= width
    assert not [line for line in lines if "…" in line]
    file = OUTPUTS / f"{command.replace(' --', ' ').replace(' ', '-')}.{width}.txt"
    if os.environ.get("LDTM_WRITE_OUTPUTS"):
        file.write_text(printed)
    assert printed == file.read_text()
