"""Entry into service: the session from which on a ticker has a row, put on record once and never postponed."""

import copy
import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import psycopg
import pytest

from ldtm_lib.audit.verify import verify
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.ledger.service import first_sessions, not_in_service
from ldtm_lib.sessions import Calendar
from tests.integration.environment import NEXT_DAY, RUN_DATE, ForecastEnvironment
from tests.integration.ledger_rows import LedgerRows, enter_service

VERDICTS = """insert into gate_verdict (ticker, trained_on, passed, rules)
    select * from unnest(%s::text[], %s::date[], %s::boolean[], %s::jsonb[])"""


@pytest.fixture
def coming(calendar: Calendar) -> date:
    """The first session that closes after now."""
    return calendar.offset(calendar.last_closed(datetime.now(UTC)), 1)


def judge(conn: Connection, *verdicts: tuple[str, date | None, bool]) -> None:
    """Record some verdicts with one statement."""
    tickers, trained_on, passed = (list(column) for column in zip(*verdicts, strict=True))
    conn.execute(VERDICTS, (tickers, trained_on, passed, [json.dumps([])] * len(verdicts)))


@pytest.mark.parametrize("passed", [True, False])
def test_the_first_verdict_on_a_training_puts_a_ticker_in_service_whether_or_not_it_passed(
    conn: Connection, ledger_rows: LedgerRows, coming: date, passed: bool
) -> None:
    ledger_rows.verdict("AAPL", passed=passed, reasons=[] if passed else ["49% < 52%"])
    entry = conn.execute(
        """select ticker, first_session, verdict_id = (select verdict_id from gate_verdict),
            entered_at > clock_timestamp() - interval '1 minute' from service_entry"""
    ).fetchall()
    assert entry == [("AAPL", coming, True, True)]


def test_a_verdict_without_a_training_puts_nobody_in_service(conn: Connection) -> None:
    judge(conn, ("AAPL", None, False))
    assert first_sessions(conn, ["AAPL"]) == {}


def test_a_ticker_enters_once_with_its_first_verdict(conn: Connection, coming: date) -> None:
    day = date(2013, 1, 2)
    judge(conn, ("AAPL", None, False), ("MSFT", day, False), ("AAPL", day, False), ("AAPL", day, True))
    judge(conn, ("MSFT", day, True), ("IBM", day, True))
    entries = conn.execute("select ticker, verdict_id from service_entry order by ticker").fetchall()
    first = dict(
        conn.execute(
            "select ticker, min(verdict_id) from gate_verdict where trained_on is not null group by ticker"
        ).fetchall()
    )
    assert dict(entries) == first
    assert first_sessions(conn, first) == dict.fromkeys(("AAPL", "IBM", "MSFT"), coming)
    with pytest.raises(psycopg.errors.UniqueViolation):
        conn.execute("insert into service_entry (ticker) values ('AAPL')")


def test_an_entry_is_dated_back_and_never_postponed(conn: Connection, calendar: Calendar, coming: date) -> None:
    for ticker, asked in (("BACK", RUN_DATE), ("AHEAD", calendar.offset(coming, 5)), ("UNDATED", None)):
        conn.execute(
            "insert into service_entry (ticker, first_session, entered_at) values (%s, %s, '2000-01-03')",
            (ticker, asked),
        )
    assert first_sessions(conn, ["BACK", "AHEAD", "UNDATED"]) == {"BACK": RUN_DATE, "AHEAD": coming, "UNDATED": coming}
    recent = "select bool_and(entered_at > clock_timestamp() - interval '1 minute') from service_entry"
    assert conn.execute(recent).fetchone() == (True,)
    assert not_in_service(conn, ["UNDATED", "NEVER", "BACK"], RUN_DATE) == ["UNDATED", "NEVER"]
    assert not_in_service(conn, ["UNDATED", "NEVER", "BACK"], calendar.offset(RUN_DATE, -1)) == [
        *("UNDATED", "NEVER", "BACK")
    ]


@pytest.mark.parametrize(
    "attack", ["update service_entry set first_session = '2020-01-02'", "delete from service_entry", "truncate {}"]
)
def test_an_entry_is_never_changed_or_removed(conn: Connection, attack: str) -> None:
    enter_service(conn, "AAPL", RUN_DATE)
    with pytest.raises(psycopg.IntegrityError, match="rows of service_entry are never changed or removed"):
        conn.execute(attack.format("service_entry").encode())


def test_the_database_refuses_a_row_of_a_ticker_that_is_not_in_service(
    conn: Connection, ledger_rows: LedgerRows, calendar: Calendar
) -> None:
    row = """insert into snapshot (ticker, run_date, next_day_session, next_monday_session, one_month_session,
        abstained_reason, bars_recorded_until) values ('AAPL', %s, %s, %s, %s, 'x', clock_timestamp())"""
    values = (RUN_DATE, *calendar.targets(RUN_DATE).as_tuple())
    refusal = "AAPL is not in service on 2013-01-11: it enters service with the first verdict of the gate"
    with pytest.raises(psycopg.IntegrityError, match=refusal), conn.transaction():
        conn.execute(row, values)
    by = ledger_rows.open_the_session_after(RUN_DATE, timedelta(hours=1))
    enter_service(conn, "AAPL", NEXT_DAY)
    with pytest.raises(psycopg.IntegrityError, match=refusal), conn.transaction():
        conn.execute(row, values)
    ledger_rows.move_the_calendar(-by)
    conn.execute(row, values)
    assert conn.execute("select kind from snapshot").fetchall() == [("late",)], "by hand, and never live"


def test_a_daily_run_leaves_out_tickers_that_are_not_in_service_and_names_them(
    environment: ForecastEnvironment, ledger_rows: LedgerRows
) -> None:
    environment.deliver(environment.bars(["AAPL", "MSFT"]))
    environment.make_windows(["AAPL", "MSFT"])
    report = environment.take("AAPL", "MSFT", simulated=False)
    assert (report.not_in_service, report.rows, report.written) == (("AAPL", "MSFT"), (), ())
    assert [row.kind for row in environment.take("AAPL").rows] == ["simulated"], "a simulation needs no service"
    by = ledger_rows.open_the_session_after(RUN_DATE, timedelta(hours=1))
    enter_service(environment.conn, "AAPL", RUN_DATE)
    enter_service(environment.conn, "MSFT", NEXT_DAY)
    moved = copy.copy(environment.calendar)
    moved._opens = moved._opens + np.timedelta64(round(by.total_seconds()), "s")
    report = replace(environment, calendar=moved).take("AAPL", "MSFT", simulated=False)
    assert (report.not_in_service, [(row.ticker, row.kind) for row in report.rows]) == (("MSFT",), [("AAPL", "live")])
    environment.conn.commit()
    ledger_rows.move_the_calendar(-by)
    report = environment.take("AAPL", "MSFT", simulated=False)
    assert report.not_in_service == ()
    assert [(row.ticker, row.kind) for row in report.rows] == [("AAPL", "live"), ("MSFT", "late")]


@pytest.mark.parametrize(
    ("attack", "found"),
    [
        (
            "update service_entry set first_session = '2013-01-14' where ticker = 'AAPL'",
            "the service of AAPL (event 0) was altered after it was recorded",
        ),
        (
            "delete from service_entry where ticker = 'MSFT'",
            "the service of MSFT (event 1) was recorded and is missing",
        ),
        (
            "insert into service_entry values ('IBM', '2013-01-11', null, now())",
            "the service of IBM was never recorded as an event: it bypassed the chain",
        ),
    ],
)
def test_an_entry_that_the_tables_owner_touched_is_found(
    database: Database, conn: Connection, calendar: Calendar, attack: str, found: str
) -> None:
    for ticker in ("AAPL", "MSFT"):
        enter_service(conn, ticker, RUN_DATE)
    conn.commit()
    assert verify(database, calendar).is_intact
    conn.execute("alter table service_entry disable trigger all")
    conn.execute(attack.encode())
    conn.execute("alter table service_entry enable trigger all")
    conn.commit()
    assert [each.message for each in verify(database, calendar).discrepancies] == [found]
