"""The folder of an installation and its database: another database is never taken for it, and none is made anew."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from ldtm_cli.services import prepare
from ldtm_lib.database import embedded
from ldtm_lib.database.connection import Database
from ldtm_lib.database.identity import EMBEDDED, FILE, installation_id, known_database
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.project import Project, open_project
from tests.databases import create_database, drop_database, url_of

CONFIG = 'tickers = ["AAPL"]\n'


@dataclass(frozen=True)
class Owner:
    """Somebody who starts an installation in a folder, with or without a URL in the environment."""

    config: Path
    monkeypatch: pytest.MonkeyPatch

    @property
    def home(self) -> Path:
        return self.config.parent / ".ldtm" / "ldtm"

    def start(self, url: str | None) -> Project:
        self.monkeypatch.delenv("LDTM_DATABASE_URL", raising=False)
        if url is not None:
            self.monkeypatch.setenv("LDTM_DATABASE_URL", url)
        project, _ = prepare(self.config)
        return project


@pytest.fixture
def owner(home: Path, monkeypatch: pytest.MonkeyPatch) -> Owner:
    config = home / "universe.toml"
    config.write_text(CONFIG)
    return Owner(config, monkeypatch)


def test_without_the_url_of_its_database_no_embedded_server_is_made(owner: Owner, database: Database) -> None:
    owner.start(database.url)
    with pytest.raises(
        ConfigurationError, match=r"LDTM_DATABASE_URL is not set, and .* holds seals and check"
    ) as refused:
        owner.start(None)
    assert "of the database at /" in str(refused.value), "the address of the test's server, a socket"
    assert not (owner.home / "postgres").exists()
    assert owner.start(database.url).database.url == database.url


def test_files_of_an_installation_that_noted_nothing_are_enough(owner: Owner) -> None:
    (owner.home / "checkpoints").mkdir(parents=True)
    (owner.home / "checkpoints" / "AAPL.pt").touch()
    (owner.home / "seals.jsonl").touch()
    with pytest.raises(ConfigurationError, match=r"holds seals\.jsonl and checkpoints of a database that is missing"):
        owner.start(None)
    assert not (owner.home / "postgres").exists()


def test_another_database_is_refused_before_a_schema_is_made_in_it(
    owner: Owner, database: Database, empty_database: Database, server_url: str, template: str
) -> None:
    owner.start(database.url)
    with pytest.raises(ConfigurationError, match=r"holds another record\. Correct LDTM_DATABASE_URL"):
        owner.start(empty_database.url)
    with empty_database.connect() as conn:
        assert conn.execute("select to_regnamespace('ldtm')").fetchone() == (None,)
    other = f"ldtm_other_{os.getpid()}"
    create_database(server_url, other, template)
    try:
        with psycopg.connect(url_of(server_url, other), autocommit=True) as conn:
            conn.execute("set session_replication_role = replica")
            conn.execute("alter table ldtm.installation disable trigger all")
            conn.execute("update ldtm.installation set installation_id = gen_random_uuid()")
        with pytest.raises(ConfigurationError, match="holds another record"):
            owner.start(url_of(server_url, other))
    finally:
        drop_database(server_url, other)


def test_the_same_record_at_another_address_is_taken(owner: Owner, database: Database, server_url: str) -> None:
    owner.start(database.url)
    before = known_database(owner.home)
    moved = f"ldtm_moved_{os.getpid()}"
    create_database(server_url, moved, str(psycopg.conninfo.conninfo_to_dict(database.url)["dbname"]))
    try:
        project = owner.start(url_of(server_url, moved))
        with project.database.connect() as conn:
            assert before is not None
            assert installation_id(conn) == before.installation_id
        after = known_database(owner.home)
        assert after is not None
        assert after.installation_id == before.installation_id
        assert after.address.endswith(moved)
    finally:
        drop_database(server_url, moved)


def test_the_url_of_the_embedded_server_in_the_environment_is_the_same_database(owner: Owner) -> None:
    url = owner.start(None).database.url
    owner.start(url)
    known = known_database(owner.home)
    assert known is not None
    assert known.address == EMBEDDED
    owner.start(None)


def test_a_damaged_note_is_refused_with_a_remedy(owner: Owner) -> None:
    owner.home.mkdir(parents=True)
    (owner.home / FILE).write_text('{"installation_id"')
    with pytest.raises(ConfigurationError, match=r"the database of .*, is damaged .* restore it, or remove it once"):
        open_project(owner.config, {})


def test_the_identity_of_a_record_is_never_changed(database: Database) -> None:
    for statement in ("update installation set installation_id = gen_random_uuid()", "delete from installation"):
        with pytest.raises(psycopg.errors.RaiseException, match="never changed"), database.transaction() as conn:
            conn.execute(statement.encode())


def test_no_lock_lies_in_the_shared_temporary_folder(home: Path) -> None:
    """Another user's lock there would stop every other user; a folder of its name stops root as well."""
    shared = home / "tmp"
    (shared / ".lockfile").mkdir(parents=True)
    shared.chmod(0o777)
    ours = {name: value for name, value in os.environ.items() if name != "XDG_RUNTIME_DIR"}
    start = "import sys, pathlib; from ldtm_lib.database.embedded import start; start(pathlib.Path(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", start, str(home)], env={**ours, "TMPDIR": str(shared)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert embedded.stop(home)
