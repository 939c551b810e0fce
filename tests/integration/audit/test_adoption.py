"""A record from before there was a chain becomes the beginning of it."""

import shutil
from datetime import date
from pathlib import Path

from ldtm_lib.audit import seals
from ldtm_lib.audit.proof import prove
from ldtm_lib.audit.verify import verify
from ldtm_lib.database.connection import Database
from ldtm_lib.database.migrate import SCHEMA_FOLDER, migrate
from ldtm_lib.ledger.fillbacks import fill
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import LedgerConfig
from tests.integration.audit.verifier import verifier
from tests.integration.ledger_rows import LedgerRows

DAYS = (date(2013, 1, 2), date(2013, 1, 3), date(2013, 1, 4))
LAST_BEFORE_THE_CHAIN = "0007"


def test_what_was_on_record_before_comes_first_and_verifies(
    empty_database: Database, calendar: Calendar, tmp_path: Path
) -> None:
    before = tmp_path / "before"
    before.mkdir()
    for file in SCHEMA_FOLDER.glob("*.sql"):
        if file.name[:4] <= LAST_BEFORE_THE_CHAIN:
            shutil.copy(file, before)
    migrate(empty_database, calendar, before)
    with empty_database.connect() as conn:
        rows = LedgerRows(conn, calendar)
        rows.promoted("AAPL", date(2012, 12, 28))
        for day in DAYS[:2]:
            for ticker in ("AAPL", "IBM"):
                rows.bar(ticker, day, 100 + day.day)
                rows.forecast(ticker, day, close=100 + day.day)
            rows.abstention("FB", day)
        rows.promoted("AAPL", DAYS[0])
        conn.execute("update snapshot set next_day_actual = 103 where run_date = '2013-01-02' and ticker <> 'FB'")
        conn.commit()
    migrate(empty_database, calendar)
    report = verify(empty_database, calendar)
    assert (report.discrepancies, report.num_events, report.num_unsealed) == ((), 6 + 2 + 3, 11)
    with empty_database.connect() as conn:
        assert seals.close(conn) == 0
        conn.commit()
        rows = LedgerRows(conn, calendar)
        for ticker in ("AAPL", "IBM"):
            rows.bar(ticker, DAYS[2], 90)
        assert fill(conn, as_of=DAYS[2], config=LedgerConfig()).num_filled == 2
        assert seals.close(conn) == 1
        conn.commit()
        assert verifier.check(prove(conn, "IBM", DAYS[1]).document)
        assert len(prove(conn, "IBM", DAYS[0]).document["events"]) == 2
    report = verify(empty_database, calendar)
    assert (report.discrepancies, report.num_events, report.num_seals) == ((), 13, 2)
