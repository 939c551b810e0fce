"""Messages of errors, as a terminal of 80 columns shows them."""

from pathlib import Path

import pytest
from rich.console import Console
from typer import rich_utils
from typer.testing import CliRunner

from ldtm_cli import main
from ldtm_lib.database.connection import Database
from tests.integration.ldtm_cli.kept_outputs import compare

COMMANDS = (
    "leaderbord",
    "forecasts NVDA",
    "forecasts --horizon tomorrow",
    "prices import bars --basis half",
    "prices import nowhere --basis raw",
    "run 2026-02-30",
    "leaderboard --backtests --late",
    "registry rollback AAPL --why slow",
    "registry show AAPL",
    "audit prove AAPL 2013-01-02",
    "replay AAPL 2013-01-02",
    "alerts show ticker/2026-11-20/AAPL",
    "alerts test",
    "settings gpus",
    "logs",
    "--config nowhere.toml leaderboard",
)


def test_messages_of_errors_are_the_kept_output(
    database: Database, empty_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "universe.toml").write_text('tickers = ["AAPL", "MSFT"]\n')
    (tmp_path / "wrong.toml").write_text('tickers = ["AAPL"]\n[gate]\nmin_folds = 0\nfolds = 3\n')
    monkeypatch.setattr(main, "errors", Console(stderr=True, width=80))
    monkeypatch.setattr(rich_utils, "MAX_WIDTH", 80)
    for name in ("LDTM_CONFIG", "LDTM_ALERT_URLS"):
        monkeypatch.setenv(name, "")
    shown: list[str] = []

    def run(command: str, url: str = database.url, note: str = "") -> None:
        monkeypatch.setenv("LDTM_CONFIG", "")
        monkeypatch.setenv("LDTM_DATABASE_URL", url)
        done = CliRunner().invoke(main.app, command.split(), prog_name="ldtm")
        shown.append(f"$ ldtm {command}{note}\n{done.stderr}exit status {done.exit_code}\n")
        assert (done.stdout, done.exit_code) in (("", 1), ("", 2)), done.output

    for command in COMMANDS:
        run(command)
    run("--config wrong.toml leaderboard")
    run("leaderboard", empty_database.url, "  # on an empty database")
    run("leaderboard", "postgresql://me:top-secret@127.0.0.1:1/prices", "  # without a server")
    run("leaderboard", "prices", "  # with LDTM_DATABASE_URL=prices")
    compare("errors", "\n".join(shown), width=80, folder=tmp_path, unwrapped="error:")
