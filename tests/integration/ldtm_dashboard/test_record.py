"""Seals and their file, and proofs that hold, that were altered, that are of another record, and that are none."""

import json
from datetime import date

import pytest

from ldtm_dashboard.frames.proofs import MAX_BYTES, verify_upload
from ldtm_dashboard.frames.record import last_verification, record_view
from ldtm_dashboard.reading import Reader
from ldtm_lib.audit.proof import prove
from ldtm_lib.audit.publications.protocol import publish_missing
from ldtm_lib.audit.publications.seal_file import seal_file_of
from ldtm_lib.audit.sealing import create_seal, read_seals
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.migrate import migrate
from ldtm_lib.sessions import Calendar
from tests.integration.ledger_rows import LedgerRows

RUN_DATE = date(2013, 1, 2)


@pytest.fixture
def proof(conn: Connection, calendar: Calendar) -> bytes:
    """A proof of a sealed forecast of the record."""
    LedgerRows(conn, calendar).forecast("AAPL", RUN_DATE)
    create_seal(conn)
    conn.commit()
    return json.dumps(prove(conn, "AAPL", RUN_DATE, simulation_id=1).document).encode()


def test_a_proof_of_this_record_is_proven(reader: Reader, proof: bytes) -> None:
    with reader.view() as conn:
        found = verify_upload(conn, proof)
    assert (found.is_proven, found.message) == (
        True,
        "proven: AAPL on 2013-01-02, 1 event in 1 seal of this record",
    )
    assert found.events[0].startswith("forecast: ticker AAPL, run_date 2013-01-02")
    assert found.seals[0].startswith("seal 0 of ")


def test_an_altered_proof_is_not(reader: Reader, proof: bytes) -> None:
    with reader.view() as conn:
        found = verify_upload(conn, proof.replace(b'"next_day_pred": 101.0', b'"next_day_pred": 101.5'))
    assert not found.is_proven
    assert found.message.startswith("not proven: the forecast with number 1 is not the one that seal 0")


def test_a_proof_of_another_record_holds_in_itself_alone(
    proof: bytes, empty_database: Database, calendar: Calendar
) -> None:
    migrate(empty_database, calendar)
    with empty_database.connect() as conn:
        found = verify_upload(conn, proof)
    assert (found.is_proven, found.message) == (
        False,
        "the proof is consistent, but its seal 0 is not a seal of this record",
    )


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"1", b"\xff\xfe", b'{"format": 1}', b"[" * 100_000, b'{"a": 1, "a": 2}', b"x" * (MAX_BYTES + 1)],
    ids=["empty", "list", "number", "bytes", "other", "nested", "twice", "long"],
)
def test_any_other_file_is_refused_with_a_message(reader: Reader, content: bytes) -> None:
    with reader.view() as conn:
        found = verify_upload(conn, content)
    assert not found.is_proven
    assert found.message.startswith(("this file is not a proof of LDTM", "the file has", "not proven: "))


def test_the_file_of_seals_is_compared_with_the_newest_seals(
    reader: Reader, conn: Connection, calendar: Calendar, proof: bytes
) -> None:
    file = seal_file_of(reader.project.settings, reader.project.home)
    with reader.view() as read:
        assert record_view(read, reader.project).published.endswith("`ldtm audit seal` makes one now.")
    publish_missing(file, read_seals(conn))
    LedgerRows(conn, calendar).forecast("MSFT", RUN_DATE)
    conn.commit()
    with reader.view() as read:
        found = record_view(read, reader.project)
    assert (found.num_events, found.num_unsealed, found.seals.height) == (3, 1, 1)
    assert found.published == f"{file.name} holds 1 seal, and the newest 1 equal those of the database."
    assert found.publications == (file.name,)
    (seal,) = read_seals(conn)
    file.path.write_text(file.path.read_text().replace(seal.sha256.hex(), "00" * 32))
    with reader.view() as read:
        assert "contradicts the database: seal 0 was published as 0000" in record_view(read, reader.project).published


def test_without_dagster_nothing_was_verified_by_a_daily_run(reader: Reader) -> None:
    assert last_verification(reader.project) is None
