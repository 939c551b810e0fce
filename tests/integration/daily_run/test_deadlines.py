"""Who needs a person: while there is time, once, and not any more when it is well again."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from ldtm_lib.daily_run.attempts import begin_attempt, finish_attempt
from ldtm_lib.daily_run.deadlines import check_deadlines, failing_tickers, missed_deadlines
from ldtm_lib.daily_run.pending_partitions import PendingPartition, daily_run_start
from ldtm_lib.database.connection import Connection
from ldtm_lib.sessions import Calendar, exchange_calendar
from ldtm_lib.settings import AutomationConfig, PartitionConfig, Settings
from ldtm_lib.wording import counted
from tests.databases import CountingCursor
from tests.integration.ledger_rows import LedgerRows, enter_service

FRIDAY = date(2026, 11, 20)
OPENS = exchange_calendar().opens_at(date(2026, 11, 23))
CONFIG = AutomationConfig(enabled=True)
SETTINGS = Settings(path=Path("universe.toml"), tickers=("BRK.B",), automation=CONFIG)
MINUTE = timedelta(minutes=1)
WAITS = PendingPartition(
    session=FRIDAY,
    ticker="BRK.B",
    starts_at=daily_run_start(FRIDAY),
    deadline=OPENS,
    lacks_row=True,
    has_new_bar=False,
    is_done=False,
    num_attempts=4,
    last_attempt_at=OPENS - 600 * MINUTE,
    reason="no bar of BRK.B",
)


def test_a_ticker_is_reported_after_its_attempts_with_the_reason_and_its_partition() -> None:
    (alert,) = failing_tickers([WAITS, replace(WAITS, num_attempts=3)], SETTINGS, OPENS - 500 * MINUTE)
    assert (alert.key, alert.kind, alert.severity) == ("ticker/2026-11-20/BRK.B", "ticker", "warning")
    assert (alert.session, alert.subject) == (FRIDAY, "BRK.B")
    assert alert.summary == "failed 4 times: no bar of BRK.B"
    assert alert.link == "/assets/snapshots?view=partitions&partition=2026-11-20%7CBRK.B"
    (alert,) = failing_tickers([WAITS], SETTINGS.replace(partitions=PartitionConfig(by="date")), OPENS - 500 * MINUTE)
    assert alert.link == "/assets/snapshots?view=partitions&partition=2026-11-20"


def test_one_that_is_being_tried_is_reported_only_when_its_run_died() -> None:
    began = OPENS - 500 * MINUTE
    running = replace(WAITS, reason=None, last_attempt_at=began)
    assert failing_tickers([running], SETTINGS, began + 15 * MINUTE) == []
    (alert,) = failing_tickers([running], SETTINGS, began + 16 * MINUTE)
    assert alert.summary == "failed 4 times: its run ended before it recorded a reason; see the runs of daily_job"
    assert failing_tickers([replace(running, is_done=True)], SETTINGS, began + 16 * MINUTE) == []


@pytest.mark.parametrize(("minutes_before", "is_told"), [(121, False), (120, True), (1, True), (0, False)])
def test_a_ticker_without_a_row_is_reported_in_the_last_two_hours_before_the_open(
    minutes_before: int, is_told: bool
) -> None:
    found = missed_deadlines([WAITS], SETTINGS, OPENS - minutes_before * MINUTE)
    assert bool(found) == is_told
    for alert in found:
        assert (alert.key, alert.severity) == ("deadline/2026-11-20/BRK.B", "error")
        assert alert.summary == (
            f"no forecast yet, {counted(minutes_before, 'minute')} before it would be late (2026-11-23 14:30 UTC): "
            "4 attempts: no bar of BRK.B"
        )


def test_a_forecast_that_is_on_record_misses_nothing() -> None:
    assert missed_deadlines([replace(WAITS, lacks_row=False)], SETTINGS, OPENS - 9 * MINUTE) == []


def test_a_row_that_no_run_has_attempted_is_reported_where_nothing_runs_by_itself_as_well() -> None:
    never = replace(WAITS, num_attempts=0, last_attempt_at=None, reason=None)
    moment = OPENS - 9 * MINUTE
    (stopped,) = missed_deadlines([never], SETTINGS.replace(automation=AutomationConfig()), moment)
    assert "no run has attempted it; start daily_schedule and catch_up_sensor" in stopped.summary
    assert len(missed_deadlines([never], SETTINGS, moment)) == 1


@pytest.mark.parametrize("is_on", [False, True])
def test_a_ticker_that_is_not_in_service_misses_no_deadline(
    conn: Connection, settings: Settings, calendar: Calendar, is_on: bool
) -> None:
    newest = calendar.last_closed(datetime.now(UTC))
    shortly_before = calendar.opens_at(calendar.offset(newest, 1)) - MINUTE
    automated = settings.replace(automation=AutomationConfig(enabled=is_on))
    enter_service(conn, "FB", newest)
    enter_service(conn, "IBM", calendar.offset(newest, 1))
    found, _ = check_deadlines(conn, automated, calendar, shortly_before)
    assert [alert.key for alert in found] == [f"deadline/{newest}/FB"]


def test_what_may_be_at_work_is_left_alone_for_five_minutes() -> None:
    moment = OPENS - 60 * MINUTE
    running = replace(WAITS, reason=None, last_attempt_at=moment - 4 * MINUTE)
    never = replace(WAITS, num_attempts=0, last_attempt_at=None, reason=None)
    assert missed_deadlines([running, never], SETTINGS, moment, moment - 4 * MINUTE) == []
    assert len(missed_deadlines([running, never], SETTINGS, moment + MINUTE, moment - 4 * MINUTE)) == 2
    assert len(missed_deadlines([never], SETTINGS, moment)) == 1


def test_a_watch_is_as_many_statements_for_fifty_tickers_as_for_one(
    conn: Connection, settings: Settings, calendar: Calendar
) -> None:
    newest = calendar.last_closed(datetime.now(UTC))
    shortly_before = calendar.opens_at(calendar.offset(newest, 1)) - MINUTE
    conn.cursor_factory = CountingCursor

    def num_statements(num_tickers: int) -> int:
        automated = settings.replace(automation=CONFIG, tickers=tuple(f"T{number}" for number in range(num_tickers)))
        for ticker in automated.tickers:
            enter_service(conn, ticker, newest)
        CountingCursor.num_statements = 0
        found, _ = check_deadlines(conn, automated, calendar, shortly_before)
        assert len(found) == num_tickers
        return CountingCursor.num_statements

    assert num_statements(1) == num_statements(50) == 3


def test_an_alert_of_a_bar_that_is_given_up_is_resolved_as_given_up(
    conn: Connection, settings: Settings, calendar: Calendar, ledger_rows: LedgerRows
) -> None:
    """As after a day's halt: there is no bar of it, and never will be."""
    halt = calendar.offset(calendar.last_closed(datetime.now(UTC)), -12)
    for back in range(13):
        for ticker in settings.tickers:
            ledger_rows.abstention(ticker, calendar.offset(halt, back), kind="late")
    for _ in range(5):
        begin_attempt(conn, [(halt, "IBM")])
        finish_attempt(conn, done=[], failed={(halt, "IBM"): "there is no bar of IBM"})
    conn.execute("update daily_attempt set last_attempt_at = %s", (calendar.closes_at(halt) + 600 * MINUTE,))
    key = f"ticker/{halt}/IBM"

    def watch(num_sessions: int) -> tuple[list[str], list[str]]:
        moment = calendar.closes_at(calendar.offset(halt, num_sessions)) + 240 * MINUTE
        found, ended = check_deadlines(conn, settings, calendar, moment)
        return [alert.key for alert in found], ended

    assert settings.ledger.void_after_sessions == 10
    assert [watch(0), watch(10), watch(11), watch(12)] == [([key], []), ([key], []), ([], [key]), ([], [])]
    [(summary, is_over)] = conn.execute("select summary, resolved_at is not null from alert").fetchall()
    assert (summary, is_over) == ("given up: failed 5 times: there is no bar of IBM", True)


def test_a_deadline_that_a_row_made_by_hand_has_met_is_over_and_not_given_up(
    conn: Connection, settings: Settings, calendar: Calendar, ledger_rows: LedgerRows
) -> None:
    automated = settings.replace(automation=CONFIG, tickers=("IBM",))
    newest = calendar.last_closed(datetime.now(UTC))
    shortly_before = calendar.opens_at(calendar.offset(newest, 1)) - MINUTE
    enter_service(conn, "IBM", newest)
    check_deadlines(conn, automated, calendar, shortly_before)
    ledger_rows.abstention("IBM", newest)
    assert check_deadlines(conn, automated, calendar, shortly_before)[1] == [], "a simulated row meets no deadline"
    ledger_rows.abstention("IBM", newest, kind="late")
    assert check_deadlines(conn, automated, calendar, shortly_before) == ([], [f"deadline/{newest}/IBM"])
    [(summary,)] = conn.execute("select summary from alert").fetchall()
    assert summary.startswith("no forecast yet")


def test_alerts_are_raised_once_and_resolved_when_the_session_is_complete(
    conn: Connection, settings: Settings, calendar: Calendar
) -> None:
    automated = settings.replace(automation=CONFIG)
    newest = calendar.last_closed(datetime.now(UTC))
    opens = calendar.opens_at(calendar.offset(newest, 1))
    partitions = [(newest, ticker) for ticker in settings.tickers]
    for ticker in settings.tickers:
        enter_service(conn, ticker, newest)
    for _ in range(4):
        begin_attempt(conn, partitions)
    finish_attempt(conn, done=[], failed=dict.fromkeys(partitions, "no bar"))
    for _ in range(2):
        found, ended = check_deadlines(conn, automated, calendar, opens - 30 * MINUTE)
        assert (len(found), ended) == (10, [])
    states = "select kind, count(*), count(resolved_at) from alert group by kind order by kind"
    assert conn.execute(states).fetchall() == [("deadline", 5, 0), ("ticker", 5, 0)]
    finish_attempt(conn, done=partitions[1:], failed={partitions[0]: "no bar"})
    _, ended = check_deadlines(conn, automated, calendar, opens - 20 * MINUTE)
    assert len(ended) == 8
    assert conn.execute(states).fetchall() == [("deadline", 5, 4), ("ticker", 5, 4)]
