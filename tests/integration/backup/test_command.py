"""`ldtm backup` and `ldtm restore` as a shell runs them: output, exit status, and what they refuse."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from ldtm_cli.commands.backup import print_backup, print_restore
from ldtm_lib.backup.create import BackupReport
from ldtm_lib.backup.loss import Loss, LostSeal
from ldtm_lib.backup.manifest import Manifest, SealName
from ldtm_lib.backup.restore import RestoreReport
from ldtm_lib.database import connection
from ldtm_lib.database.connection import Database
from ldtm_lib.database.identity import EMBEDDED, known_database, remember_database
from ldtm_lib.errors import BackupFailed, FileNotRemoved
from ldtm_lib.registry.retention import prune
from ldtm_lib.settings import RegistryConfig
from tests.databases import server_home
from tests.integration.backup.installation import LATER, NOW, Installation
from tests.integration.ldtm_cli.kept_outputs import compare_at_all_widths
from tests.integration.ldtm_cli.shell import run_ldtm


@pytest.fixture(scope="session")
def copied_template(template_with_dagster: str) -> str:
    return template_with_dagster


def ldtm(installation: Installation, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a terminal of 80 columns; lines of its tables lose the spaces at their end."""
    ended = run_ldtm(installation.folder, installation.database.url, *words, COLUMNS="80")
    ended.stdout = re.sub(r" +$", "", ended.stdout, flags=re.MULTILINE)
    return ended


def test_results_of_a_backup_and_a_restore_are_printed() -> None:
    newest = SealName(seal_id=251, session=date(2026, 11, 27), sha256="")
    manifest = Manifest(
        ldtm_version="0.1.0",
        created_at=NOW,
        installation_id="01234567-89ab-4cde-8f01-23456789abcd",
        config="universe.toml",
        schema_name="ldtm",
        dagster_schema="ldtm_dagster",
        has_dagster=True,
        postgresql_version="16.2",
        pg_dump_version="16.2",
        migrations={},
        num_events=104_281,
        num_forecasts=25_750,
        num_bars=309_000,
        seals=(newest,) * 252,
        newest_seal=newest,
        missing_checkpoints=(),
        members=(),
    )
    saved = BackupReport(
        path=Path("/backup/ldtm-2026-11-30.tar"), num_bytes=312 * 2**20, num_dump_bytes=290 * 2**20, manifest=manifest
    )
    compare_at_all_widths("backup", lambda console: print_backup(console, saved, 12.34))
    restored = RestoreReport(
        manifest=manifest,
        loss=Loss(),
        replaced=False,
        num_checkpoints=515,
        num_added_checkpoints=515,
        set_aside=(),
        kept_schemas=(),
        writers=("ldtm_writer",),
        pending_migrations=(),
        wrote_config=True,
        config_differs=False,
    )
    config = Path("/home/ldtm/universe.toml")
    compare_at_all_widths("restore", lambda console: print_restore(console, restored, config, 23.45))
    lossy = replace(
        restored,
        loss=Loss(
            seals=(LostSeal(seal_id=252, date="2026-11-30"),),
            places=("file /home/ldtm/.ldtm/ldtm/seals.jsonl",),
            num_events=103,
            num_forecasts=103,
        ),
        set_aside=(Path("/home/ldtm/.ldtm/ldtm/seals.jsonl.before-restore-2026-11-30T10-15-00"),),
        kept_schemas=("ldtm_before_restore_20261130_101500",),
        pending_migrations=("0018_intervals.sql",),
        wrote_config=False,
        config_differs=True,
    )
    unwrapped = "lost|kept aside"
    compare_at_all_widths(
        "restore-lossy", lambda console: print_restore(console, lossy, config, 23.45), unwrapped=unwrapped
    )


@pytest.mark.slow
def test_an_installation_moves_with_three_commands_and_doctor_verify_and_replay_are_satisfied(
    installation: Installation, empty_database: Database, tmp_path: Path
) -> None:
    saved = ldtm(installation, "backup", "../backup.tar")
    assert saved.returncode == 0, saved.stderr
    assert re.search(r"^forecasts +1, with \d+ events of the chain$", saved.stdout, re.MULTILINE)
    assert re.search(r"^seals +1, the newest is 0 of 20\d\d-\d\d-\d\d$", saved.stdout, re.MULTILINE)
    assert re.search(r"^checkpoint files +1$", saved.stdout, re.MULTILINE)
    assert re.search(r"^Dagster +schema ldtm_dagster$", saved.stdout, re.MULTILINE)
    assert re.search(r"^saved in \.\./backup\.tar: \d+\.\d MiB, \d+\.\d s$", saved.stdout, re.MULTILINE)
    assert all(len(line) <= 80 for line in saved.stdout.splitlines())

    again = ldtm(installation, "backup", "../backup.tar")
    assert (again.returncode, again.stdout) == (1, "")
    assert "error: ../backup.tar exists and is not overwritten; name another archive" in again.stderr

    other = installation.elsewhere(tmp_path / "second", empty_database)
    restored = ldtm(other, "restore", "../backup.tar")
    assert restored.returncode == 0, restored.stderr
    assert "checkpoint files  1, 1 added\n" in restored.stdout
    assert "configuration     universe.toml, from the archive\n" in restored.stdout
    assert restored.stdout.endswith("next steps:\n  ldtm audit verify\n  ldtm up\n")
    verified = ldtm(other, "audit", "verify")
    assert verified.returncode == 0, verified.stdout
    assert "intact: everything is as it was recorded and as it was published" in verified.stdout
    assert ldtm(other, "replay", "AAPL", "2013-01-11").returncode == 0
    doctor = ldtm(other, "doctor").stdout
    assert "schema" in doctor
    assert "lacks" not in doctor
    sealed = ldtm(other, "audit", "seal")
    assert sealed.returncode == 0, sealed.stderr

    installation.daily_run(LATER[0])
    refused = ldtm(installation, "restore", "../backup.tar")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "--accept-loss restores this one and keeps the published seals aside. Nothing was changed" in refused.stderr
    accepted = ldtm(installation, "restore", "../backup.tar", "--accept-loss")
    assert accepted.returncode == 0, accepted.stderr
    assert "lost: seal 1 of " in accepted.stdout
    assert "kept aside: schema ldtm_before_restore_" in accepted.stdout
    assert "kept aside: schema ldtm_dagster_before_restore_" in accepted.stdout
    assert "seals.jsonl.before-restore-" in accepted.stdout
    verified = ldtm(installation, "audit", "verify")
    assert "holds 1 published seal from seal 1" in " ".join(verified.stdout.split())


def test_a_daemon_elsewhere_that_uses_the_storage_is_refused(installation: Installation, tmp_path: Path) -> None:
    installation.backup(tmp_path / "backup.tar")
    with installation.database.with_schema("ldtm_dagster").connect() as conn:
        conn.execute(
            "insert into daemon_heartbeats (daemon_type, daemon_id, timestamp, body) values ('SENSOR', 'x', now(), %s)",
            (f'{{"timestamp": {time.time()}}}',),
        )
        conn.commit()
    refused = ldtm(installation, "restore", "../backup.tar")
    assert refused.returncode == 1
    assert "Dagster's daemon on the storage in schema ldtm_dagster at " in refused.stderr
    assert "sent a heartbeat within the last minute; stop it with `ldtm down`" in refused.stderr


def test_dagster_of_the_configuration_is_refused_while_it_runs(installation: Installation, tmp_path: Path) -> None:
    installation.backup(tmp_path / "backup.tar")
    with subprocess.Popen(["sleep", "60"], executable="/bin/sleep") as process:
        (installation.project.home / "dagster.pid").write_text(f"{process.pid} 3000 127.0.0.1\n")
        try:
            allowed = ldtm(installation, "restore", "../backup.tar")
            assert allowed.returncode == 0, "the number now belongs to another program"
        finally:
            process.kill()
    with subprocess.Popen(["dagster-stub", "60"], executable="/bin/sleep") as process:
        (installation.project.home / "dagster.pid").write_text(f"{process.pid} 3000 127.0.0.1\n")
        try:
            refused = ldtm(installation, "restore", "../backup.tar")
        finally:
            process.kill()
    assert refused.returncode == 1
    reason = f"Dagster is running for this configuration (process {process.pid}); stop it with `ldtm down`"
    assert reason in refused.stderr


@pytest.mark.slow
def test_a_lost_embedded_server_is_restored_where_only_the_files_are_left(
    installation: Installation, tmp_path: Path
) -> None:
    installation.backup(tmp_path / "backup.tar")
    with server_home() as folder:
        home = folder / ".ldtm" / "ldtm"
        shutil.copytree(installation.project.home, home)
        shutil.copy(installation.config, folder)
        known = known_database(home)
        assert known is not None
        remember_database(home, replace(known, address=EMBEDDED))
        refused = run_ldtm(folder, "", "audit", "verify")
        assert refused.returncode == 2
        assert "seals.jsonl and checkpoints of a database that is missing" in refused.stderr
        restored = run_ldtm(folder, "", "restore", str(tmp_path / "backup.tar"))
        assert restored.returncode == 0, restored.stderr
        assert run_ldtm(folder, "", "audit", "verify").returncode == 0


def test_a_folder_of_a_database_elsewhere_needs_its_url(installation: Installation, tmp_path: Path) -> None:
    installation.backup(tmp_path / "backup.tar")
    refused = run_ldtm(installation.folder, "", "restore", "../backup.tar")
    assert refused.returncode == 2
    assert "LDTM_DATABASE_URL is not set, and " in refused.stderr
    assert not (installation.project.home / "postgres").exists()


def test_missing_and_altered_checkpoint_files_are_named_and_the_rest_is_saved(
    installation: Installation, tmp_path: Path
) -> None:
    (path,) = installation.project.checkpoint_folder.glob("*.pt")
    path.write_bytes(path.read_bytes()[:-1])
    saved = ldtm(installation, "backup", "../backup.tar")
    assert saved.returncode == 0
    assert (
        f"1 checkpoint file of the record is missing or altered, and is not in the archive: {path.name}" in saved.stderr
    )
    assert "checkpoint files  0\n" in saved.stdout


def test_a_backup_without_a_folder_or_a_record_says_so(
    installation: Installation, empty_database: Database, tmp_path: Path
) -> None:
    missing = ldtm(installation, "backup", "nowhere/backup.tar")
    assert missing.returncode == 1
    assert f"there is no folder {installation.folder / 'nowhere'}; create it, or name another archive" in missing.stderr
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "universe.toml").write_text('tickers = ["AAPL"]\n')
    empty = run_ldtm(tmp_path / "second", empty_database.url, "backup", "backup.tar")
    assert empty.returncode == 1
    assert "schema ldtm at " in empty.stderr
    assert "holds no record yet; `ldtm db migrate` applies the schema" in empty.stderr
    assert not list((tmp_path / "second").glob("*.tar*"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"only root may mount a small file system: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_is_one_message_and_leaves_nothing(installation: Installation, small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(os.urandom(900_000))
    full = ldtm(installation, "backup", str(small_disk / "backup.tar"))
    assert full.returncode == 1
    assert "error: the disk is full (" in full.stderr
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


def test_no_file_is_removed_while_a_backup_copies_files(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ldtm_lib.backup import create

    original = create._add_checkpoints
    config = RegistryConfig()

    def while_pruning(*arguments: object) -> list[str]:
        with monkeypatch.context() as impatient:
            impatient.setitem(connection.PINNED, "lock_timeout", "100ms")
            with pytest.raises(FileNotRemoved, match="did not grant a lock within 100ms; nothing was changed"):
                prune(installation.database, installation.project.checkpoint_folder, config=config)
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(create, "_add_checkpoints", while_pruning)
    assert installation.backup(tmp_path / "backup.tar").num_checkpoints == 1
    prune(installation.database, installation.project.checkpoint_folder, config=config)


def test_a_public_seal_file_elsewhere_is_saved_and_restored(
    installation: Installation, empty_database: Database, tmp_path: Path
) -> None:
    installation.config.write_text('tickers = ["AAPL", "MSFT"]\n[publish]\nfile = "../public/seals.jsonl"\n')
    installation.seal()
    (tmp_path / "backups").mkdir()
    installation.backup(tmp_path / "backups" / "backup.tar")
    published = tmp_path / "public" / "seals.jsonl"
    before = published.read_bytes()
    (tmp_path / "backups" / "elsewhere").mkdir()
    other = installation.elsewhere(tmp_path / "backups" / "elsewhere" / "second", empty_database)
    other.restore(tmp_path / "backups" / "backup.tar")
    assert (tmp_path / "backups" / "elsewhere" / "public" / "seals.jsonl").read_bytes() == before
    assert not other.seals.exists()
    assert other.verify().is_intact


def test_an_archive_names_the_moment_that_it_was_made(installation: Installation, tmp_path: Path) -> None:
    report = installation.backup(tmp_path / "backup.tar")
    assert report.manifest.created_at == NOW
    assert report.manifest.made == "2026-11-30 10:15 UTC"
    with pytest.raises(BackupFailed, match=r"backup\.tar exists and is not overwritten"):
        installation.backup(tmp_path / "backup.tar")
