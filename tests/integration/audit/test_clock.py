"""A clock that went back behind the newest seal: nothing is recorded, so that an honest record stays one."""

from datetime import date

import psycopg
import pytest

from ldtm_lib.audit.sealing import create_seal
from tests.integration.audit.sealed_record import DAYS, Record

LATER = date(2013, 1, 8)
MESSAGE = (
    "the clock of the database is wrong: it says .*, and the newest seal is of .*; correct the clock of the server"
)


@pytest.fixture
def from_the_future(record: Record) -> Record:
    """A record whose newest seal was made by a clock that was an hour ahead."""
    with record.as_owner() as owner:
        owner.execute(
            "update ledger_seal set sealed_at = sealed_at + interval '1 hour'"
            " where seal_id = (select max(seal_id) from ledger_seal)"
        )
    return record


def test_no_event_is_recorded_before_the_newest_seal(from_the_future: Record) -> None:
    rows, conn = from_the_future.rows, from_the_future.conn
    rows.bar("IBM", LATER, 101)
    conn.commit()
    attempts = {
        "forecast": lambda: rows.forecast("IBM", LATER, kind="late"),
        "fill": lambda: conn.execute("update snapshot set next_day_actual = 101 where run_date = %s", (DAYS[-1],)),
        "promotion": lambda: rows.promoted("MSFT", date(2013, 1, 4)),
        "service": lambda: conn.execute(
            "insert into service_entry (ticker, first_session) values ('XYZ', %s)", (LATER,)
        ),
        "simulation": lambda: conn.execute("insert into simulation (origin) values ('a test')"),
    }
    for name, attempt in attempts.items():
        with pytest.raises(psycopg.IntegrityError, match=MESSAGE), conn.transaction():
            attempt()
        assert from_the_future.verify().num_unsealed == 0, name


def test_nothing_is_sealed_before_the_newest_seal(record: Record) -> None:
    record.rows.forecast("IBM", LATER, kind="late")
    record.conn.commit()
    with record.as_owner() as owner:
        owner.execute("update ledger_seal set sealed_at = sealed_at + interval '1 hour' where seal_id = 4")
    with pytest.raises(psycopg.IntegrityError, match=MESSAGE):
        create_seal(record.conn)


def test_a_clock_that_has_passed_the_seal_again_records_as_before(record: Record) -> None:
    record.rows.bar("IBM", LATER, 101)
    record.rows.forecast("IBM", LATER, kind="late")
    record.seal()
    assert record.messages() == []
