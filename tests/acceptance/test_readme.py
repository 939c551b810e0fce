"""Every command of the README, pasted in the order of the page: after the demo, then in a folder of one's own."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ldtm_lib.sessions import exchange_calendar
from tests.databases import server_home
from tests.repository import REPOSITORY

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(900)]

BLOCKS = re.findall(r"(?ms)^```sh\n(.*?)^```$", (REPOSITORY / "README.md").read_text())
QUICK = "\n[architecture]\nhidden = 16\nhead_hidden = 8\n[training]\nmax_epochs = 1\n"
NEEDS_A_PERSON = 1


def _commands(block: str) -> list[str]:
    return [line.partition("#")[0].strip() for line in block.splitlines() if line.startswith("ldtm ")]


AFTER_THE_DEMO, OWN = (_commands(block) for block in BLOCKS[1:3])


@pytest.fixture(scope="module")
def checkout() -> Iterator[Path]:
    """A folder with the configurations that a checkout has, in which the demo was run."""
    with server_home() as folder:
        folder = folder / "ldtm"
        folder.mkdir()
        shutil.copy(REPOSITORY / "universe.toml", folder)
        demo = (REPOSITORY / "demo.toml").read_text().replace("max_epochs = 7", "max_epochs = 1")
        (folder / "demo.toml").write_text(demo)
        assert _paste("ldtm demo", folder) == 0
        yield folder
        _paste("ldtm down --all", folder)


def _paste(command: str, folder: Path) -> int:
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("LDTM_", "DAGSTER_"))}
    words = [sys.executable, "-m", "ldtm_cli.main", *command.split()[1:]]
    done = subprocess.run(
        words, cwd=folder, env={**ours, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, timeout=600
    )
    print(f"$ {command}\n{done.stdout}\n{done.stderr}")
    assert "Traceback" not in done.stderr
    return done.returncode


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _write_bars(folder: Path, ticker: str) -> None:
    calendar = exchange_calendar()
    newest = calendar.last_closed(datetime.now(UTC))
    sessions = calendar.between(calendar.offset(newest, -900), newest)
    random = np.random.default_rng(sum(map(ord, ticker)))
    close = (100 * np.exp(random.normal(0, 0.01, len(sessions)).cumsum())).round(2)
    bars = {"date": sessions, "open": close, "high": close + 1, "low": close - 1, "close": close}
    pl.DataFrame({**bars, "volume": random.integers(1_000, 9_000, len(close))}).write_csv(folder / f"{ticker}.csv")


def test_the_commands_after_the_demo(checkout: Path) -> None:
    assert len(AFTER_THE_DEMO) == 5
    for command in AFTER_THE_DEMO:
        assert _paste(command, checkout) == 0, command


def test_the_commands_for_tickers_of_ones_own(checkout: Path) -> None:
    folder = checkout.parent / "forecasts"
    folder.mkdir()
    assert OWN[0].startswith("ldtm init --tickers ")
    allowed = {"ldtm doctor": {0}, "ldtm status": {0, NEEDS_A_PERSON}}
    try:
        for command in OWN:
            port = f" --port {_free_port()}" if command == "ldtm up" else ""
            assert _paste(command + port, folder) in allowed.get(command, {0}), command
            if command == OWN[0]:
                for ticker in command.rpartition(" ")[2].split(","):
                    _write_bars(folder / "data" / "bars", ticker)
                config = folder / "universe.toml"
                config.write_text(config.read_text() + QUICK)
    finally:
        _paste("ldtm down --all", folder)
