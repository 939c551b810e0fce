"""From the wheel in an empty folder to a live record: twelve CSV files, one bootstrap, a session by a shifted clock.

It takes about six minutes on two idle cores, most of them for the trainings.
"""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ldtm_lib.sessions import exchange_calendar
from tests.acceptance.simulation.shifted_clock import IMPATIENCE, ShiftedClock, library, new_york
from tests.acceptance.wheel_environment import environment_with_wheel, shell
from tests.databases import server_home

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(library() is None, reason="the package libfaketime is not installed"),
]

TICKERS = tuple(f"T{number:02}" for number in range(12))
NUM_BARS = 760
NUM_SESSIONS = 30
THURSDAY, FRIDAY = date(2026, 11, 19), date(2026, 11, 20)
PORT = "3921"
PATIENCE_SECONDS = 300
EDITED = """
[training]
max_epochs = 2
[gate]
min_direction_accuracy = 0.01
max_price_error = 0.99
min_directional_calls = 1
min_call_coverage = 0.01
min_lead_over_constant = -1.0
[forecast]
neutral_band = 0.0
"""
"""A gate that lets networks of random walks through."""
AUTOMATION = """
[automation]
enabled = true
"""


@dataclass(frozen=True, slots=True)
class Owner:
    """A person with the installed command, a folder, and a clock."""

    folder: Path
    program: Path
    variables: dict[str, str]
    clock: ShiftedClock

    def ldtm(self, *words: str, expect: int | None = 0) -> str:
        done = subprocess.run(
            [str(self.program), *words],
            cwd=self.folder,
            env={**self.variables, **self.clock.environment()},
            capture_output=True,
            text=True,
            check=False,
        )
        assert expect is None or done.returncode == expect, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.ldtm(*words, "--json", expect=None))

    def edit(self, more: str) -> None:
        config = self.folder / "universe.toml"
        config.write_text(config.read_text() + more)

    def deliver(self, last: date) -> None:
        """The files of all tickers up to a session, each a random walk that is the same at every call."""
        calendar = exchange_calendar()
        days = calendar.between(date(2020, 1, 2), FRIDAY)[-NUM_BARS:]
        for number, ticker in enumerate(TICKERS):
            closes = 50 * np.exp(np.random.default_rng(number).normal(0, 0.02, NUM_BARS).cumsum())
            lines = [
                f"{day},{close:.4f},{close * 1.01:.4f},{close * 0.99:.4f},{close:.4f},{1000 + number}\n"
                for day, close in zip(days, closes.tolist(), strict=True)
                if day <= last
            ]
            path = self.folder / "data" / "bars" / f"{ticker}.csv"
            part = path.with_suffix(".part")
            part.write_text("".join(["Date,Open,High,Low,Close,Volume\n", *lines]))
            os.replace(part, path)


@pytest.fixture(scope="module")
def owner() -> Iterator[Owner]:
    with tempfile.TemporaryDirectory(prefix="ldtm-wheel-") as wheel, server_home() as folder:
        Path(wheel).chmod(0o755)
        environment = environment_with_wheel(Path(wheel))
        project, clock_folder = folder / "project", folder / "clock"
        project.mkdir()
        clock_folder.mkdir()
        owner = Owner(
            folder=project,
            program=environment / "bin" / "ldtm",
            variables={**shell(environment), "PYTHONPATH": str(IMPATIENCE), "COLUMNS": "80"},
            clock=ShiftedClock(clock_folder, new_york(str(FRIDAY), "10:00")),
        )
        yield owner
        owner.ldtm("down", expect=None)


def test_from_an_empty_folder_to_a_live_record(owner: Owner) -> None:
    owner.ldtm("init", "--tickers", ",".join(TICKERS))
    owner.edit(EDITED)
    owner.deliver(THURSDAY)

    printed = owner.ldtm("bootstrap", "--sessions", str(NUM_SESSIONS), "--retrain-every", "15")
    for words in ("simulation 1", "Leaderboard", "Simulation 1 of 1", "Automation is off", "ldtm up", "ldtm status"):
        assert words in printed
    assert max(map(len, printed.splitlines())) <= 80

    board = owner.json("leaderboard", "--simulated")
    assert len(board["rows"]) == len(TICKERS)
    rows = owner.json("forecasts", str(THURSDAY))
    assert {(row["ticker"], row["kind"], row["simulation_id"]) for row in rows} == {
        (t, "simulated", 1) for t in TICKERS
    }
    again = owner.ldtm("bootstrap", "--sessions", str(NUM_SESSIONS), "--retrain-every", "15")
    assert "Nothing new to do" in again

    owner.edit(AUTOMATION)
    owner.ldtm("up", "--port", PORT)
    owner.deliver(FRIDAY)
    owner.clock.set(new_york(str(FRIDAY), "18:15"))
    live = _live_rows_of_friday(owner)
    assert {row["ticker"] for row in live} == set(TICKERS)
    assert {row["simulation_id"] for row in live} == {0}
    assert owner.json("audit", "verify")["intact"] is True

    status = owner.ldtm("status", expect=None)
    assert "12 live rows for 12 tickers" in status
    assert "not in service" not in status
    assert "No live forecast has been filled yet" in owner.ldtm("leaderboard")
    assert "PostgreSQL" in owner.ldtm("down")


def _live_rows_of_friday(owner: Owner) -> list[dict[str, Any]]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        rows = [row for row in owner.json("forecasts", str(FRIDAY)) if row["kind"] == "live"]
        if len(rows) == len(TICKERS):
            return rows
        time.sleep(2)
    raise AssertionError(f"no live rows of {FRIDAY}; status:\n{owner.ldtm('status', expect=None)}")
