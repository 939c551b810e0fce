"""Freshness of a session: what must be there by the next open, holidays and early closes included."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from ldtm_lib.daily_run.freshness import freshness, not_retrained
from ldtm_lib.database.connection import Connection
from ldtm_lib.errors import CalendarError
from ldtm_lib.ledger.fillbacks import fill
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import AutomationConfig, LedgerConfig, PartitionConfig, Settings
from tests.integration.ledger_rows import LedgerRows, enter_service

THURSDAY, FRIDAY, TUESDAY = date(2013, 1, 17), date(2013, 1, 18), date(2013, 1, 22)
"""Monday 2013-01-21 is a holiday."""
DAY_AFTER_THANKSGIVING = date(2012, 11, 23)
"""Closes at 13:00."""


def bring(rows: LedgerRows, tickers: Sequence[str], session: date, kind: str = "late") -> None:
    for ticker in tickers:
        rows.bar(ticker, session, 100)
        rows.forecast(ticker, session, kind=kind)


def test_a_session_with_every_bar_and_row_is_complete(
    conn: Connection, ledger_rows: LedgerRows, settings: Settings, calendar: Calendar
) -> None:
    bring(ledger_rows, settings.tickers[1:], FRIDAY)
    ledger_rows.bar("AAPL", FRIDAY, 100)
    ledger_rows.abstention("AAPL", FRIDAY, kind="late")
    for ticker in settings.tickers[:3]:
        ledger_rows.forecast(ticker, FRIDAY, kind="simulated")
    found = freshness(conn, settings, FRIDAY)
    assert found.is_complete
    assert found.is_overdue
    assert (found.num_tickers, found.num_bars, found.num_rows) == (5, 5, 5)
    assert (found.num_live, found.late, found.num_simulated, found.num_abstained) == (*(0, [*settings.tickers], 3, 1),)
    assert found.session == FRIDAY
    assert found.deadline == calendar.opens_at(TUESDAY)


def test_what_is_missing_is_named_in_the_order_of_the_universe(
    conn: Connection, ledger_rows: LedgerRows, settings: Settings
) -> None:
    bring(ledger_rows, ["FB", "MSFT"], FRIDAY)
    ledger_rows.bar("IBM", FRIDAY, 100)
    bring(ledger_rows, settings.tickers, THURSDAY)
    found = freshness(conn, settings.replace(tickers=tuple(reversed(settings.tickers))), FRIDAY)
    assert found.without_bar == ["GOOG", "AAPL"]
    assert found.without_row == ["IBM", "GOOG", "AAPL"]
    assert not found.is_complete


def test_in_an_empty_database_every_bar_is_missing_and_no_row_is_due(conn: Connection, settings: Settings) -> None:
    found = freshness(conn, settings)
    assert (found.without_bar, found.without_row, found.unfilled) == ([*settings.tickers], [], [])
    assert (found.not_in_service, found.num_rows, found.is_silent) == ([*settings.tickers], 0, False)


def test_rows_are_missing_of_tickers_in_service_alone(
    conn: Connection, ledger_rows: LedgerRows, settings: Settings
) -> None:
    for ticker in settings.tickers:
        ledger_rows.bar(ticker, FRIDAY, 100)
    enter_service(conn, "FB", FRIDAY)
    enter_service(conn, "GOOG", TUESDAY)
    ledger_rows.abstention("IBM", FRIDAY)
    found = freshness(conn, settings, FRIDAY)
    assert (found.without_row, found.not_in_service) == (["FB"], ["AAPL", "GOOG", "IBM", "MSFT"])
    assert (found.num_tickers, found.num_rows, found.num_simulated) == (5, 0, 1)
    assert not found.is_complete
    ledger_rows.abstention("FB", FRIDAY, kind="late")
    found = freshness(conn, settings, FRIDAY)
    assert (found.is_complete, found.num_rows, found.is_silent) == (True, 1, True)


def test_sessions_after_the_last_partition_miss_nothing(
    conn: Connection, ledger_rows: LedgerRows, settings: Settings
) -> None:
    bring(ledger_rows, settings.tickers, THURSDAY)
    until_thursday = settings.replace(
        partitions=settings.partitions.replace(first_session=THURSDAY, last_session=THURSDAY)
    )
    newest = freshness(conn, until_thursday)
    assert (newest.session, newest.num_tickers, newest.is_complete) == (THURSDAY, 5, True)
    assert freshness(conn, settings).session > FRIDAY, "without an end of the partitions the newest session counts"
    after = freshness(conn, until_thursday, FRIDAY)
    assert (after.session, after.num_tickers, after.is_complete, after.is_silent) == (FRIDAY, 0, True, False)
    assert freshness(conn, settings, FRIDAY).without_bar == [*settings.tickers]


def test_no_retraining_is_due_after_the_last_partition(
    conn: Connection, ledger_rows: LedgerRows, settings: Settings
) -> None:
    ledger_rows.bar("AAPL", FRIDAY, 100)
    conn.execute("alter table bar disable trigger all")
    conn.execute("update bar set recorded_at = recorded_at - interval '1 year'")
    conn.execute("alter table bar enable trigger all")
    assert not_retrained(conn, settings, FRIDAY) == ["AAPL never"]
    ended = settings.replace(partitions=settings.partitions.replace(first_session=THURSDAY, last_session=FRIDAY))
    assert not_retrained(conn, ended, FRIDAY) == []


def test_a_ticker_that_left_is_not_expected_and_its_actuals_are(
    conn: Connection, ledger_rows: LedgerRows, settings: Settings
) -> None:
    bring(ledger_rows, settings.tickers, THURSDAY)
    bring(ledger_rows, settings.tickers[:-1], FRIDAY)
    fill(conn, as_of=FRIDAY, config=LedgerConfig())
    left = settings.replace(retired={"MSFT": FRIDAY})
    assert freshness(conn, settings, FRIDAY).without_row == ["MSFT"]
    assert freshness(conn, left, FRIDAY).is_complete
    assert freshness(conn, settings.replace(retired={"MSFT": TUESDAY}), FRIDAY).without_bar == ["MSFT"]
    ledger_rows.bar("MSFT", FRIDAY, 100)
    assert freshness(conn, left, FRIDAY).unfilled == ["MSFT 2013-01-17, next day"]
    everybody_left = freshness(conn, settings.replace(retired=dict.fromkeys(settings.tickers, FRIDAY)), FRIDAY)
    assert (everybody_left.session, everybody_left.num_tickers) == (FRIDAY, 0)


def test_an_actual_is_missing_only_while_its_bar_is_there_and_its_session_is_not_ahead(
    conn: Connection, ledger_rows: LedgerRows, settings: Settings
) -> None:
    ledger_rows.forecast("AAPL", THURSDAY)
    assert freshness(conn, settings, FRIDAY).unfilled == [], "there is no bar yet"
    ledger_rows.bar("AAPL", FRIDAY, 100)
    ledger_rows.bar("AAPL", TUESDAY, 100)
    assert freshness(conn, settings, THURSDAY).unfilled == []
    assert freshness(conn, settings, FRIDAY).unfilled == ["AAPL 2013-01-17, next day"]
    assert freshness(conn, settings, TUESDAY).unfilled == ["AAPL 2013-01-17, next day", "AAPL 2013-01-17, next monday"]
    fill(conn, as_of=TUESDAY, config=LedgerConfig())
    assert freshness(conn, settings, TUESDAY).unfilled == []


def test_a_bar_from_before_the_close_is_none(
    conn: Connection, ledger_rows: LedgerRows, settings: Settings, calendar: Calendar
) -> None:
    minute = timedelta(minutes=1)
    conn.execute("alter table bar disable trigger user")
    for ticker, recorded_at in (("AAPL", calendar.closes_at(FRIDAY) - minute), ("FB", calendar.closes_at(FRIDAY))):
        conn.execute("insert into bar values (%s, %s, %s, 1, 1, 1, 1, 1, 'test')", (ticker, FRIDAY, recorded_at))
    assert freshness(conn, settings, FRIDAY).without_bar == ["AAPL", "GOOG", "IBM", "MSFT"]


@pytest.mark.parametrize(("ahead", "is_overdue"), [(timedelta(hours=1), False), (-timedelta(minutes=5), True)])
def test_the_deadline_is_the_next_open_across_a_holiday(
    conn: Connection, ledger_rows: LedgerRows, settings: Settings, ahead: timedelta, is_overdue: bool
) -> None:
    ledger_rows.open_the_session_after(FRIDAY, ahead)
    bring(ledger_rows, settings.tickers, FRIDAY, kind="live")
    found = freshness(conn, settings)
    assert (found.session, found.is_overdue) == (FRIDAY, is_overdue)
    assert abs(found.deadline - datetime.now(UTC) - ahead) < timedelta(minutes=1)
    expected = (0, [*settings.tickers]) if is_overdue else (5, [])
    assert (found.num_live, found.late) == expected


def test_an_early_close_has_its_daily_run_from_then_on(
    conn: Connection, ledger_rows: LedgerRows, settings: Settings
) -> None:
    """67 hours before Monday's open it is Friday, 14:30 in New York."""
    ledger_rows.open_the_session_after(DAY_AFTER_THANKSGIVING, timedelta(hours=67))
    found = freshness(conn, settings)
    assert (found.session, found.is_overdue) == (DAY_AFTER_THANKSGIVING, False)
    ledger_rows.move_the_calendar(timedelta(hours=2))
    assert freshness(conn, settings).session == date(2012, 11, 21)


@pytest.mark.parametrize("day", [date(2013, 1, 21), date(2013, 1, 19), date.max])
def test_what_is_no_session_or_has_not_closed_is_refused(conn: Connection, settings: Settings, day: date) -> None:
    with pytest.raises(CalendarError, match=f"{day} is not a closed session"):
        freshness(conn, settings, day)


def test_a_database_without_a_calendar_says_so(conn: Connection, settings: Settings) -> None:
    conn.execute("alter table trading_session disable trigger user")
    conn.execute("delete from trading_session")
    with pytest.raises(CalendarError, match="no session has closed by the database's calendar"):
        freshness(conn, settings)


def test_a_ticker_must_be_judged_within_days_of_new_bars_and_one_without_any_need_not(
    conn: Connection, ledger_rows: LedgerRows, settings: Settings
) -> None:
    for table in ("bar", "gate_verdict"):
        conn.execute(f"alter table {table} disable trigger user")
    for session in (THURSDAY, FRIDAY):
        for ticker in ("AAPL", "FB", "GOOG", "IBM"):
            ledger_rows.bar(ticker, session, 100)
    conn.execute("update bar set recorded_at = now() - interval '9 days' where ticker <> 'FB'")

    def judged(ticker: str, trained_on: date | None, days_ago: int) -> None:
        conn.execute(
            "insert into gate_verdict (ticker, trained_on, passed, rules, decided_at)"
            " values (%s, %s, false, '[]', now() - %s * interval '1 day')",
            (ticker, trained_on, days_ago),
        )

    never = ["AAPL never", "GOOG never", "IBM never"]
    assert not_retrained(conn, settings, FRIDAY) == never, "FB's bars came just now, and MSFT has none"
    judged("AAPL", None, 20)
    assert not_retrained(conn, settings, FRIDAY) == never, "that there was no training is no training"
    for ticker in ("AAPL", "GOOG", "IBM"):
        judged(ticker, THURSDAY, 20)
    day = datetime.now(UTC).date() - timedelta(days=20)
    assert not_retrained(conn, settings, FRIDAY) == [f"{ticker} since {day}" for ticker in ("AAPL", "GOOG", "IBM")]
    judged("AAPL", FRIDAY, 20)
    judged("GOOG", FRIDAY, 7)
    assert not_retrained(conn, settings, FRIDAY) == [f"IBM since {day}"], "AAPL has no bar that is new"
    assert not_retrained(conn, settings.replace(retired={"IBM": FRIDAY}), FRIDAY) == []
    patient = settings.replace(automation=AutomationConfig(max_training_age_days=21))
    assert not_retrained(conn, patient, FRIDAY) == []


def test_it_is_one_statement_however_many_tickers(
    conn: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    execute = psycopg.Cursor.execute

    def counted(cursor: psycopg.Cursor, query: object, *given: object, **options: object) -> object:
        asked.append(query)
        return execute(cursor, query, *given, **options)  # pyright: ignore

    monkeypatch.setattr(psycopg.Cursor, "execute", counted)
    many = settings.replace(tickers=tuple(f"T{number}" for number in range(500)), partitions=PartitionConfig(by="date"))
    assert len(freshness(conn, many, FRIDAY).not_in_service) == 500
    assert len(asked) == 1
    assert not_retrained(conn, many, FRIDAY) == []
    assert len(asked) == 2
