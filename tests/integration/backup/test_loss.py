"""An older archive over a newer record is refused; where the loss is accepted, what was published is kept."""

import subprocess
from pathlib import Path

import pytest

from ldtm_lib.audit.publications.configured import publications_of
from ldtm_lib.audit.sealing import seal_and_publish
from ldtm_lib.database.connection import Database
from ldtm_lib.errors import RestoreRefused
from tests.integration.backup.installation import LATER, Installation


@pytest.fixture
def newer(installation: Installation, archive: Path) -> Installation:
    """Two sessions more than the archive has."""
    for day in LATER[:2]:
        installation.daily_run(day)
    return installation


def test_an_older_archive_is_refused_with_the_seals_and_forecasts_that_would_be_lost(
    newer: Installation, archive: Path
) -> None:
    before, session = newer.state(), newer.verify().newest_seal
    assert session is not None
    with pytest.raises(RestoreRefused) as refused:
        newer.restore(archive)
    message = str(refused.value)
    assert "the archive of 2026-11-30 10:15 UTC ends with seal 0 of " in message
    assert f"would lose 2 seals, 1 of {session.session} to 2 of {session.session} (published in file " in message
    assert ") with 2 events of the database, 2 of them forecasts. Restore a newer archive" in message
    assert newer.state() == before


def test_events_that_no_seal_covers_yet_count_as_well(installation: Installation, archive: Path) -> None:
    with installation.database.connect() as conn:
        conn.execute("insert into service_entry (ticker, first_session) values ('MSFT', '2013-01-14')")
        conn.commit()
    with pytest.raises(RestoreRefused, match="would lose 1 event of the database, 0 of them forecasts"):
        installation.restore(archive)


def test_published_seals_are_compared_where_the_database_is_lost(
    newer: Installation, archive: Path, empty_database: Database
) -> None:
    lost = Installation(newer.folder, empty_database, newer.calendar)
    refused = r"2 seals, 1 of .* to 2 of .* \(published in file .*\) with 2 events that the database no longer has"
    with pytest.raises(RestoreRefused, match=refused):
        lost.restore(archive)
    report = lost.restore(archive, accept_loss=True)
    assert [seal.seal_id for seal in report.loss.seals] == [1, 2]
    assert report.kept_schemas == (), "there was none"


def test_seals_in_a_git_repository_are_compared(installation: Installation, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path / "record"], check=True)
    installation.config.write_text('tickers = ["AAPL", "MSFT"]\n[publish]\ngit = "../record"\n')
    installation.seal()
    installation.backup(tmp_path / "backup.tar")
    installation.daily_run(LATER[0])
    installation.seals.unlink()
    with pytest.raises(RestoreRefused, match=r"\(published in git repository "):
        installation.restore(tmp_path / "backup.tar")
    installation.restore(tmp_path / "backup.tar", accept_loss=True)
    (found,) = installation.verify().discrepancies
    assert "1 published seal is missing from the database, the first is seal 1" in found.message
    report = installation.seal()
    assert report.is_new is False
    assert len(report.failures) == 1, "nothing is sealed beside a newer publication"


def test_with_the_loss_accepted_seals_and_schemas_of_the_newer_record_are_kept_aside(
    newer: Installation, archive: Path
) -> None:
    published = newer.seals.read_bytes()
    report = newer.restore(archive, accept_loss=True)
    assert [path.name for path in report.set_aside] == ["seals.jsonl.before-restore-20261130T101500Z"]
    assert report.set_aside[0].read_bytes() == published
    assert report.kept_schemas == ("ldtm_before_restore_20261130t101500",)
    assert (len(report.loss.seals), report.loss.num_forecasts) == (2, 2)
    with newer.database.connect() as conn:
        kept = conn.execute("select count(*) from ldtm_before_restore_20261130t101500.ledger_seal").fetchone()
        assert (kept, conn.execute("select count(*) from ledger_seal").fetchone()) == ((3,), (1,))


def test_the_audit_goes_on_naming_the_seals_that_were_set_aside(newer: Installation, archive: Path) -> None:
    newer.restore(archive, accept_loss=True)
    (coverage,) = newer.verify().publications
    (note,) = coverage.notes
    assert "seals.jsonl.before-restore-20261130T101500Z holds 2 published seals from seal 1 on that this" in note
    newer.daily_run(LATER[0])
    (coverage,) = newer.verify().publications
    assert "from seal 1 on" in coverage.notes[0]
    assert newer.verify().is_intact


def test_a_second_loss_is_set_aside_under_another_name(newer: Installation, archive: Path) -> None:
    first = newer.restore(archive, accept_loss=True)
    newer.daily_run(LATER[0])
    second = newer.restore(archive, accept_loss=True)
    assert [path.name for path in (*first.set_aside, *second.set_aside)] == [
        "seals.jsonl.before-restore-20261130T101500Z",
        "seals.jsonl.before-restore-20261130T101500Z-2",
    ]
    assert second.kept_schemas == ("ldtm_before_restore_20261130t101500_2",)


def test_time_stamps_of_lost_seals_are_set_aside(newer: Installation, archive: Path) -> None:
    folder = newer.project.home / "timestamps"
    folder.mkdir()
    seal = newer.verify().newest_seal
    assert seal is not None
    (folder / f"2-{seal.sha256.hex()[:16]}.tsr").write_bytes(b"a token")
    report = newer.restore(archive, accept_loss=True)
    assert [path.name for path in report.set_aside][1:] == ["timestamps.before-restore-20261130T101500Z"]
    assert not folder.exists()


def test_another_history_under_the_same_numbers_is_a_loss(
    installation: Installation, archive: Path, empty_database: Database, tmp_path: Path
) -> None:
    other = installation.elsewhere(tmp_path / "second", empty_database)
    other.restore(archive)
    installation.daily_run(LATER[0])
    installation.backup(tmp_path / "other_history.tar")
    other.daily_run(LATER[1])
    before = other.state()
    with pytest.raises(RestoreRefused, match="would lose seal 1 of "):
        other.restore(tmp_path / "other_history.tar")
    assert other.state() == before


def test_another_record_in_the_database_or_the_folder_is_refused(
    installation: Installation, archive: Path, empty_database: Database, tmp_path: Path
) -> None:
    with installation.database.connect() as conn:
        conn.execute("alter table installation disable trigger all")
        conn.execute("update installation set installation_id = gen_random_uuid()")
        conn.execute("alter table installation enable always trigger installation_is_never_changed")
        conn.commit()
    before = installation.state()
    with pytest.raises(RestoreRefused, match=r"holds the record .* and the archive the record"):
        installation.restore(archive, accept_loss=True)
    assert installation.state() == before
    stranger = Installation.in_folder(tmp_path / "second", installation.database, installation.calendar)
    other = Installation(stranger.folder, empty_database, installation.calendar)
    with pytest.raises(RestoreRefused, match=r"second/\.ldtm/ldtm belongs to the record "):
        other.restore(archive, accept_loss=True)


def test_tables_of_somebody_else_are_refused(
    installation: Installation, archive: Path, empty_database: Database, tmp_path: Path
) -> None:
    other = installation.elsewhere(tmp_path / "second", empty_database)
    with other.database.connect() as conn:
        conn.execute("create schema ldtm")
        conn.commit()
        other.restore(archive)  # an empty schema that an administrator made is used
        conn.execute("drop schema ldtm cascade")
        conn.execute("create schema ldtm create table mine (x int)")
        conn.commit()
    with pytest.raises(RestoreRefused, match=r"schema ldtm at .* holds tables or functions that are not"):
        other.restore(archive)


def test_other_schema_names_are_refused(installation: Installation, archive: Path) -> None:
    installation.config.write_text('tickers = ["AAPL"]\n[database]\nldtm_schema = "mine"\n')
    with pytest.raises(RestoreRefused, match=r"holds the schemas ldtm and ldtm_dagster, and .* names mine and"):
        installation.restore(archive)


def test_a_checkpoint_file_with_another_content_is_not_overwritten(installation: Installation, archive: Path) -> None:
    (path,) = installation.project.checkpoint_folder.glob("*.pt")
    path.write_bytes(b"something else")
    before = installation.state()
    with pytest.raises(RestoreRefused, match="exists, differs from the file in the archive"):
        installation.restore(archive)
    assert installation.state() == before


def test_a_fork_is_not_published_after_the_loss_was_accepted(newer: Installation, archive: Path) -> None:
    newer.restore(archive, accept_loss=True)
    publications = publications_of(newer.project.settings, newer.project.home)
    assert seal_and_publish(newer.database, publications).failures == {}
    assert newer.seals.read_bytes().count(b"\n") == 1
