"""Secrets of the environment appear nowhere: not in a table, a log, a message, or on a command line.

A real installation by a role whose password is asked for, with a source that refuses the login, a channel that cannot
be reached, and a password that stops being right while all of it runs.
"""

import os
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from ldtm_lib.database import embedded
from ldtm_lib.project import DATABASE_VARIABLE
from tests.databases import server_home
from tests.integration.prices.ib.peer import TwsPeer
from tests.integration.prices.ib.standalone import random_walks
from tests.repository import REPOSITORY

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(600)]

PASSWORD, WRONG_PASSWORD, LATER_PASSWORD = "pgRIGHTmark", "pgWRONGmark", "pgLATERmark"
ACCOUNT, MANAGED = "DUMARK4711", "DUOTHER0815"
"""The account that is asked for, and the one that the login has."""
URL_USER, URL_PASSWORD, URL_TOKEN, URL_QUERY = "urlUSERmark", "urlPASSmark", "urlPATHmark", "urlARGmark"
SECRETS = (PASSWORD, WRONG_PASSWORD, LATER_PASSWORD, ACCOUNT, MANAGED, URL_USER, URL_PASSWORD, URL_TOKEN, URL_QUERY)
ROLE, DATABASE = "ldtm_owner", "ldtm_secrets"
FAILED_RUNS = "select count(*) from ldtm_dagster.runs where status = 'FAILURE'"
NOT_DELIVERED = "select count(*) from ldtm.notification_delivery where last_error is not null"
NAMED_ACCOUNT = "select count(*) from ldtm_dagster.event_logs where event like '%LDTM_IB_ACCOUNT%'"
CONFIG = """
tickers = ["AAPL", "MSFT"]
[source]
kind = "ib"
[ib]
num_attempts = 1
[automation]
enabled = true
first_retry_minutes = 0.05
max_retry_minutes = 0.1
report_after_attempts = 1
[alerts]
hold_minutes = 0
"""


@dataclass(slots=True)
class Guarded:
    """An installation with secrets, and all that was seen of it."""

    folder: Path
    admin_url: str
    server: str
    environment: dict[str, str]
    seen: dict[str, str] = field(default_factory=dict[str, str])

    def ldtm(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command and keep what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "ldtm_cli.main", *words],
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=200,
        )
        self.seen[f"ldtm {' '.join(words)}, {len(self.seen)}"] = done.stdout + done.stderr
        return done

    def url(self, password: str) -> str:
        """The database as the role reaches it; the quoted character is no part of what is looked for."""
        return f"postgresql://{ROLE}:%21{password}@/{DATABASE}?host={self.server}"

    def set_password(self, password: str) -> None:
        with psycopg.connect(self.admin_url, autocommit=True) as admin:
            admin.execute(
                sql.SQL("alter role {} password {}").format(sql.Identifier(ROLE), sql.Literal(f"!{password}"))
            )
            admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = %s", (ROLE,))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.admin_url, dbname=DATABASE) as conn:
            return conn.execute(query.encode()).fetchall()

    def log(self) -> str:
        return (self.folder / ".ldtm" / "ldtm" / "logs" / "dagster.log").read_text()

    def see_command_lines(self) -> None:
        """Keep the command lines of the installation's processes, which every user of a machine can read."""
        for process in Path("/proc").glob("[0-9]*"):
            try:
                environ, line = (process / "environ").read_bytes(), (process / "cmdline").read_bytes()
            except OSError:
                continue
            if f"LDTM_CONFIG={self.folder}".encode() in environ:
                self.seen[f"command line of process {process.name}"] = line.replace(b"\0", b" ").decode()


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    with (
        server_home() as home,
        TwsPeer(random_walks(("AAPL", "MSFT")), accounts=MANAGED) as peer,
        socket.socket() as closed,
    ):
        closed.bind(("127.0.0.1", 0))
        admin_url = embedded.start(home)
        server = str(psycopg.conninfo.conninfo_to_dict(admin_url)["host"])
        folder = home / "installation"
        (folder / "home").mkdir(parents=True)
        (folder / "universe.toml").write_text(CONFIG)
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("LDTM_", "DAGSTER_"))}
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        own = Guarded(folder=folder, admin_url=admin_url, server=server, environment=ours)
        own.environment |= {
            "PYTHONPATH": str(REPOSITORY),
            "HOME": str(folder / "home"),
            "LDTM_CONFIG": str(folder / "universe.toml"),
            DATABASE_VARIABLE: own.url(PASSWORD),
            "LDTM_IB_HOST": "127.0.0.1",
            "LDTM_IB_PORT": str(peer.port),
            "LDTM_IB_ACCOUNT": ACCOUNT,
            "LDTM_ALERT_URLS": f"json://{URL_USER}:{URL_PASSWORD}@{address}/{URL_TOKEN}?+X-Key={URL_QUERY}",
        }
        _ask_for_passwords(home / embedded.FOLDER, admin_url)
        own.set_password(PASSWORD)
        yield own
        own.ldtm("down")


def _ask_for_passwords(data: Path, admin_url: str) -> None:
    """Make a role whose password the server asks for, with a database of its own."""
    rules = data / "pg_hba.conf"
    rules.write_text(f"local all {ROLE} scram-sha-256\n{rules.read_text()}")
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(sql.SQL("create role {} login").format(sql.Identifier(ROLE)))
        admin.execute(sql.SQL("create database {} owner {}").format(sql.Identifier(DATABASE), sql.Identifier(ROLE)))
        admin.execute("select pg_reload_conf()")


def test_no_secret_is_in_a_table_a_log_a_message_or_on_a_command_line(guarded: Guarded) -> None:
    refused = guarded.ldtm("doctor", **{DATABASE_VARIABLE: guarded.url(WRONG_PASSWORD)})
    assert "password authentication failed" in " ".join(refused.stdout.split())
    for words in (("status",), ("up",), ("retention",), ("db", "migrate")):
        assert guarded.ldtm(*words, **{DATABASE_VARIABLE: guarded.url(WRONG_PASSWORD)}).returncode != 0
    assert guarded.ldtm("doctor", **{DATABASE_VARIABLE: f"host=x password={WRONG_PASSWORD}"}).returncode != 0
    for unquoted in ("/", "@"):
        address = f"postgresql://u:p{unquoted}{WRONG_PASSWORD}@127.0.0.1:1/db"
        assert guarded.ldtm("up", **{DATABASE_VARIABLE: address}).returncode == 2
    assert guarded.ldtm("doctor", LDTM_ALERT_URLS=f"nonsense-{URL_TOKEN} jsons://{URL_TOKEN}@").returncode != 0

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    up = guarded.ldtm("up", "--port", port)
    assert up.returncode == 0, up.stderr
    _wait(guarded, "a failed run", lambda: guarded.rows(FAILED_RUNS) != [(0,)])
    _wait(guarded, "a message that was not delivered", lambda: guarded.rows(NOT_DELIVERED) != [(0,)])
    guarded.see_command_lines()
    assert guarded.rows(NAMED_ACCOUNT) != [(0,)]
    for words in (("doctor",), ("status",), ("status", "--json"), ("alerts", "test"), ("retention", "--dry-run")):
        guarded.ldtm(*words)

    guarded.set_password(LATER_PASSWORD)
    _wait(guarded, "a refused password in the log", lambda: "password authentication failed" in guarded.log())
    time.sleep(5)
    guarded.set_password(PASSWORD)
    guarded.ldtm("down")

    assert len([name for name in guarded.seen if name.startswith("command line")]) >= 4
    places = list(_everything(guarded))
    for shown in (DATABASE, "LDTM_IB_ACCOUNT", "without the account that", "json://127.0.0.1", "authentication failed"):
        assert any(shown in text for _, text in places), f"{shown} is no secret, and this search does not find it"
    assert [f"{secret} in {place}" for place, text in places for secret in SECRETS if secret in text] == []


def _wait(guarded: Guarded, what: str, has_come: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 150
    while True:
        try:
            if has_come():
                return
        except psycopg.errors.UndefinedTable:
            pass
        guarded.see_command_lines()
        assert time.monotonic() < deadline, f"{what} did not come; the log ends with\n{guarded.log()[-3000:]}"
        time.sleep(1)


def _everything(guarded: Guarded) -> Iterator[tuple[str, str]]:
    """Every place a secret could have come to, by name, with its text."""
    yield from guarded.seen.items()
    tables = guarded.rows("select schemaname, tablename from pg_tables where schemaname in ('ldtm', 'ldtm_dagster')")
    assert len(tables) > 40
    for schema, table in tables:
        for row in guarded.rows(f"select * from {schema}.{table}"):
            yield f"table {schema}.{table}", " ".join(_text(value) for value in row)
    files = [path for path in guarded.folder.rglob("*") if path.is_file()]
    assert guarded.folder / ".ldtm" / "ldtm" / "logs" / "dagster.log" in files
    for path in files:
        yield f"file {path}", path.read_bytes().decode("utf-8", "replace")


def _text(value: object) -> str:
    """A value of a column; Dagster keeps some of them compressed."""
    if not isinstance(value, bytes):
        return str(value)
    with suppress(zlib.error):
        value = zlib.decompress(value)
    return value.decode("utf-8", "replace")
