"""`ldtm registry` as an owner types it: what it does, what it says, and with which exit status."""

import getpass
import json
import subprocess
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

import pytest
import torch

from ldtm_cli.commands.registry import print_registry, print_removed, print_versions, registry_rows, versions_of
from ldtm_lib.database.connection import Database
from ldtm_lib.models import checkpoint
from ldtm_lib.models.lstm import initial_state
from ldtm_lib.project import Project, open_project
from ldtm_lib.registry.retention import prune
from ldtm_lib.settings import ArchitectureConfig
from tests.integration.gate_fixtures import pass_the_gate
from tests.integration.ldtm_cli.kept_outputs import MOMENT, compare, compare_at_all_widths
from tests.integration.ldtm_cli.shell import run_ldtm

DAYS = (date(2012, 12, 3), date(2012, 12, 4), date(2012, 12, 5))
CONFIG = """
tickers = ["AAPL", "MSFT"]
[source]
kind = "sample"
[architecture]
hidden = 6
head_hidden = 4
[registry]
kept_retired_files = 1
kept_candidate_files = 1
"""


class Owner:
    """Somebody at a shell, with three versions of AAPL: the newest is active."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder = folder
        self.database = database
        self.checkpoints = folder / ".ldtm" / "ldtm" / "checkpoints"
        (folder / "universe.toml").write_text(CONFIG)
        architecture = ArchitectureConfig(hidden=6, head_hidden=4)
        with database.transaction() as conn:
            for number, day in enumerate(DAYS):
                name = f"AAPL_ldtm_v1.{day}.pt"
                state = initial_state(architecture, torch.Generator().manual_seed(number))
                sha256 = checkpoint.write(state, self.checkpoints / name, architecture=architecture)
                conn.execute("update checkpoint set status = 'retired' where status = 'active'")
                conn.execute(
                    "insert into checkpoint (ticker, status, trained_on, architecture_sha256, recipe_sha256,"
                    " data_sha256, file_name, file_sha256, seed, num_training_rows, num_validation_rows, num_epochs,"
                    " best_epoch, validation_loss, duration_seconds, device, major, version)"
                    " values ('AAPL', 'active', %s, 'a', 'r', 'd', %s, %s, 0, 1, 1, 1, 1, 1, 1, 'cpu', 1, %s)",
                    (day, name, sha256, f"v1.{day}"),
                )
            pass_the_gate(conn)

    def types(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return run_ldtm(self.folder, self.database.url, "registry", *words, COLUMNS="160", **environment)

    @property
    def project(self) -> Project:
        return open_project(self.folder / "universe.toml", {"LDTM_DATABASE_URL": self.database.url})

    def active(self) -> list[tuple[object, ...]]:
        with self.database.connect() as conn:
            return conn.execute("select version from checkpoint where status = 'active'").fetchall()


@pytest.fixture
def owner(tmp_path: Path, database: Database) -> Owner:
    return Owner(tmp_path, database)


def test_an_earlier_version_comes_back_and_the_history_says_by_whom_and_why(owner: Owner) -> None:
    done = owner.types("rollback", "AAPL", "--to", "v1.2012-12-03", "--why", "42% right [since May]", "--by", "ada")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "AAPL v1.2012-12-03.2 is active, with the network of v1.2012-12-03; v1.2012-12-05 is retired\n"
    )
    compare("registry-rollback", done.stdout, width=None)
    assert owner.active() == [("v1.2012-12-03.2",)]
    versions = versions_of(owner.project, "AAPL")
    compare_at_all_widths(
        "registry-history-rollback", lambda console: print_versions(console, "AAPL", versions), masks=MOMENT
    )
    shown = owner.types("history", "AAPL")
    assert shown.returncode == 0
    assert "v1.2012-12-03 restored by ada: 42% right [since May]" in shown.stdout
    assert "rolled back to v1.2012-12-03.2" in shown.stdout
    newest, *_, oldest = json.loads(owner.types("history", "AAPL", "--json").stdout)
    assert (newest["version"], newest["restored_by"], newest["restored_why"], newest["num_forecasts"]) == (
        "v1.2012-12-03.2",
        "ada",
        "42% right [since May]",
        0,
    )
    assert (oldest["version"], oldest["next_version"]) == ("v1.2012-12-03", "v1.2012-12-04")


def test_retiring_goes_on_record_with_the_systems_user(owner: Owner) -> None:
    done = owner.types("retire", "AAPL", "--why", "earnings tomorrow")
    assert done.returncode == 0
    assert done.stdout == "AAPL v1.2012-12-05 retired; the ticker abstains until another network passes the gate\n"
    compare("registry-retire", done.stdout, width=None)
    assert owner.active() == []
    assert f"retired by {getpass.getuser()}: earnings tomorrow" in owner.types("history", "AAPL").stdout
    again = owner.types("retire", "AAPL", "--why", "once more")
    assert again.returncode == 1
    assert "AAPL has no active version to retire: v1.2012-12-05, its last one, retired before" in again.stderr


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (
            ("rollback", "AAPL", "--to", "v7", "--why", "x"),
            1,
            "AAPL has no version v7; choose one of v1.2012-12-04, v1",
        ),
        (("rollback", "MSFT", "--why", "x"), 1, "the registry has no version of MSFT"),
        (
            ("rollback", "AAPL", "--why", "  "),
            2,
            "--why is '  ': a lifecycle action is recorded with who requested it and why",
        ),
        (("rollback", "AAPL"), 2, "--why"),
        (("retire", "AAPL", "--why", "x", "--by", ""), 2, "--by is ''"),
        (("history", "ZZZ"), 1, "ZZZ is neither in the registry nor in the universe of universe.toml"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(
    owner: Owner, words: tuple[str, ...], status: int, said: str
) -> None:
    failed = owner.types(*words)
    assert failed.returncode == status
    assert said in failed.stderr
    assert "Traceback" not in failed.stderr
    assert owner.active() == [("v1.2012-12-05",)]


def test_a_ticker_without_any_version_has_a_history_that_says_so(owner: Owner) -> None:
    shown = owner.types("history", "MSFT")
    assert (shown.returncode, "No network of MSFT was promoted yet" in shown.stdout) == (0, True)


def test_a_dry_prune_lists_what_a_prune_removes(owner: Owner) -> None:
    oldest = owner.checkpoints / "AAPL_ldtm_v1.2012-12-03.pt"
    size = oldest.stat().st_size
    dry = owner.types("prune", "--dry-run", "--json")
    assert (dry.returncode, oldest.exists()) == (0, True)
    assert json.loads(dry.stdout) == [
        {
            "ticker": "AAPL",
            "file_name": oldest.name,
            "num_bytes": size,
            "version": "v1.2012-12-03",
            "trained_on": "2012-12-03",
            "was": "retired",
        }
    ]
    config = owner.project.settings.registry
    files = [
        replace(file, num_bytes=3 * 2**20)
        for file in prune(owner.database, owner.checkpoints, config=config, dry_run=True)
    ]
    for name, dry_run in (("registry-prune-dry-run", True), ("registry-prune", False)):
        compare_at_all_widths(name, partial(print_removed, files=files, dry_run=dry_run))
    shown = owner.types("prune", "--dry-run")
    assert "Would remove 1 file" in shown.stdout
    done = owner.types("prune")
    assert (done.returncode, oldest.exists()) == (0, False)
    assert "Removed 1 file" in done.stdout
    assert "checkpoint removed on 20" in owner.types("history", "AAPL").stdout
    assert "nothing to remove" in owner.types("prune").stdout


def test_show_says_in_plain_words_what_the_gate_saw(owner: Owner) -> None:
    unknown = owner.types("show", "MSFT")
    assert unknown.returncode == 1
    assert "MSFT was never judged by the gate; run `ldtm train MSFT`" in unknown.stderr
    rule = {"rule": "direction_accuracy", "figure": 0.55, "bound": 0.52, "passed": True, "reason": "55% >= 52%"}
    with owner.database.transaction() as conn:
        conn.execute(
            "insert into gate_verdict (ticker, trained_on, checkpoint_id, passed, rules)"
            " select ticker, trained_on, checkpoint_id, true, %s from checkpoint where status = 'active'",
            (json.dumps([rule]),),
        )
    shown = owner.types("show", "AAPL")
    assert shown.returncode == 0
    assert "AAPL v1.2012-12-05, active" in shown.stdout
    assert "AAPL was promoted as v1.2012-12-05: it passed the only rule of the gate." in shown.stdout
    assert "No evidence other than the rules is on record." in shown.stdout
    (card,) = json.loads(owner.types("show", "AAPL", "--json").stdout)
    assert (card["version"], card["passed"], card["rules"], card["evidence"]) == ("v1.2012-12-05", True, [rule], None)


def test_a_retired_ticker_is_shown_as_such_and_comes_back_only_by_name(owner: Owner) -> None:
    owner.types("retire", "AAPL", "--why", "42 of 100 [right]", "--by", "ada")
    rows = registry_rows(owner.project)
    masks = {r"\b20[2-9]\d-\d\d-\d\d\b": "2026-11-30"}
    compare_at_all_widths("registry-list-retired", lambda console: print_registry(console, rows), masks=masks)
    listed = json.loads(owner.types("list", "--json").stdout)[0]
    assert (listed["active_version"], listed["out_of_service"].split(" on ")[0]) == (
        None,
        "AAPL v1.2012-12-05 was retired",
    )
    assert listed["out_of_service"].endswith(" by ada: 42 of 100 [right]")
    shown = owner.types("show", "AAPL").stdout
    assert "AAPL v1.2012-12-05, retired, judged" in shown
    assert " by ada: 42 of 100 [right]." in shown
    unnamed = owner.types("rollback", "AAPL", "--why", "x")
    assert unnamed.returncode == 1
    assert (
        "AAPL has no active version to roll back; name the version to restore with --to: choose one of "
        "v1.2012-12-05, v1.2012-12-04, v1.2012-12-03" in unnamed.stderr
    )
