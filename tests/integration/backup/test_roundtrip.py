"""A backup that is restored into another folder and an empty database is the same record."""

import json
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from ldtm_lib.backup import restore
from ldtm_lib.backup.postgresql_programs import newest_programs
from ldtm_lib.database.connection import Database
from ldtm_lib.database.migrate import MIGRATIONS_FOLDER, migrate
from ldtm_lib.database.privileges import schema_exists
from ldtm_lib.errors import RestoreRefused
from ldtm_lib.sessions import Calendar
from tests.integration.backup.installation import LATER, Installation, major_of

CATALOGUE = """
select 'trigger', format('%s %s %s %s', t.tgrelid::regclass, t.tgname, t.tgenabled, pg_get_triggerdef(t.oid))
from pg_trigger t join pg_class c on c.oid = t.tgrelid
where c.relnamespace = 'ldtm'::regnamespace and not t.tgisinternal
union all
select 'function', format('%s %s %s %s %s', p.oid::regprocedure, has_function_privilege('public', p.oid, 'execute'),
                          p.prosecdef, p.proconfig, md5(pg_get_functiondef(p.oid)))
from pg_proc p where p.pronamespace = 'ldtm'::regnamespace and p.prokind = 'f'
union all
select 'relation', format('%s %s %s', c.relname, c.relkind, has_table_privilege('public', c.oid, 'select'))
from pg_class c where c.relnamespace = 'ldtm'::regnamespace and c.relkind in ('r', 'v')
union all
select 'constraint', format('%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
from pg_constraint where connamespace = 'ldtm'::regnamespace
order by 1, 2"""


def test_a_restored_record_is_intact_and_its_forecasts_are_replayed_to_the_bit(
    installation: Installation, archive: Path, empty_database: Database, tmp_path: Path
) -> None:
    other = installation.elsewhere(tmp_path / "second", empty_database)
    report = other.restore(archive)
    assert (report.replaced, bool(report.loss), report.num_added_checkpoints, report.wrote_config) == (
        False,
        False,
        1,
        True,
    )
    found = other.verify()
    assert (found.is_intact, found.num_seals, found.num_unsealed) == (True, 1, 0)
    assert other.replays()
    assert other.seals.read_bytes() == installation.seals.read_bytes()
    known = json.loads((other.project.home / "database.json").read_text())
    assert known["installation_id"] == report.manifest.installation_id
    assert known["address"] == other.project.address


def test_rules_triggers_and_rights_of_everybody_are_those_of_the_saved_database(
    installation: Installation, archive: Path, empty_database: Database, tmp_path: Path
) -> None:
    other = installation.elsewhere(tmp_path / "second", empty_database)
    other.restore(archive)
    with installation.database.connect() as conn, other.database.connect() as restored:
        assert restored.execute(CATALOGUE).fetchall() == conn.execute(CATALOGUE).fetchall()


def test_a_restored_record_goes_on(
    installation: Installation, archive: Path, empty_database: Database, tmp_path: Path
) -> None:
    other = installation.elsewhere(tmp_path / "second", empty_database)
    other.restore(archive)
    other.daily_run(LATER[0])
    assert other.verify().is_intact
    assert other.verify().num_seals == 2
    assert other.replays(LATER[0])


def test_a_restore_over_the_same_record_changes_nothing_of_it_and_can_be_repeated(
    installation: Installation, archive: Path
) -> None:
    before = installation.state()
    for _ in range(2):
        report = installation.restore(archive)
        assert (report.replaced, bool(report.loss), report.num_added_checkpoints, report.wrote_config) == (
            True,
            False,
            0,
            False,
        )
    assert installation.state() == before
    assert installation.verify().is_intact


def test_a_restore_brings_an_older_record_and_its_seals_up_to_the_archive(
    installation: Installation, archive: Path, empty_database: Database, tmp_path: Path
) -> None:
    other = installation.elsewhere(tmp_path / "second", empty_database)
    other.restore(archive)
    installation.daily_run(LATER[0])
    installation.backup(tmp_path / "newer.tar")
    assert not other.restore(tmp_path / "newer.tar").loss
    assert other.verify().num_seals == 2
    assert other.seals.read_bytes() == installation.seals.read_bytes()


def test_lost_files_of_an_installation_come_back(installation: Installation, archive: Path) -> None:
    before = installation.state()
    installation.lose_the_files()
    assert installation.restore(archive).num_added_checkpoints == 1
    assert installation.state() == before
    assert installation.replays()


def test_the_archive_is_a_plain_tar_of_its_owner_and_states_what_it_holds(
    installation: Installation, archive: Path
) -> None:
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    with tarfile.open(archive, "r:") as tar:
        names = tar.getnames()
        stated = tar.extractfile("manifest.json")
        assert stated is not None
        manifest = json.loads(stated.read())
    assert names[-3:] == ["database.dump", "manifest.json", "manifest.json.sha256"]
    assert names[:3] == ["configuration.toml", "home/database.json", "home/seals.jsonl"]
    assert [member["name"] for member in manifest["members"]] == names[:-2]
    newest = installation.verify().newest_seal
    assert newest is not None
    assert manifest["newest_seal"] == {
        "seal_id": 0,
        "session": str(newest.session),
        "sha256": newest.sha256.hex(),
    }
    assert (manifest["num_forecasts"], manifest["config"], manifest["format_version"]) == (1, "universe.toml", 1)


def test_the_archive_is_restored_by_hand_with_tar_and_pg_restore(
    installation: Installation, archive: Path, empty_database: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "by_hand"
    home = folder / ".ldtm" / "ldtm"
    home.parent.mkdir(parents=True)
    subprocess.run(["tar", "-xf", archive, "-C", folder], check=True)
    subprocess.run(["sha256sum", "--check", "--quiet", "manifest.json.sha256"], cwd=folder, check=True)
    programs = newest_programs({}, at_least=18, of="the test")
    if major_of(empty_database) >= 17:
        command = [programs.pg_restore, "--exit-on-error", "--single-transaction", "--no-owner"]
        subprocess.run([*command, f"--dbname={empty_database.url}", folder / "database.dump"], check=True)
    else:
        pipe = (
            f"'{programs.pg_restore}' --no-owner -f - database.dump | sed '/^SET transaction_timeout = 0;$/d' | "
            f"'{programs.folder / 'psql'}' -q -1 -v ON_ERROR_STOP=1 -d '{empty_database.url}'"
        )
        subprocess.run(["bash", "-o", "pipefail", "-c", pipe], cwd=folder, check=True)
    (folder / "home").rename(home)
    (folder / "configuration.toml").rename(folder / "universe.toml")
    other = Installation(folder, empty_database, installation.calendar)
    assert other.verify().is_intact
    assert other.replays()


def test_without_dagster_its_schema_is_neither_saved_nor_touched(
    installation: Installation, empty_database: Database, tmp_path: Path
) -> None:
    with installation.database.connect() as conn:
        conn.execute("create schema ldtm_dagster")
        conn.commit()
    report = installation.backup(tmp_path / "without.tar", with_dagster=False)
    assert not report.manifest.has_dagster
    other = installation.elsewhere(tmp_path / "second", empty_database)
    other.restore(tmp_path / "without.tar")
    with other.database.connect() as conn:
        assert not schema_exists(conn, "ldtm_dagster")
    assert installation.backup(tmp_path / "with.tar").manifest.has_dagster


def test_a_record_of_an_older_schema_is_restored_and_then_migrated(
    empty_database: Database, database: Database, calendar: Calendar, tmp_path: Path
) -> None:
    older = tmp_path / "migrations"
    older.mkdir()
    for path in sorted(MIGRATIONS_FOLDER.glob("*.sql"))[:-1]:
        shutil.copy(path, older)
    migrate(empty_database, calendar, older)
    installation = Installation.in_folder(tmp_path / "first", empty_database, calendar)
    report = installation.backup(tmp_path / "backup.tar")
    assert (report.manifest.newest_seal, report.manifest.num_forecasts) == (None, 0)
    with database.connect() as conn:
        conn.execute("drop schema ldtm cascade")
        conn.commit()
    other = installation.elsewhere(tmp_path / "second", database)
    pending = other.restore(tmp_path / "backup.tar").pending_migrations
    assert pending == (max(path.name for path in MIGRATIONS_FOLDER.glob("*.sql")),)
    assert migrate(database, calendar) == [*pending]
    assert other.verify().is_intact


def test_a_restore_does_not_wait_for_long_on_whoever_uses_the_record(
    installation: Installation, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore, "LOCK_SECONDS", 0.1)
    before = installation.state()
    with installation.database.connect() as conn:
        conn.execute("insert into service_entry (ticker, first_session) values ('MSFT', '2013-01-14')")
        with pytest.raises(RestoreRefused, match=r"was in use for 0\.1 s; stop what uses it, and restore again"):
            installation.restore(archive)
        conn.rollback()
    assert installation.state() == before
