"""The command `ldtm` as scripts use it: exit status, JSON, and messages with a remedy."""

import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import polars as pl
import pytest
from bokeh_sampledata import stocks

from ldtm_cli.commands.db import print_grant, print_migrations
from ldtm_lib.database.connection import Database, masked_url
from tests.integration.ldtm_cli.kept_outputs import compare, compare_at_all_widths
from tests.integration.ldtm_cli.shell import run_ldtm
from tests.repository import REPOSITORY

CONFIG = """
tickers = ["AAPL", "MSFT"]
[source]
kind = "files"
folder = "bars"
basis = "raw"
"""


class Shell:
    """A shell in a folder with a configuration, on a PostgreSQL server that is given by its URL."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder = folder
        self.url = database.url
        self.config = folder / "universe.toml"
        self.config.write_text(CONFIG)
        (folder / "bars").mkdir()

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return run_ldtm(self.folder, self.url, *words, **environment)

    def write(self, ticker: str, name: str | None = None, cut: int | None = None) -> Path:
        """A file of real bars with adjusted closes."""
        path = self.folder / "bars" / (name or f"{ticker}.csv")
        pl.DataFrame(getattr(stocks, ticker)).head(cut or 10_000).write_csv(path)
        return path


@pytest.fixture
def shell(tmp_path: Path, database: Database) -> Shell:
    return Shell(tmp_path, database)


def test_help_names_every_command(shell: Shell) -> None:
    helped = shell.run("--help")
    assert helped.returncode == 0
    for command in (
        "demo",
        "up",
        "down",
        "doctor",
        "leaderboard",
        "registry",
        "fillback",
        "replay",
        "placebo",
        "prices",
        "db",
    ):
        assert command in helped.stdout
    assert "Exit status" in helped.stdout


def test_help_imports_neither_torch_nor_dagster_nor_psycopg() -> None:
    program = (
        "import sys, ldtm_cli.main; print({'torch', 'dagster', 'psycopg', 'pydantic', 'polars'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "set()", done.stderr


def test_a_missing_configuration_is_status_2_with_the_remedy(shell: Shell) -> None:
    failed = shell.run("--config", "nowhere.toml", "leaderboard")
    assert failed.returncode == 2
    assert "there is no configuration at" in failed.stderr
    assert "--config or LDTM_CONFIG" in failed.stderr


def test_a_server_that_does_not_answer_is_status_1_without_its_password(shell: Shell) -> None:
    failed = shell.run("leaderboard", LDTM_DATABASE_URL="postgresql://me:top-secret@127.0.0.1:1/prices")
    assert failed.returncode == 1
    assert "PostgreSQL at 127.0.0.1:1/prices does not answer" in failed.stderr
    assert "top-secret" not in failed.stdout + failed.stderr
    assert "Traceback" not in failed.stderr


def test_every_command_refuses_a_schema_from_before_the_first_release(shell: Shell, empty_database: Database) -> None:
    with empty_database.transaction() as conn:
        conn.execute("create schema ldtm")
        conn.execute((REPOSITORY / "tests/integration/database/before_first_release.sql").read_bytes())
    for words in (("db", "migrate"), ("up",), ("leaderboard",), ("registry", "list"), ("fillback",)):
        refused = shell.run(*words, LDTM_DATABASE_URL=empty_database.url)
        assert refused.returncode == 1, words
        assert "schema ldtm is from before the first release of LDTM and cannot be upgraded" in refused.stderr, words
        assert "Traceback" not in refused.stderr
    with empty_database.transaction() as conn:
        conn.execute("alter schema ldtm rename to ldtm_demo")
    refused = shell.run("demo", LDTM_DATABASE_URL=empty_database.url)
    assert refused.returncode == 1
    assert "schema ldtm_demo is from before the first release" in refused.stderr


def test_an_empty_database_is_told_apart_from_an_empty_ledger(shell: Shell, empty_database: Database) -> None:
    failed = shell.run("leaderboard", LDTM_DATABASE_URL=empty_database.url)
    assert failed.returncode == 2
    assert "lacks 18 migrations, 0001_sessions_and_prices.sql to " in failed.stderr
    assert "ldtm db migrate" in failed.stderr
    assert shell.run("db", "migrate", LDTM_DATABASE_URL=empty_database.url).returncode == 0
    empty = shell.run("leaderboard", LDTM_DATABASE_URL=empty_database.url)
    assert (empty.returncode, "No live forecast has been filled yet" in empty.stdout) == (0, True)


def test_prices_import_goes_on_past_a_file_it_cannot_read(shell: Shell) -> None:
    shell.write("AAPL")
    broken = shell.write("MSFT", cut=50)
    lines = broken.read_text().splitlines()
    lines[7] = lines[7].replace(lines[7].split(",")[1], "n/k", 1)
    broken.write_text("\n".join(lines))
    done = shell.run("prices", "import", "bars", "--basis", "raw", "--json")
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    (apple,) = report["tickers"]
    counts = {"num_new": 3270, "num_restated": 0, "num_unchanged": 0, "num_refused": 0, "num_notes": 1}
    assert apple == {"ticker": "AAPL", "first_session": "2000-03-01", "last_session": "2013-03-01", **counts}
    assert report["splits"] == ["AAPL: 2 for 1 on 2000-06-21", "AAPL: 2 for 1 on 2005-02-28"]
    assert "MSFT.csv" in report["failures"]["MSFT"]
    assert "8" in report["failures"]["MSFT"], "the line is named"


def test_a_second_import_writes_nothing(shell: Shell) -> None:
    shell.write("AAPL")
    first, second = (json.loads(shell.run("prices", "import", "bars", "--basis", "raw", "--json").stdout) for _ in "12")
    assert first["tickers"][0]["num_new"] == 3270
    assert second["tickers"][0]["num_new"] == 0
    assert second["tickers"][0]["num_unchanged"] == 3270
    assert second["num_without_file"] == 1


def test_a_wrong_basis_is_a_usage_error(shell: Shell) -> None:
    failed = shell.run("prices", "import", "bars", "--basis", "half")
    assert failed.returncode == 2


def test_a_folder_that_is_none_is_reported(shell: Shell) -> None:
    failed = shell.run("prices", "import", "elsewhere", "--basis", "raw")
    assert failed.returncode == 2
    assert "elsewhere" in failed.stderr


def test_doctor_says_what_is_fine_and_what_to_do(shell: Shell) -> None:
    findings = {finding["what"]: finding for finding in json.loads(shell.run("doctor", "--json").stdout)}
    assert findings["database"]["level"] == "ok"
    assert findings["database"]["found"].startswith("PostgreSQL ")
    assert findings["schema"]["level"] == "ok"
    assert findings["calendar"]["found"].startswith("XNYS of exchange-calendars 4.")
    assert "torch 2." in findings["packages"]["found"]


def test_doctor_fails_on_a_schema_that_lacks_steps(shell: Shell, empty_database: Database) -> None:
    sick = shell.run("doctor", "--json", LDTM_DATABASE_URL=empty_database.url)
    assert sick.returncode == 1
    findings = {finding["what"]: finding for finding in json.loads(sick.stdout)}
    assert (findings["schema"]["level"], findings["schema"]["remedy"]) == ("fail", "run `ldtm db migrate`")


def test_db_url_exports_what_dagster_needs(shell: Shell) -> None:
    assert shell.run("db", "url", "--show-password").stdout.strip() == shell.url
    assert shell.run("db", "url").stdout.strip() == masked_url(shell.url)
    exported = shell.run("db", "url", "--export").stdout
    for name in ("LDTM_CONFIG", "LDTM_DATABASE_URL", "LDTM_DAGSTER_URL", "DAGSTER_HOME", "DAGSTER_EVENT_BATCH_SIZE"):
        assert f"export {name}=" in exported
    compare("db-url-export", re.sub(r"(?m)=.*$", "=...", exported), width=None)
    assert "postgresql+psycopg2://" in exported
    assert "ldtm_dagster" in exported


def test_down_with_nothing_running_says_so(shell: Shell) -> None:
    stopped = shell.run("down")
    assert (stopped.returncode, stopped.stdout.strip()) == (0, "nothing was running")
    compare("down", stopped.stdout, width=None)


def test_migrations_and_rights_are_printed() -> None:
    names = ["0001_sessions_and_prices.sql", "0002_windows.sql"]
    compare_at_all_widths("db-migrate", lambda console: print_migrations(console, names))
    compare_at_all_widths("db-migrate-nothing", lambda console: print_migrations(console, []))
    statement = "grant connect on database prices to ldtm_owner; revoke connect on database prices from public"
    for name, closing, read_only in (("db-grant", statement, False), ("db-grant-read-only", None, True)):
        show = partial(print_grant, role="ldtm_user", schema="ldtm", statement=closing, read_only=read_only)
        compare_at_all_widths(name, show, unwrapped="  grant")


def test_lists_are_json_on_an_empty_ledger(shell: Shell) -> None:
    assert json.loads(shell.run("registry", "list", "--json").stdout) == []
    assert json.loads(shell.run("fillback", "--dry-run", "--json").stdout) == []
    assert json.loads(shell.run("fillback", "--restated", "--json").stdout) == []
    filled = json.loads(shell.run("fillback", "--json").stdout)
    assert (filled["per_ticker"], filled["voided"], filled["restated"]) == ([], [], [])
    assert json.loads(shell.run("leaderboard", "--json").stdout)["rows"] == []


def test_an_import_of_nothing_is_status_1(shell: Shell) -> None:
    shell.write("IBM", name="Big Blue.csv")
    nothing = shell.run("prices", "import", "bars", "--basis", "raw")
    assert nothing.returncode == 1
    assert "Big Blue.csv" in nothing.stdout
