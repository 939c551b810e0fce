"""`ldtm dashboard`, and the dashboard as a service: what they refuse, and with which message."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from psycopg import sql

from ldtm_cli.dashboard_process import dashboard_fault
from ldtm_cli.services import ServiceFailed
from ldtm_cli.serving import wait_for_reader
from ldtm_lib.database.connection import Connection, Database
from tests.integration.ldtm_cli.shell import run_ldtm
from tests.repository import REPOSITORY

ROLE = f"ldtm_shown_{os.getpid()}"
PORT = 8917
CONFIG = 'tickers = ["AAPL"]\n'


def test_a_server_without_a_reader_is_refused_with_the_way_to_make_one(tmp_path: Path, database: Database) -> None:
    (tmp_path / "universe.toml").write_text(CONFIG)
    done = run_ldtm(tmp_path, database.url, "dashboard", "--port", str(PORT))
    assert done.returncode == 2
    assert "LDTM_READER_URL is not set" in done.stderr
    assert "ldtm db grant --read-only ldtm_reader" in " ".join(done.stderr.split())
    done = run_ldtm(tmp_path, database.url, "dashboard", "--port", str(PORT), LDTM_READER_URL=database.url)
    assert done.returncode == 2
    assert "postgres, is a superuser; name one that only reads" in " ".join(done.stderr.split())


def test_a_granted_role_serves_the_pages_until_a_signal(tmp_path: Path, database: Database, conn: Connection) -> None:
    (tmp_path / "universe.toml").write_text(CONFIG)
    conn.execute(sql.SQL("create role {} login").format(sql.Identifier(ROLE)))
    conn.commit()
    try:
        granted = run_ldtm(tmp_path, database.url, "db", "grant", "--read-only", ROLE)
        assert f"{ROLE} may read schema ldtm; name this role in LDTM_READER_URL" in granted.stdout, granted.stderr
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("LDTM_", "DAGSTER_"))}
        reader = database.url.replace("//postgres@", f"//{ROLE}@")
        process = subprocess.Popen(
            [sys.executable, "-m", "ldtm_cli.main", "dashboard", "--port", str(PORT)],
            cwd=tmp_path,
            env={**ours, "PYTHONPATH": str(REPOSITORY), "LDTM_READER_URL": reader},
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while fault := dashboard_fault(PORT):
            assert process.poll() is None, fault
            assert time.monotonic() < deadline, fault
            time.sleep(0.2)
        taken = run_ldtm(tmp_path, database.url, "dashboard", "--port", str(PORT), LDTM_READER_URL=reader)
        assert f"port {PORT} of 127.0.0.1 is in use" in " ".join(taken.stderr.split())
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)
    finally:
        conn.execute(sql.SQL("drop owned by {}").format(sql.Identifier(ROLE)))
        conn.execute(sql.SQL("drop role {}").format(sql.Identifier(ROLE)))
        conn.commit()


def test_a_service_waits_for_its_database_and_for_the_schema(
    tmp_path: Path, empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "universe.toml"
    config.write_text(CONFIG)
    lines: list[str] = []
    monkeypatch.setenv("LDTM_READER_URL", empty_database.url)
    with pytest.raises(ServiceFailed, match="gave up after 0 s: the schema lacks"):
        wait_for_reader(config, 0, lines.append)
    monkeypatch.setenv("LDTM_READER_URL", "postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(ServiceFailed, match="does not answer"):
        wait_for_reader(config, 0, lines.append)
