"""Interrupts of a command by its process: the message, the exit status, and the run that it leaves in Dagster."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from ldtm_lib.database.connection import Connection, Database
from tests.integration.dagster_storage import copied_template as copied_template
from tests.integration.dagster_storage import dagster_instance
from tests.integration.ledger_rows import enter_service
from tests.repository import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

CONFIG = """
tickers = ["AAPL", "MSFT"]
[source]
kind = "sample"
[partitions]
first_session = 2013-01-02
last_session = 2013-03-01
"""
HANDLE_SIGINT = "import signal, runpy; signal.signal(signal.SIGINT, signal.default_int_handler); "
"""A shell without job control lets the processes of its background ignore SIGINT."""
LDTM = HANDLE_SIGINT + "runpy.run_module('ldtm_cli.main', run_name='__main__')"

BLOCKED = "select from pg_locks where relation = 'bar'::regclass and not granted"


@pytest.fixture
def config(tmp_path: Path, conn: Connection) -> Path:
    """The configuration of an installation whose tickers are in service."""
    for ticker in ("AAPL", "MSFT"):
        enter_service(conn, ticker, date(2013, 1, 2))
    conn.commit()
    path = tmp_path / "universe.toml"
    path.write_text(CONFIG)
    return path


def _start(config: Path, database: Database, *words: str) -> "subprocess.Popen[str]":
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("LDTM_", "DAGSTER_"))}
    environment = {**ours, "PYTHONPATH": str(REPOSITORY), "LDTM_DATABASE_URL": database.url, "COLUMNS": "200"}
    return subprocess.Popen(
        [sys.executable, "-c", LDTM, *words],
        cwd=config.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _wait(what: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_daily_run_is_cancelled_in_dagster_and_says_how_to_go_on(
    config: Path, database: Database, number: signal.Signals, status: int
) -> None:
    with database.connect() as holding:
        holding.execute("lock table bar in share row exclusive mode")
        command = _start(config, database, "run", "2013-02-01", "--late")
        _wait(lambda: holding.execute(BLOCKED).rowcount > 0)
        command.send_signal(number)
        out, err = command.communicate(timeout=90)
    assert command.returncode == status, out + err
    assert "`ldtm run` was interrupted. Recorded bars and rows are kept. Run the command again" in err
    assert "Traceback" not in out + err
    with dagster_instance(database, config.parent) as instance:
        (run,) = instance.get_runs()
    assert run.status == dg.DagsterRunStatus.CANCELED


def test_a_second_interrupt_ends_the_process_at_once(config: Path, database: Database) -> None:
    with database.connect() as holding:
        holding.execute("lock table bar in share row exclusive mode")
        command = _start(config, database, "run", "2013-02-01", "--late")
        _wait(lambda: holding.execute(BLOCKED).rowcount > 0)
        command.send_signal(signal.SIGSTOP)
        for number in (signal.SIGINT, signal.SIGTERM):
            command.send_signal(number)
        command.send_signal(signal.SIGCONT)
        started = time.monotonic()
        assert command.wait(timeout=30) in (130, 143)
        assert time.monotonic() - started < 10
        command.communicate()


def test_a_command_that_follows_a_log_ends_with_one_line(config: Path, database: Database) -> None:
    log = config.parent / ".ldtm/ldtm/logs/dagster.log"
    log.parent.mkdir(parents=True)
    log.write_text("first\nsecond\n")
    command = _start(config, database, "logs", "--follow", "--lines", "1")
    assert command.stdout is not None
    assert command.stdout.readline() == "second\n"
    with log.open("a") as more:
        more.write("third\n")
    assert command.stdout.readline() == "third\n"
    log.write_text("new\n")
    assert command.stdout.readline() == "new\n"
    command.send_signal(signal.SIGINT)
    _, err = command.communicate(timeout=30)
    assert (command.returncode, err.strip()) == (
        130,
        "`ldtm logs` was interrupted. The command changes nothing and can be run again at any time.",
    )
