"""`ldtm retention`: what it takes away, what it says, and its exit status."""

import json
from pathlib import Path

import pytest

from ldtm_assets.jobs import RETENTION_ASSETS
from ldtm_cli.commands.retention import print_report
from ldtm_lib.database.connection import Database
from ldtm_lib.maintenance.retention import purge_expired
from ldtm_lib.project import open_project
from tests.integration.ldtm_cli.kept_outputs import compare_at_all_widths
from tests.integration.ldtm_cli.shell import run_ldtm

CONFIG = 'tickers = ["AAPL"]\n[source]\nkind = "sample"\n[retention]\nquarantine_days = 7\n'
OLD = """
insert into quarantined_bar (ticker, session, reason, bar, source, resolved_at)
values ('AAPL', '2020-01-02', 'wrong', '{}', 'test', now() - interval '8 days')
"""


@pytest.fixture
def folder(tmp_path: Path, database: Database) -> Path:
    (tmp_path / "universe.toml").write_text(CONFIG)
    with database.transaction() as conn:
        conn.execute(OLD.encode())
    return tmp_path


def _num_refused(database: Database) -> int:
    with database.transaction() as conn:
        (number,) = conn.execute("select count(*) from quarantined_bar").fetchone() or (None,)
    return number or 0


def test_a_dry_run_reports_what_the_command_then_purges(folder: Path, database: Database) -> None:
    said = run_ldtm(folder, database.url, "retention", "--dry-run")
    assert (said.returncode, said.stderr) == (0, "")
    words = " ".join(said.stdout.split())
    assert "would be purged" in words
    assert "refused bars 1 " in words
    assert "Nothing was changed." in words
    project = open_project(folder / "universe.toml", {"LDTM_DATABASE_URL": database.url})
    would = purge_expired(project, RETENTION_ASSETS, dry_run=True)
    compare_at_all_widths("retention-dry-run", lambda console: print_report(console, would, dry_run=True))
    assert _num_refused(database) == 1

    done = run_ldtm(folder, database.url, "retention", "--json")
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert {purged["kind"]: purged["num"] for purged in report["purged"]}["refused bars"] == 1
    assert report["failures"] == []
    assert _num_refused(database) == 0


def test_a_kind_that_cannot_be_purged_is_reported_with_exit_status_1(folder: Path, database: Database) -> None:
    with database.transaction() as conn:
        conn.execute("alter table notification rename to elsewhere")
    done = run_ldtm(folder, database.url, "retention")
    assert done.returncode == 1
    assert "not purged: operational tables" in " ".join(done.stdout.split())
    project = open_project(folder / "universe.toml", {"LDTM_DATABASE_URL": database.url})
    report = purge_expired(project, RETENTION_ASSETS)
    compare_at_all_widths(
        "retention", lambda console: print_report(console, report, dry_run=False), unwrapped="not purged:"
    )
