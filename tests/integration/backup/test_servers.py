"""Backups of older servers and of other roles; programs that are too old; passwords that nobody else sees."""

import os
import pwd
import shlex
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from ldtm_lib.backup import postgresql_programs
from ldtm_lib.backup.postgresql_programs import newest_programs
from ldtm_lib.database.connection import Database
from ldtm_lib.database.migrate import migrate
from ldtm_lib.errors import BackupFailed, ConfigurationError, RestoreRefused
from ldtm_lib.sessions import Calendar
from tests.databases import create_database, in_memory, reaper_of, url_of
from tests.integration.backup.installation import Installation, major_of

OLD = Path("/usr/lib/postgresql/15/bin")


@pytest.fixture(scope="module")
def old_server() -> Iterator[str]:
    """The URL of a server of PostgreSQL 15."""
    if not (OLD / "initdb").exists():
        pytest.skip(f"PostgreSQL 15 is not installed in {OLD}")
    user = None
    if os.geteuid() == 0:
        try:
            user = pwd.getpwnam("postgres").pw_name
        except KeyError:
            pytest.skip("root cannot start PostgreSQL, and there is no user postgres")
    with tempfile.TemporaryDirectory(dir=in_memory(), prefix="ldtm-15-") as folder, reaper_of(Path(folder)):
        data = Path(folder) / "data"
        if user is not None:
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        initdb = [OLD / "initdb", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-N", "-D", data]
        subprocess.run(initdb, check=True, capture_output=True, user=user, cwd="/")
        options = f"-h '' -k {shlex.quote(folder)} -c fsync=off"
        start = [OLD / "pg_ctl", "-w", "-D", data, "-o", options, "-l", f"{folder}/log", "start"]
        subprocess.run(start, check=True, capture_output=True, user=user, cwd="/")
        try:
            yield f"postgresql://postgres@/postgres?host={folder}"
        finally:
            stop = [OLD / "pg_ctl", "-m", "immediate", "-D", data, "stop"]
            subprocess.run(stop, check=True, capture_output=True, user=user, cwd="/")


@pytest.fixture
def old(old_server: str, calendar: Calendar, tmp_path: Path) -> Iterator[Installation]:
    """An installation on PostgreSQL 15 with one sealed forecast."""
    create_database(old_server, "old", None)
    database = Database(url=url_of(old_server, "old"), schema="ldtm")
    migrate(database, calendar)
    installation = Installation.in_folder(tmp_path / "old", database, calendar)
    installation.forecast()
    yield installation
    with psycopg.connect(old_server, autocommit=True) as admin:
        admin.execute("drop database old with (force)")


@pytest.mark.slow
def test_a_record_moves_from_postgresql_15_to_18_and_not_back(
    old: Installation, empty_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if major_of(empty_database) < 18:
        pytest.skip("the server of the tests is older than PostgreSQL 18")
    report = old.backup(tmp_path / "15.tar")
    assert report.manifest.postgresql_version.startswith("15.")
    other = old.elsewhere(tmp_path / "second", empty_database)
    other.restore(tmp_path / "15.tar")
    assert other.verify().is_intact
    assert other.replays()
    other.backup(tmp_path / "18.tar")
    assert not old.restore(tmp_path / "15.tar").loss, "from 15 to 15 as well"
    assert old.verify().is_intact
    assert old.replays()
    monkeypatch.setattr(postgresql_programs, "candidate_folders", lambda environ: iter([OLD]))
    assert old.backup(tmp_path / "of_15.tar").manifest.pg_dump_major == 15
    old.restore(tmp_path / "of_15.tar")
    monkeypatch.undo()
    other.restore(tmp_path / "of_15.tar")
    assert other.verify().is_intact
    with pytest.raises(RestoreRefused, match=r"the archive is of PostgreSQL 18\.\d+, and .* is PostgreSQL 15"):
        old.restore(tmp_path / "18.tar")


def test_a_restore_by_another_role_makes_it_the_owner_and_names_the_roles_that_lost_their_rights(
    installation: Installation, server_url: str, empty_database: Database, tmp_path: Path
) -> None:
    owner, writer = f"ldtm_owner_{os.getpid()}", f"ldtm_writer_{os.getpid()}"
    name = str(conninfo_to_dict(empty_database.url)["dbname"])
    with psycopg.connect(server_url, autocommit=True) as admin:
        for role in (owner, writer):
            admin.execute(sql.SQL("create role {} login").format(sql.Identifier(role)))
        try:
            with installation.database.connect() as conn:
                conn.execute("select grant_writer_privileges(%s)", (writer,))
                conn.commit()
            installation.backup(tmp_path / "backup.tar")
            as_owner = replace(empty_database, url=empty_database.url.replace("//postgres@", f"//{owner}@"))
            other = installation.elsewhere(tmp_path / "second", as_owner)
            with pytest.raises(
                RestoreRefused, match=r"may not replace the record at .* with the right to create schemas"
            ):
                other.restore(tmp_path / "backup.tar")
            grant = sql.SQL("grant create on database {} to {}")
            admin.execute(grant.format(sql.Identifier(name), sql.Identifier(owner)))
            report = other.restore(tmp_path / "backup.tar")
            assert report.writers == (writer,)
            assert other.verify().is_intact
            assert other.replays()
            with other.database.connect() as conn:
                owners = conn.execute("select distinct tableowner from pg_tables where schemaname = 'ldtm'").fetchall()
                assert owners == [(owner,)]
                given = conn.execute("select has_table_privilege(%s, 'ldtm.snapshot', 'insert')", (writer,)).fetchone()
                assert given == (False,)
            as_writer = replace(
                installation.database, url=installation.database.url.replace("//postgres@", f"//{writer}@")
            )
            with pytest.raises(
                BackupFailed,
                match=r"(SELECT privilege on the|permission denied for) sequence.*; back up as the owner of the tables",
            ):
                replace(installation, database=as_writer).backup(tmp_path / "of_the_writer.tar")
            assert not (tmp_path / "of_the_writer.tar").exists()
            with pytest.raises(RestoreRefused, match="not of this record, or that the role may not read"):
                replace(other, database=replace(as_owner, url=as_owner.url.replace(owner, writer))).restore(
                    tmp_path / "backup.tar"
                )
        finally:
            admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
            admin.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
            for database in (installation.database.url,):
                with psycopg.connect(database, autocommit=True) as conn:
                    conn.execute(sql.SQL("drop owned by {}, {}").format(sql.Identifier(owner), sql.Identifier(writer)))
            for role in (owner, writer):
                admin.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))


def programs_of(folder: Path, version: str, script: str = "exit 1") -> Path:
    """A folder with programs that state a version."""
    folder.mkdir()
    for name in ("pg_dump", "pg_restore"):
        text = f'#!/bin/sh\n[ "$1" = --version ] && echo "{name} (PostgreSQL) {version}" && exit\n{script}\n'
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def test_the_newest_programs_are_chosen_wherever_they_are(tmp_path: Path) -> None:
    here = newest_programs({}, at_least=15, of="a test")
    assert here.major >= 18
    newer = programs_of(tmp_path / "newer", "97.2 (Debian 97.2-1)")
    programs_of(tmp_path / "newest_without_restore", "98.1").joinpath("pg_restore").unlink()
    environ = {"PATH": f"{tmp_path / 'newest_without_restore'}:{newer}:/nowhere"}
    assert newest_programs(environ, at_least=15, of="a test").folder == newer


def test_programs_older_than_the_server_are_refused_with_the_remedy(
    saved: tuple[Installation, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = programs_of(tmp_path / "older", "14.9")
    monkeypatch.setattr(postgresql_programs, "candidate_folders", lambda environ: iter([older]))
    with pytest.raises(ConfigurationError) as refused:
        saved[0].backup(tmp_path / "backup.tar")
    message, server = str(refused.value), major_of(saved[0].database)
    assert f" needs pg_dump and pg_restore of PostgreSQL {server} or newer, and the newest here is 14.9 in " in message
    assert f"install the package postgresql-client-{server}, or put the folder of its programs on PATH" in message
    assert not (tmp_path / "backup.tar").exists()
    with pytest.raises(
        ConfigurationError, match=r"the dump, which pg_dump 18\.\d+ wrote, needs pg_dump and pg_restore of"
    ):
        saved[0].restore(saved[1])


def test_a_password_is_in_no_command_line_no_message_and_no_archive(
    saved: tuple[Installation, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = newest_programs({}, at_least=18, of="a test")
    log = tmp_path / "log"
    script = f'echo "$0 $*" >> {log}\nexec {real.folder}/$(basename "$0") "$@"'
    watched = programs_of(tmp_path / "watched", real.version, script)
    monkeypatch.setattr(postgresql_programs, "candidate_folders", lambda environ: iter([watched]))
    url = saved[0].database.url.replace("//postgres@", "//postgres:s3cr%40t@")
    installation = replace(saved[0], database=Database(url=url, schema="ldtm"))
    installation.backup(tmp_path / "backup.tar")
    installation.restore(tmp_path / "backup.tar")
    commands = log.read_text()
    assert "pg_dump --format=custom" in commands
    assert "pg_restore --file=- --section=data" in commands
    assert "s3cr" not in commands
    content = (tmp_path / "backup.tar").read_bytes()
    with tarfile.open(tmp_path / "backup.tar") as tar:
        tar.extract("database.dump", tmp_path, filter="data")
    text = subprocess.run(
        [real.pg_restore, "-f", "-", tmp_path / "database.dump"], capture_output=True, check=True
    ).stdout
    for secret in (b"s3cr@t", b"s3cr%40t"):
        assert secret not in content
        assert secret not in text
    programs_of(tmp_path / "failing", real.version, 'echo "no way with $PGPASSWORD" >&2; exit 1')
    monkeypatch.setattr(postgresql_programs, "candidate_folders", lambda environ: iter([tmp_path / "failing"]))
    with pytest.raises(BackupFailed) as failed:
        installation.backup(tmp_path / "failed.tar")
    assert "failed: no way with ***; nothing was written" in str(failed.value)
    assert not list(tmp_path.glob("*failed.tar*"))
