"""The restore of an older backup over a newer published record: no fork is published, and the way on is honest."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from ldtm_lib.audit.publications.git_repository import GitRepository
from ldtm_lib.audit.sealing import SealingReport, contradiction, fork_of, seal_and_publish
from ldtm_lib.audit.verify import verify
from ldtm_lib.database.connection import Database
from tests.databases import url_of
from tests.integration.audit.sealed_record import DAYS, Record
from tests.integration.ledger_rows import LedgerRows


@contextmanager
def restored(record: Record, server_url: str) -> Iterator[Record]:
    """The record as it was after two sessions, while its file has the seals of four."""
    for day in DAYS[:2]:
        record.daily_run(day)
    record.conn.close()
    name = str(conninfo_to_dict(record.database.url)["dbname"])
    with psycopg.connect(server_url, autocommit=True) as admin:
        backup = sql.Identifier(f"{name}_backup")
        admin.execute(sql.SQL("create database {} template {}").format(backup, sql.Identifier(name)))
        with record.database.connect() as conn:
            later = replace(record, conn=conn, rows=LedgerRows(conn, record.calendar))
            for day in DAYS[2:]:
                later.daily_run(day)
        old = Database(url=url_of(server_url, f"{name}_backup"), schema="ldtm")
        with old.connect() as conn:
            yield replace(record, database=old, conn=conn, rows=LedgerRows(conn, record.calendar))
        admin.execute(sql.SQL("drop database {} with (force)").format(backup))


@pytest.fixture
def older(empty_record: Record, server_url: str) -> Iterator[Record]:
    with restored(empty_record, server_url) as record:
        yield record


def _go_on(record: Record) -> None:
    """Another history after the restore: the session that was published is forecast again, with other figures."""
    record.rows.forecast("AAPL", DAYS[2], close=77)
    record.conn.commit()


def _num_seals(record: Record) -> object:
    return record.conn.execute("select count(*) from ledger_seal").fetchone()


def test_the_first_forked_seal_is_neither_made_nor_published_anywhere(older: Record, tmp_path: Path) -> None:
    behind = GitRepository(folder=tmp_path / "behind")
    subprocess.run(["git", "init", "--quiet", behind.folder], check=True)
    _go_on(older)
    before = older.file.path.read_bytes()
    report = seal_and_publish(older.database, [older.file, behind])
    assert list(report.failures) == [older.file.name]
    assert "seal 2 was published as " in report.failures[older.file.name]
    assert "the database ends with seal 1: the database was restored from an older" in report.failures[older.file.name]
    assert (report.is_new, dict(report.published)) == (False, {})
    assert _num_seals(older) == (2,)
    assert older.file.path.read_bytes() == before
    assert behind.read().seals == {}, "a publication that lags behind would have taken the fork"


def test_a_fork_that_was_sealed_already_is_refused_as_well(older: Record) -> None:
    _go_on(older)
    older.conn.execute("insert into ledger_seal default values")
    older.conn.commit()
    report = seal_and_publish(older.database, [older.file])
    assert "in the database: the database was restored" in report.failures[older.file.name]
    assert older.conn.execute("select count(*) from ledger_seal").fetchone() == (3,)


def test_the_quick_look_of_the_status_finds_the_fork(older: Record) -> None:
    reason = fork_of(older.conn, older.file)
    assert reason is not None
    assert reason.startswith("seal 2 was published as ")
    assert older.file.hashes() == {number: seal.sha256 for number, seal in older.file.read().seals.items()}


def test_an_intact_record_has_no_contradiction_and_a_shorter_publication_is_none(record: Record) -> None:
    assert fork_of(record.conn, record.file) is None
    hashes = record.file.hashes()
    assert contradiction({0: hashes[0]}, hashes) is None
    assert contradiction({}, {}) is None


def test_with_the_old_publication_put_aside_the_restored_record_is_published_anew(older: Record) -> None:
    _go_on(older)
    aside = older.file.path.with_name("seals-before-restore.jsonl")
    older.file.path.rename(aside)
    report: SealingReport = seal_and_publish(older.database, [older.file])
    assert (report.is_new, dict(report.published), dict(report.failures)) == (True, {older.file.name: 3}, {})
    assert verify(older.database, older.calendar, [older.file]).is_intact
    kept = aside.read_bytes().splitlines()
    assert older.file.path.read_bytes().splitlines()[:2] == kept[:2], "the old file proves what both have in common"
    assert len(kept) == 4
