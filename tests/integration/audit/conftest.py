"""Sealed records for the tests of the audit."""

from datetime import date
from pathlib import Path

import pytest

from ldtm_lib.audit.publications.seal_file import SealFile
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.sessions import Calendar
from tests.integration.audit.sealed_record import DAYS, Record
from tests.integration.ledger_rows import LedgerRows


@pytest.fixture
def empty_record(
    database: Database, conn: Connection, calendar: Calendar, ledger_rows: LedgerRows, tmp_path: Path
) -> Record:
    return Record(database, conn, calendar, ledger_rows, SealFile(path=tmp_path / "seals.jsonl"))


@pytest.fixture
def record(empty_record: Record) -> Record:
    empty_record.rows.promoted("AAPL", date(2012, 12, 28))
    for day in DAYS:
        empty_record.daily_run(day)
    empty_record.rows.promoted("AAPL", date(2013, 1, 4))
    empty_record.seal()
    return empty_record
