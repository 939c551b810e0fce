"""Pending partitions, read from the tables alone."""

import time
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from ldtm_lib.daily_run.attempts import begin_attempt, finish_attempt
from ldtm_lib.daily_run.freshness import sessions_with_gaps
from ldtm_lib.daily_run.pending_partitions import PendingPartition, daily_run_start, pending_partitions
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import LedgerConfig, PartitionConfig, Settings
from tests.databases import CountingCursor
from tests.integration.daily_run.reading import ReadPending
from tests.integration.ledger_rows import LedgerRows, enter_service

TICKERS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")


def keys(partitions: list[PendingPartition]) -> list[tuple[date, str]]:
    return [(partition.session, partition.ticker) for partition in partitions]


def test_nothing_is_pending_of_a_ticker_before_it_enters_service(
    read_pending: ReadPending, newest: date, calendar: Calendar, conn: Connection
) -> None:
    begin_attempt(conn, [(newest, "IBM")])
    finish_attempt(conn, done=[], failed={(newest, "IBM"): "no bar of IBM"})
    assert read_pending() == []
    for ticker in TICKERS[:-1]:
        enter_service(conn, ticker, newest)
    enter_service(conn, "MSFT", calendar.offset(newest, 1))
    partitions = read_pending()
    assert keys(partitions) == [(newest, ticker) for ticker in TICKERS[:-1]]
    assert all(partition.lacks_row for partition in partitions)
    assert [partition.num_attempts for partition in partitions] == [0, 0, 0, 1]


def test_a_ticker_is_caught_up_from_its_entry_into_service_on_and_simulated_rows_are_none(
    read_pending: ReadPending, newest: date, ledger_rows: LedgerRows, calendar: Calendar, conn: Connection
) -> None:
    sessions = [calendar.offset(newest, -back) for back in range(6, -1, -1)]
    enter_service(conn, "IBM", sessions[2])
    ledger_rows.abstention("IBM", sessions[3], kind="late")
    for session in sessions:
        ledger_rows.abstention("IBM", session, kind="simulated")
    assert keys(read_pending()) == [(session, "IBM") for session in (sessions[2], *sessions[4:])]


@pytest.mark.parametrize("recorded", ["in time", "before its next close", "years later"])
def test_a_row_of_a_session_before_the_entry_into_service_obliges_to_nothing(
    read_pending: ReadPending,
    newest: date,
    ledger_rows: LedgerRows,
    calendar: Calendar,
    conn: Connection,
    recorded: str,
) -> None:
    old, following = calendar.offset(newest, -20), calendar.offset(newest, -19)
    enter_service(conn, "IBM", calendar.offset(following, 1))
    ledger_rows.abstention("IBM", old, kind="late")
    begin_attempt(conn, [(old, "IBM")])
    finish_attempt(conn, done=[(old, "IBM")], failed={})
    conn.execute("alter table snapshot disable trigger user")
    conn.execute(
        "update snapshot set kind = %s, recorded_at = %s, bars_recorded_until = '2000-01-01'",
        {
            "in time": ("live", daily_run_start(old)),
            "before its next close": ("late", calendar.closes_at(following) - timedelta(hours=1)),
            "years later": ("late", datetime.now(UTC)),
        }[recorded],
    )
    found = [partition.session for partition in read_pending() if partition.ticker == "IBM"]
    assert found == calendar.between(following, newest)[1:]
    gaps = sessions_with_gaps(conn, [("IBM", session) for session in calendar.between(old, newest)])
    assert gaps == {*found}, "a check and the catch-up mean the same"


def test_what_lies_further_back_than_partitions_reach_is_left(
    read_pending: ReadPending, newest: date, calendar: Calendar, settings: Settings, conn: Connection
) -> None:
    enter_service(conn, "IBM", calendar.offset(newest, -40))
    two = settings.replace(partitions=PartitionConfig(first_session=calendar.offset(newest, -1)))
    assert len([partition for partition in read_pending(with_settings=two) if partition.ticker == "IBM"]) == 2
    of_2013 = PartitionConfig(first_session=date(2013, 1, 17), last_session=date(2013, 3, 1))
    assert read_pending(with_settings=settings.replace(partitions=of_2013)) == []


def test_an_outage_longer_than_the_look_back_is_caught_up_from_its_beginning(
    read_pending: ReadPending, newest: date, ledger_rows: LedgerRows, calendar: Calendar, conn: Connection
) -> None:
    last_session = calendar.offset(newest, -40)
    ledger_rows.abstention("IBM", last_session, kind="late")
    assert [partition.session for partition in read_pending() if partition.ticker == "IBM"] == calendar.between(
        last_session, newest
    )[1:]


def test_missed_sessions_are_not_forgotten_when_newer_ones_are_made_before_them(
    read_pending: ReadPending, newest: date, ledger_rows: LedgerRows, calendar: Calendar, conn: Connection
) -> None:
    sessions = calendar.between(calendar.offset(newest, -60), newest)
    for ticker in TICKERS:
        ledger_rows.abstention(ticker, sessions[0], kind="late")
    ledger_rows.abstention("AAPL", newest, kind="late")
    ledger_rows.abstention("IBM", sessions[1], kind="late")
    begin_attempt(conn, [(newest, "AAPL")])
    finish_attempt(conn, done=[(newest, "AAPL")], failed={})
    found = keys(read_pending())
    assert [day for day, ticker in found if ticker == "FB"] == sessions[1:]
    assert [day for day, ticker in found if ticker == "AAPL"] == sessions[1:-1]
    assert [day for day, ticker in found if ticker == "IBM"] == sessions[2:]


def test_of_a_ticker_that_left_during_an_outage_only_the_sessions_before_are_missed(
    read_pending: ReadPending,
    newest: date,
    ledger_rows: LedgerRows,
    calendar: Calendar,
    conn: Connection,
    settings: Settings,
) -> None:
    sessions = calendar.between(calendar.offset(newest, -60), newest)
    ledger_rows.abstention("IBM", sessions[0], kind="late")
    left = settings.replace(retired={"IBM": sessions[9]})
    assert [day for day, ticker in keys(read_pending(with_settings=left)) if ticker == "IBM"] == sessions[1:9]


def test_a_ticker_that_left_lacks_no_row(read_pending: ReadPending, newest: date, settings: Settings) -> None:
    assert "IBM" not in {
        partition.ticker for partition in read_pending(with_settings=settings.replace(retired={"IBM": newest}))
    }


def test_what_was_tried_in_vain_of_a_ticker_that_left_is_open_no_more_unless_there_is_something_to_fill(
    read_pending: ReadPending,
    newest: date,
    ledger_rows: LedgerRows,
    conn: Connection,
    calendar: Calendar,
    settings: Settings,
) -> None:
    for ticker in TICKERS:
        enter_service(conn, ticker, newest)
    begin_attempt(conn, [(newest, "IBM"), (newest, "MSFT"), (newest, "FB")])
    finish_attempt(conn, done=[], failed={(newest, "IBM"): "no bar", (newest, "MSFT"): "no bar"})
    left = settings.replace(retired=dict.fromkeys(("FB", "IBM", "MSFT"), newest))
    assert {partition.ticker for partition in read_pending(with_settings=left)} == {"AAPL", "GOOG"}
    ledger_rows.forecast("MSFT", calendar.offset(newest, -1))
    ledger_rows.bar("MSFT", newest, 100)
    assert {partition.ticker for partition in read_pending(with_settings=left)} == {"AAPL", "GOOG", "MSFT"}


def test_a_complete_session_is_not_pending_and_one_that_waits_or_was_killed_is(
    read_pending: ReadPending, newest: date, ledger_rows: LedgerRows, conn: Connection
) -> None:
    for ticker in TICKERS:
        ledger_rows.abstention(ticker, newest, kind="late")
    begin_attempt(conn, [(newest, ticker) for ticker in TICKERS[:3]])
    finish_attempt(conn, done=[(newest, "AAPL")], failed={(newest, "FB"): "no bar of FB"})
    waits, killed = read_pending()
    assert (waits.ticker, waits.reason, waits.lacks_row, waits.num_attempts) == ("FB", "no bar of FB", False, 1)
    assert (killed.ticker, killed.reason, killed.is_done, killed.num_attempts) == ("GOOG", None, False, 1)


def test_a_partition_that_was_tried_and_has_no_row_stays_pending_when_newer_sessions_close(
    read_pending: ReadPending, newest: date, conn: Connection, calendar: Calendar
) -> None:
    before = calendar.offset(newest, -4)
    enter_service(conn, "IBM", before)
    begin_attempt(conn, [(before, "IBM")])
    finish_attempt(conn, done=[], failed={(before, "IBM"): "no bar"})
    assert (before, "IBM") in keys(read_pending())


def test_a_bar_is_waited_for_until_its_actual_is_void_unless_it_comes(
    read_pending: ReadPending,
    newest: date,
    ledger_rows: LedgerRows,
    conn: Connection,
    calendar: Calendar,
    settings: Settings,
) -> None:
    before = calendar.offset(newest, -6)
    ledger_rows.abstention("IBM", before, kind="late")
    begin_attempt(conn, [(before, "IBM")])
    finish_attempt(conn, done=[], failed={(before, "IBM"): "no bar"})
    five = settings.replace(ledger=LedgerConfig(void_after_sessions=5))
    six = settings.replace(ledger=LedgerConfig(void_after_sessions=6))
    assert (before, "IBM") not in keys(read_pending(with_settings=five))
    assert (before, "IBM") in keys(read_pending(with_settings=six))
    ledger_rows.bar("IBM", before, 100)
    came = [partition for partition in read_pending(with_settings=five) if partition.session == before]
    assert [(partition.ticker, partition.has_new_bar) for partition in came] == [("IBM", True)]


@pytest.mark.parametrize(("back", "shown_as"), [(3, 3), (45, 29)])
def test_an_actual_whose_has_new_bar_late_is_open_even_of_a_ticker_that_left(
    read_pending: ReadPending,
    newest: date,
    ledger_rows: LedgerRows,
    calendar: Calendar,
    settings: Settings,
    back: int,
    shown_as: int,
) -> None:
    target = calendar.offset(newest, -back)
    left = settings.replace(retired={"IBM": date(2020, 1, 2)})
    ledger_rows.forecast("IBM", calendar.offset(target, -1), kind="late")
    assert [partition for partition in read_pending(with_settings=left) if partition.ticker == "IBM"] == [], (
        "there is no bar yet"
    )
    ledger_rows.bar("IBM", target, 100)
    (late,) = [partition for partition in read_pending(with_settings=left) if partition.ticker == "IBM"]
    assert (late.session, late.lacks_row) == (calendar.offset(newest, -shown_as), False)


FORECAST_AND_FILLED = """
update snapshot set
    abstained_reason = null, run_date_close = 100, next_day_pred = 101, next_monday_pred = 102, one_month_pred = 103,
    direction_pred = 'bullish', model_status = 'active', checkpoint_sha256 = 'c', window_sha256 = 'w',
    next_day_actual = case when next_day_session <= %(newest)s then 101 end,
    next_day_pct_error = case when next_day_session <= %(newest)s then 0 end,
    next_day_direction_actual = case when next_day_session <= %(newest)s then 'bullish' end,
    next_day_direction_correct = case when next_day_session <= %(newest)s then true end,
    next_day_filled_at = case when next_day_session <= %(newest)s then now() end,
    next_monday_actual = case when next_monday_session <= %(newest)s then 101 end,
    next_monday_pct_error = case when next_monday_session <= %(newest)s then 0 end,
    next_monday_filled_at = case when next_monday_session <= %(newest)s then now() end,
    one_month_actual = case when one_month_session <= %(newest)s then 101 end,
    one_month_pct_error = case when one_month_session <= %(newest)s then 0 end,
    one_month_filled_at = case when one_month_session <= %(newest)s then now() end
"""


def test_reading_103_tickers_after_half_a_year_is_one_statement_of_a_few_milliseconds(
    database: Database, calendar: Calendar, settings: Settings, newest: date
) -> None:
    tickers = tuple(f"T{number}" for number in range(103))
    universe = settings.replace(tickers=tickers)
    sessions = [calendar.offset(newest, -back) for back in range(125)]
    with database.connect() as conn:
        conn.execute("alter table snapshot disable trigger user")
        conn.execute(
            """insert into snapshot (ticker, run_date, recorded_at, kind, next_day_session, next_monday_session,
                one_month_session, abstained_reason, bars_recorded_until)
            select ticker, session, now(), 'live', next_day, monday, month, 'has no active model', now()
            from unnest(%s::text[]) ticker
            cross join unnest(%s::date[], %s::date[], %s::date[], %s::date[]) x (session, next_day, monday, month)""",
            (list(tickers), sessions, *calendar.targets_of(np.array(sessions, "datetime64[D]")).T.tolist()),
        )
        for ticker in tickers:
            enter_service(conn, ticker, sessions[-1])
        conn.execute(FORECAST_AND_FILLED, {"newest": newest})
        begin_attempt(conn, [(day, ticker) for day in sessions for ticker in tickers])
        finish_attempt(conn, done=[(day, ticker) for day in sessions for ticker in tickers], failed={})
        conn.commit()
        conn.execute("analyze")
        conn.cursor_factory = CountingCursor
        CountingCursor.num_statements = 0
        assert pending_partitions(conn, universe, calendar, datetime.now(UTC)) == []
        started = time.perf_counter()
        assert pending_partitions(conn, universe, calendar, datetime.now(UTC)) == []
        seconds = time.perf_counter() - started
    assert CountingCursor.num_statements == 2
    assert seconds < 0.5, "10 to 20 ms; the bound allows for a busy machine"
