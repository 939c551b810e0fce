"""`ldtm audit` and `ldtm db grant`: exit status, JSON, files, and messages with a remedy."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql
from rich.console import Console

from ldtm_cli.commands.audit import print_configurations, print_report
from ldtm_lib.audit.configurations import configurations
from ldtm_lib.audit.publications.configured import publications_of
from ldtm_lib.audit.verify import verify
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.identity import installation_id
from ldtm_lib.project import home_of
from ldtm_lib.registry.configurations import record_configuration
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import load_settings
from tests.integration.audit.verifier import verifier
from tests.integration.ldtm_cli.kept_outputs import compare, compare_at_all_widths, masked
from tests.integration.ldtm_cli.shell import run_ldtm
from tests.integration.ledger_rows import LedgerRows, enter_service
from tests.repository import REPOSITORY

RUN_DATE, NEXT_DAY = date(2013, 1, 2), date(2013, 1, 3)


HASHES = {
    r"\b[0-9a-f]{64}\b": "0123456789abcdef" * 4,
    r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b": "01234567-89ab-4cde-8f01-23456789abcd",
    r"\b[0-9a-f]{8}(?=\.\.\.)": "01234567",
    r"\b20[2-9]\d-\d\d-\d\d\b": "2026-11-30",
    r"(?<=\s)\d\d:\d\d(?=\s+UTC)": "12:34",
}
"""Masks of what depends on the time of a test and on the defaults of settings."""


class Shell:
    """A shell in the folder of an installation on a PostgreSQL server of its own."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder = folder
        self.url = database.url
        (folder / "universe.toml").write_text('tickers = ["AAPL", "MSFT"]\n')

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return run_ldtm(self.folder, self.url, *words, COLUMNS="200")

    def compare(self, name: str, show: Callable[[Console, Any], object], shown: Any, unwrapped: str = "") -> None:
        """Compare the print of a value with a kept output."""
        fixed = masked(shown, {re.escape(str(self.folder)): "/home/ldtm"})
        compare_at_all_widths(name, lambda console: show(console, fixed), masks=HASHES, unwrapped=unwrapped)

    def compare_verification(self, name: str, calendar: Calendar) -> None:
        settings = load_settings(self.folder / "universe.toml")
        places = publications_of(settings, home_of(settings))
        self.compare(
            name, print_report, verify(Database(url=self.url, schema="ldtm"), calendar, places), unwrapped="altered:"
        )


@pytest.fixture
def shell(tmp_path: Path, database: Database, conn: Connection, calendar: Calendar) -> Shell:
    shell = Shell(tmp_path, database)
    assert shell.run("db", "migrate").returncode == 0
    rows = LedgerRows(conn, calendar)
    rows.forecast("AAPL", RUN_DATE)
    rows.bar("AAPL", NEXT_DAY, 98)
    conn.commit()
    return shell


def test_seal_verify_prove_and_what_an_alteration_does_to_them(
    shell: Shell, conn: Connection, calendar: Calendar
) -> None:
    early = shell.run("audit", "prove", "AAPL", str(RUN_DATE))
    assert early.returncode == 1
    assert "the forecast of AAPL on 2013-01-02 by simulation 1 is not sealed yet" in early.stderr
    assert shell.run("fillback").returncode == 0
    sealed = shell.run("audit", "seal")
    assert sealed.returncode == 0, sealed.stderr
    assert "sealed 3 events as seal 0 of" in sealed.stdout
    again = shell.run("audit", "seal").stdout
    assert "nothing happened since seal 0 of" in again
    compare("audit-seal", sealed.stdout + again, width=None, masks=HASHES, folder=shell.folder)

    verified = shell.run("audit", "verify")
    assert verified.returncode == 0, verified.stderr
    assert "intact: everything is as it was recorded and as it was published" in verified.stdout
    shell.compare_verification("audit-verify", calendar)
    unwritten = shell.run("audit", "prove", "AAPL", str(RUN_DATE), "--out", "nowhere/x.json")
    assert unwritten.returncode == 1
    assert "nowhere/x.json cannot be written: No such file or directory" in unwritten.stderr
    proven = shell.run("audit", "prove", "AAPL", str(RUN_DATE))
    assert proven.stdout.startswith("AAPL_2013-01-02.proof.json: 2 events of simulation 1, ")
    assert verifier.check(json.loads((shell.folder / "AAPL_2013-01-02.proof.json").read_text()))
    shown = re.sub(r"[\d,]+ bytes", "5,432 bytes", proven.stdout).replace(str(REPOSITORY), "/opt/ldtm")
    compare("audit-prove", shown, width=None)

    LedgerRows(conn, calendar).forecast("AAPL", RUN_DATE, kind="late")
    conn.commit()
    assert shell.run("audit", "seal").returncode == 0
    assert ": 1 event, " in shell.run("audit", "prove", "AAPL", str(RUN_DATE)).stdout, "that of the daily run"
    named = shell.run("audit", "prove", "AAPL", str(RUN_DATE), "--simulation", "1")
    assert ": 2 events of simulation 1, " in named.stdout
    unknown = shell.run("audit", "prove", "AAPL", str(RUN_DATE), "--simulation", "2")
    assert unknown.returncode == 2
    assert "there is no simulation 2; simulations 1 to 1 are on record" in unknown.stderr

    (before,) = conn.execute("select next_monday_pred from snapshot where simulation_id = 1").fetchone() or (None,)
    conn.execute("alter table snapshot disable trigger all")
    conn.execute("update snapshot set next_monday_pred = 102.1 where simulation_id = 1")
    conn.execute("alter table snapshot enable trigger all")
    conn.commit()
    altered = shell.run("audit", "verify")
    assert altered.returncode == 1
    named = "the forecast of AAPL on 2013-01-02 by simulation 1 (event 1)"
    assert f"altered: {named} was altered after it was recorded" in altered.stdout
    shell.compare_verification("audit-verify-altered", calendar)
    open_alerts = "select subject, summary from alert where resolved_at is null"
    assert conn.execute(open_alerts).fetchall() == [
        (
            "the record",
            f"it differs from what was recorded or published (1 found): {named} was altered after it was recorded",
        )
    ], "the status shows it"
    conn.commit()
    report = json.loads(shell.run("audit", "verify", "--json").stdout)
    assert (report["intact"], [found["what"] for found in report["discrepancies"]]) == (False, ["altered"])
    refused = shell.run("audit", "prove", "AAPL", str(RUN_DATE), "--simulation", "1")
    assert refused.returncode == 1
    assert "differs from what was recorded; `ldtm audit verify` shows what was altered" in refused.stderr

    conn.execute("alter table snapshot disable trigger all")
    conn.execute("update snapshot set next_monday_pred = %s where simulation_id = 1", (before,))
    conn.execute("alter table snapshot enable trigger all")
    conn.commit()
    assert shell.run("audit", "verify").returncode == 0
    assert conn.execute(open_alerts).fetchall() == []


def test_changes_of_universe_and_settings_are_listed_and_a_file_without_a_ticker_in_service_is_refused(
    shell: Shell, conn: Connection, calendar: Calendar
) -> None:
    assert "no configuration is on record" in shell.run("audit", "configurations").stdout
    file = shell.folder / "universe.toml"
    record_configuration(conn, load_settings(file))
    enter_service(conn, "AAPL", RUN_DATE)
    conn.commit()
    whole = file.read_text()
    file.write_text(whole + "[gate]\nmin_folds = 3\n[retired]\nMSFT = 2013-01-02\n")
    record_configuration(conn, load_settings(file))
    conn.commit()
    listed = shell.run("audit", "configurations").stdout
    assert "2 tickers, settings " in listed
    assert "MSFT leaves the universe on 2013-01-02" in listed
    assert "gate.min_folds 2 -> 3" in listed
    shell.compare("audit-configurations", print_configurations, configurations(conn))
    assert [each["configuration_id"] for each in json.loads(shell.run("audit", "configurations", "--json").stdout)] == [
        1,
        2,
    ]
    assert shell.run("audit", "seal").returncode == 0
    verified = shell.run("audit", "verify").stdout
    assert f"{installation_id(conn)}" in verified
    assert "2 tickers, settings " in verified
    assert "MSFT left the universe on 2013-01-02, recorded at " in verified
    shell.compare_verification("audit-verify-universe", calendar)

    file.write_text('tickers = ["MSFT"]\n')
    up = shell.run("up")
    assert up.returncode == 2, up.stdout
    assert "lacks tickers that are in service: AAPL. Add them to `tickers` again" in " ".join(up.stderr.split())
    assert "lacks tickers that are in service: AAPL" in " ".join(shell.run("doctor").stdout.split())


def test_what_cannot_be_asked_for_is_reported(shell: Shell) -> None:
    for words, status, message in (
        (("audit", "prove", "AAPL", "2013-01-02", "--out", "nowhere/x.json"), 1, "is not sealed yet"),
        (("audit", "prove", "MSFT", "2013-01-02"), 1, "there is no forecast of MSFT on 2013-01-02 in the record"),
        (("audit", "prove", "MSFT", "yesterday"), 2, "yesterday"),
        (("db", "grant", "nobody_here"), 2, "PostgreSQL has no role nobody_here; create it first"),
        (("db", "grant", "--read-only", "nobody_here"), 2, "PostgreSQL has no role nobody_here; create it first"),
    ):
        done = shell.run(*words)
        assert (done.returncode, message in done.stderr) == (status, True), done.stderr
        assert "Traceback" not in done.stderr


def test_a_publication_that_cannot_be_read_or_written_is_reported(shell: Shell) -> None:
    (shell.folder / "universe.toml").write_text('tickers = ["AAPL"]\n[publish]\nfile = "universe.toml/seals.jsonl"\n')
    sealed = shell.run("audit", "seal")
    assert sealed.returncode == 1
    assert "not published: " in sealed.stdout
    verified = shell.run("audit", "verify")
    assert "Traceback" not in verified.stderr + verified.stdout
    assert verified.returncode == 1


def test_a_granted_role_runs_the_commands(shell: Shell, conn: Connection) -> None:
    role = f"ldtm_cli_{os.getpid()}"
    conn.execute(sql.SQL("create role {} login").format(sql.Identifier(role)))
    conn.commit()
    try:
        granted = shell.run("db", "grant", role)
        assert granted.returncode == 0, granted.stderr
        owner, shell.url = shell.url, shell.url.replace("//postgres@", f"//{role}@")
        assert shell.url != owner
        for words in (("fillback",), ("leaderboard",), ("audit", "seal"), ("audit", "verify"), ("doctor",)):
            done = shell.run(*words)
            assert "permission denied" not in done.stdout + done.stderr, (words, done.stdout, done.stderr)
        assert f"{role} can add to the record but not change it" in done.stdout
        assert shell.run("audit", "verify").returncode == 0
    finally:
        conn.execute(sql.SQL("drop owned by {}").format(sql.Identifier(role)))
        conn.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))
        conn.commit()
