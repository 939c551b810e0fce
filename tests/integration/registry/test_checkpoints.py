"""Candidates on record and their files."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import psycopg
import pytest

from ldtm_lib.models import checkpoint
from ldtm_lib.models.checkpoint import WRITTEN_NAME
from ldtm_lib.registry.checkpoints import candidate_name, existing
from ldtm_lib.registry.versions import publish

MONDAY, TUESDAY, WEDNESDAY = date(2012, 12, 3), date(2012, 12, 4), date(2012, 12, 5)


def test_a_candidate_is_on_record_with_its_numbers_and_its_file_can_be_loaded(registry) -> None:
    record = registry.candidate("AAA", MONDAY)
    assert (record.status, record.version, record.major) == ("candidate", None, None)
    assert (record.num_training_rows, record.num_validation_rows) == (90, 10)
    assert (record.num_epochs, record.best_epoch, record.validation_loss, record.device) == (2, 2, 0.5, "cpu")
    assert record.file_name == f"candidates/AAA_{record.file_sha256[:16]}.pt"
    path = registry.folder / record.file_name
    assert checkpoint.load(path, sha256=record.file_sha256, architecture=registry.settings.architecture)


def test_the_same_training_again_adds_neither_row_nor_file(registry) -> None:
    first, second = registry.candidate("AAA", MONDAY), registry.candidate("AAA", MONDAY)
    assert first == second
    assert len(registry.statuses("AAA")) == 1
    assert registry.files() == {first.file_name}


def test_equal_networks_of_two_days_share_a_file_and_not_a_row(registry) -> None:
    monday, tuesday = registry.candidate("AAA", MONDAY), registry.candidate("AAA", TUESDAY)
    assert monday.checkpoint_id != tuesday.checkpoint_id
    assert registry.files() == {monday.file_name} == {tuesday.file_name}


def test_what_is_on_record_with_an_intact_file_need_not_be_trained_again(registry, conn) -> None:
    record, other = registry.candidate("AAA", MONDAY), registry.candidate("BBB", MONDAY)
    absent = replace(record.key, ticker="CCC")
    found = existing(conn, registry.folder, [record.key, other.key, absent])
    assert found == {record.key: record, other.key: other}


@pytest.mark.parametrize("harm", ["missing", "cut", "altered"])
def test_a_harmed_file_counts_as_not_trained_and_training_again_restores_it(registry, conn, harm: str) -> None:
    record = registry.candidate("AAA", MONDAY)
    path = registry.folder / record.file_name
    content = path.read_bytes()
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(content[:-100] if harm == "cut" else content[:500] + b"!" + content[501:])
    assert existing(conn, registry.folder, [record.key]) == {}
    conn.commit()
    assert registry.candidate("AAA", MONDAY) == record
    assert path.read_bytes() == content
    assert existing(conn, registry.folder, [record.key]) == {record.key: record}


def test_the_lost_file_of_an_active_network_is_restored_under_its_own_name(registry) -> None:
    registry.candidate("AAA", MONDAY, tested=registry.good)
    assert registry.gate("AAA")["AAA"].outcome == "promoted"
    active = registry.folder / f"AAA_ldtm_v1.{MONDAY}.pt"
    content = active.read_bytes()
    active.unlink()
    record = registry.candidate("AAA", MONDAY)
    assert record.status == "active"
    assert active.read_bytes() == content
    assert registry.statuses("AAA") == [("active", f"v1.{MONDAY}")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("set file_sha256 = 'x'", "cannot be altered"),
        ("set file_name = 'x'", "cannot be altered"),
        ("set trained_on = '2000-01-03'", "cannot be altered"),
        ("set version = 'v9'", "cannot be altered"),
        ("set status = 'candidate', version = null, major = null, activated_at = null", "cannot be altered"),
    ],
)
def test_the_database_refuses_to_alter_what_was_promoted(registry, conn, change: str, message: str) -> None:
    registry.candidate("AAA", MONDAY, tested=registry.good)
    registry.gate("AAA")
    with pytest.raises(psycopg.IntegrityError, match=message):
        conn.execute(f"update checkpoint {change}".encode())


def test_the_database_refuses_to_alter_a_candidate_or_to_bring_back_a_retired_one(registry, conn) -> None:
    registry.candidate("AAA", MONDAY, tested=registry.good)
    with pytest.raises(psycopg.IntegrityError, match="cannot be altered"), conn.transaction():
        conn.execute("update checkpoint set file_sha256 = 'x'")
    conn.commit()
    registry.gate("AAA")
    registry.candidate("AAA", TUESDAY, weights=1, tested=registry.good)
    registry.gate("AAA")
    assert [status for status, _ in registry.statuses("AAA")] == ["retired", "active"]
    conn.execute("update checkpoint set status = 'retired', retired_at = now() where status = 'active'")
    with pytest.raises(psycopg.IntegrityError, match="cannot go from retired to active"):
        conn.execute("update checkpoint set status = 'active', retired_at = null where trained_on = '2012-12-03'")


def test_the_database_refuses_two_active_networks_of_one_ticker(registry, conn) -> None:
    registry.candidate("AAA", MONDAY)
    registry.candidate("AAA", TUESDAY)
    with pytest.raises(psycopg.errors.UniqueViolation, match="checkpoint_one_active_per_ticker"):
        conn.execute(
            "update checkpoint set status = 'active', major = 1, version = checkpoint_id::text, activated_at = now(), "
            "file_name = checkpoint_id || '.pt'"
        )


@pytest.mark.parametrize(("ticker", "name"), [("AAPL", "AAPL"), ("RDS/A", "RDS%2FA"), ("^GSPC", "%5EGSPC")])
def test_the_files_of_a_ticker_lie_in_the_folder_whatever_signs_it_has(registry, ticker: str, name: str) -> None:
    """Those of a candidate and of a version, and retention takes both for files of its own."""
    candidate = registry.candidate("AAA", MONDAY)
    record = replace(candidate, ticker=ticker)
    file_name = candidate_name(record.key, record.file_sha256)
    assert file_name == f"candidates/{name}_{record.file_sha256[:16]}.pt"
    version = publish(registry.folder, record, major=1, history=[], architecture=registry.settings.architecture)
    assert version.file_name == f"{name}_ldtm_v1.2012-12-03.pt"
    assert (registry.folder / version.file_name).is_file()
    assert all(WRITTEN_NAME.fullmatch(Path(path).name) for path in (file_name, version.file_name))
