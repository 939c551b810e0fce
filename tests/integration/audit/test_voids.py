"""A forecast whose actual never comes is voided with a reason, after a wait; until then it waits, and says so."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.ledger.fillbacks import FillReport, fill, horizon_states, overdue, restated_actuals
from ldtm_lib.sessions import HORIZONS, Calendar
from ldtm_lib.settings import LedgerConfig
from tests.databases import fresh_database
from tests.integration.audit.sealed_record import Record
from tests.integration.ledger_rows import LedgerRows

RUN_DATE = date(2013, 1, 2)
NEXT_DAY, NEXT_MONDAY, ONE_MONTH = date(2013, 1, 3), date(2013, 1, 7), date(2013, 2, 1)
TARGETS = (NEXT_DAY, NEXT_MONDAY, ONE_MONTH)
END = date(2013, 3, 1)
CONFIG = LedgerConfig()
WAIT = CONFIG.void_after_sessions
VOID = "insert into voided_fill (ticker, run_date, horizon, reason, wait_sessions) values (%s, %s, %s, 'by hand', %s)"


@dataclass(frozen=True, slots=True)
class OverdueForecast:
    """A forecast of IBM in 2013, a source that may bring bars of MSFT, and sessions that have passed since."""

    conn: Connection
    calendar: Calendar
    rows: LedgerRows

    def forecast(self, ticker: str = "IBM", *, traded: Iterable[date] = (RUN_DATE,)) -> None:
        for session in traded:
            self.rows.bar(ticker, session, 100)
        self.rows.forecast(ticker, RUN_DATE, kind="late")

    def fill(self) -> FillReport:
        report = fill(self.conn, as_of=END, config=CONFIG)
        self.conn.commit()
        return report

    def newest_sessions(self, number: int) -> list[date]:
        newest = self.calendar.last_closed(datetime.now(UTC))
        return [self.calendar.offset(newest, at - number + 1) for at in range(number)]

    def notice(self, num_sessions_ago: int) -> None:
        """Everything that is overdue was noticed so many whole sessions ago, as only the tables' owner can date it."""
        self.fill()
        detected_at = self.calendar.opens_at(self.newest_sessions(num_sessions_ago)[0]) - timedelta(seconds=1)
        self.conn.execute("alter table overdue_fill disable trigger user")
        self.conn.execute("update overdue_fill set detected_at = %s", (detected_at,))
        self.conn.execute("alter table overdue_fill enable always trigger overdue_fill_is_append_only")
        self.conn.execute("alter table overdue_fill enable always trigger overdue_fill_is_due")
        self.conn.commit()

    def source_delivers(self, sessions: Sequence[date]) -> None:
        """Bars of another ticker: the source answers."""
        for session in sessions:
            self.rows.bar("MSFT", session, 30)
        self.conn.commit()

    def wait(self, num_sessions: int = WAIT) -> None:
        """The forecasts' actuals are noticed to be overdue, and so many sessions pass in which the source answers."""
        self.notice(num_sessions)
        self.source_delivers(self.newest_sessions(num_sessions))

    def states(self, ticker: str = "IBM") -> list[str]:
        return [state.state for state in horizon_states(self.conn, RUN_DATE, [ticker])]

    def events(self, event: str) -> list[tuple[str, str]]:
        found = self.conn.execute(
            "select ticker, horizon from ledger_event where event = %s order by event_id", (event,)
        )
        return found.fetchall()


@pytest.fixture
def waiting(empty_record: Record) -> OverdueForecast:
    return OverdueForecast(empty_record.conn, empty_record.calendar, empty_record.rows)


def test_a_ticker_that_did_not_trade_on_the_target_is_voided_after_the_wait_and_says_that_it_traded_later(
    waiting: OverdueForecast, empty_record: Record
) -> None:
    waiting.forecast(traded=(RUN_DATE, NEXT_MONDAY, ONE_MONTH))
    waiting.wait()
    report = waiting.fill()
    reason = f"did not trade on {NEXT_DAY}: it has later bars, and none of that session after {WAIT} sessions"
    assert report.voided.rows() == [("IBM", RUN_DATE, "next_day", NEXT_DAY, reason)]
    assert waiting.states() == ["voided", "filled", "filled"]
    assert waiting.events("void") == [("IBM", "next_day")]
    empty_record.seal()
    assert empty_record.messages() == []


def test_a_delisted_ticker_is_voided_at_every_horizon_with_its_newest_bar(
    waiting: OverdueForecast, empty_record: Record
) -> None:
    waiting.forecast()
    waiting.wait()
    report = waiting.fill()
    reason = f"halted or delisted: its newest bar is of {RUN_DATE}, and none came in {WAIT} sessions"
    assert [row[2:] for row in report.voided.rows()] == [(h, t, reason) for h, t in zip(HORIZONS, TARGETS, strict=True)]
    assert waiting.states() == ["voided"] * 3
    empty_record.seal()
    assert empty_record.messages() == []


def test_a_ticker_without_any_bar_is_voided_and_says_so(waiting: OverdueForecast) -> None:
    waiting.forecast(traded=())
    waiting.wait()
    assert set(waiting.fill().voided["reason"]) == {f"has no bar at all, and none came in {WAIT} sessions"}


def test_one_session_less_than_the_wait_voids_nothing(waiting: OverdueForecast) -> None:
    waiting.forecast()
    waiting.wait(WAIT - 1)
    assert waiting.fill().voided.is_empty()
    assert waiting.states() == ["waiting for its bar"] * 3


@pytest.mark.parametrize("num_sessions", [WAIT, 60, 250])
def test_while_nobody_has_bars_nothing_is_voided_however_long_it_lasts(
    waiting: OverdueForecast, num_sessions: int
) -> None:
    waiting.forecast()
    waiting.notice(num_sessions)
    waiting.source_delivers(waiting.newest_sessions(WAIT - 1))
    assert waiting.fill().voided.is_empty()
    assert waiting.states() == ["waiting for its bar"] * 3
    assert len(overdue(waiting.conn, as_of=END)) == 3, "an operator is shown them all the while"


def test_bars_of_long_ago_are_no_sessions_that_were_waited_for(waiting: OverdueForecast) -> None:
    waiting.forecast()
    waiting.notice(60)
    waiting.source_delivers(waiting.calendar.between(date(2013, 1, 2), END))
    assert waiting.fill().voided.is_empty()


def test_after_an_outage_a_void_comes_once_enough_sessions_have_bars(waiting: OverdueForecast) -> None:
    waiting.forecast()
    waiting.notice(60)
    days = waiting.newest_sessions(60)[::6]
    waiting.source_delivers(days[: WAIT - 1])
    assert waiting.fill().voided.is_empty()
    waiting.source_delivers(days[WAIT - 1 :])
    assert len(waiting.fill().voided) == 3


def test_a_bar_that_comes_late_but_before_the_void_fills(waiting: OverdueForecast, empty_record: Record) -> None:
    waiting.forecast()
    waiting.wait()
    waiting.rows.bar("IBM", NEXT_DAY, 99)
    report = waiting.fill()
    assert waiting.states() == ["filled", "voided", "voided"]
    assert report.num_filled == 1
    assert report.restated.is_empty()
    assert empty_record.messages() == []


def test_a_bar_that_comes_after_the_void_stands_beside_it_and_each_later_vintage_too(
    waiting: OverdueForecast, empty_record: Record
) -> None:
    waiting.forecast()
    waiting.wait()
    waiting.fill()
    for close in (99.0, 98.0):
        waiting.rows.bar("IBM", NEXT_DAY, close)
        report = waiting.fill()
        assert report.num_filled == 0
        assert report.restated.select("horizon", "actual", "restated_actual").rows() == [("next_day", None, close)]
    assert waiting.fill().restated.is_empty()
    assert restated_actuals(waiting.conn)["restated_actual"].to_list() == [99, 98]
    assert waiting.states() == ["voided"] * 3
    assert len(waiting.events("restatement")) == 2
    empty_record.seal()
    assert empty_record.messages() == []


def test_a_bar_after_the_void_is_restated_on_the_basis_of_the_forecast(waiting: OverdueForecast) -> None:
    waiting.forecast()
    waiting.wait()
    waiting.fill()
    waiting.rows.split("IBM", NEXT_DAY, 4)
    waiting.rows.bar("IBM", NEXT_DAY, 26)
    assert waiting.fill().restated["restated_actual"].to_list() == [104]


def test_a_void_is_final_and_a_second_one_of_the_same_horizon_is_refused(waiting: OverdueForecast) -> None:
    waiting.forecast()
    waiting.wait()
    waiting.fill()
    assert waiting.fill().voided.is_empty()
    with pytest.raises(psycopg.errors.UniqueViolation), waiting.conn.transaction():
        waiting.conn.execute(VOID, ("IBM", RUN_DATE, "next_day", WAIT))
    waiting.rows.bar("IBM", NEXT_DAY, 99)
    with pytest.raises(psycopg.IntegrityError, match="next_day fill of IBM on 2013-01-02 was voided and stays so"):
        waiting.conn.execute("update snapshot set next_day_actual = 99")


@pytest.mark.parametrize("what", ["update voided_fill set reason = 'x'", "delete from voided_fill"])
def test_a_void_is_never_changed_or_removed(waiting: OverdueForecast, what: str) -> None:
    waiting.forecast()
    waiting.wait()
    waiting.fill()
    with pytest.raises(psycopg.IntegrityError, match="rows of voided_fill are never changed or removed"):
        waiting.conn.execute(what.encode())


def test_a_void_by_hand_before_anything_was_noticed_is_refused(waiting: OverdueForecast) -> None:
    waiting.forecast()
    refusal = f"the next_day forecast of IBM on {RUN_DATE} was waited for 0 sessions, not {WAIT}: it is not voided yet"
    with pytest.raises(psycopg.IntegrityError, match=refusal):
        waiting.conn.execute(VOID, ("IBM", RUN_DATE, "next_day", WAIT))


def test_a_void_by_hand_too_early_is_refused_with_what_was_waited(waiting: OverdueForecast) -> None:
    waiting.forecast()
    waiting.wait(WAIT - 1)
    with pytest.raises(psycopg.IntegrityError, match=f"was waited for {WAIT - 1} sessions, not {WAIT}"):
        waiting.conn.execute(VOID, ("IBM", RUN_DATE, "one_month", WAIT))


def test_a_void_where_there_is_a_bar_is_refused(waiting: OverdueForecast) -> None:
    waiting.forecast()
    waiting.wait()
    waiting.rows.bar("IBM", NEXT_DAY, 99)
    refusal = f"IBM has a bar for {NEXT_DAY}: the forecast of {RUN_DATE} is filled, not voided"
    with pytest.raises(psycopg.IntegrityError, match=refusal):
        waiting.conn.execute(VOID, ("IBM", RUN_DATE, "next_day", WAIT))


def test_a_filled_forecast_is_not_voided(waiting: OverdueForecast) -> None:
    waiting.forecast(traded=(RUN_DATE, NEXT_DAY))
    waiting.wait()
    waiting.fill()
    refusal = f"the next_day forecast of IBM on {RUN_DATE} is not open: there is nothing to void"
    with pytest.raises(psycopg.IntegrityError, match=refusal):
        waiting.conn.execute(VOID, ("IBM", RUN_DATE, "next_day", WAIT))


def test_an_abstention_and_a_forecast_that_does_not_exist_are_not_voided(waiting: OverdueForecast) -> None:
    waiting.rows.abstention("FB", RUN_DATE, kind="late")
    waiting.conn.commit()
    for ticker in ("FB", "AAPL"):
        refusal = f"the next_day forecast of {ticker} on {RUN_DATE} is not open: there is nothing to void"
        with pytest.raises(psycopg.IntegrityError, match=refusal), waiting.conn.transaction():
            waiting.conn.execute(VOID, (ticker, RUN_DATE, "next_day", WAIT))
    assert waiting.fill().per_ticker.is_empty(), "an abstention is never overdue"


def test_a_void_says_its_moment_and_target_by_the_database_whatever_the_caller_says(waiting: OverdueForecast) -> None:
    waiting.forecast()
    waiting.wait()
    before = datetime.now(UTC)
    waiting.conn.execute(
        """insert into voided_fill (ticker, run_date, horizon, reason, wait_sessions, target_session, voided_at)
        values ('IBM', %s, 'next_day', 'by hand', 5, '2001-01-02', '2001-01-02')""",
        (RUN_DATE,),
    )
    row = waiting.conn.execute("select target_session, voided_at from voided_fill").fetchone()
    assert row is not None
    assert row[0] == NEXT_DAY
    assert row[1] >= before - timedelta(minutes=1)


def test_a_wait_cannot_begin_before_its_bar_is_due(waiting: OverdueForecast) -> None:
    newest = waiting.calendar.last_closed(datetime.now(UTC))
    waiting.rows.forecast("IBM", newest, kind="live")
    waiting.conn.commit()
    for horizon in HORIZONS:
        with pytest.raises(psycopg.IntegrityError, match=f"the {horizon} actual of IBM on {newest} is not overdue"):
            waiting.conn.execute("insert into overdue_fill values ('IBM', %s, 0, %s)", (newest, horizon))
        waiting.conn.rollback()


def test_a_wait_of_less_than_five_sessions_is_none(waiting: OverdueForecast) -> None:
    waiting.forecast()
    waiting.wait()
    with pytest.raises(psycopg.errors.CheckViolation, match="voided_fill_wait_sessions_check"):
        waiting.conn.execute(VOID, ("IBM", RUN_DATE, "next_day", 4))


def test_a_notice_is_dated_by_the_database_and_never_again(waiting: OverdueForecast) -> None:
    waiting.forecast()
    waiting.conn.execute(
        "insert into overdue_fill values ('IBM', %s, 0, 'next_day', now() - interval '1 year')", (RUN_DATE,)
    )
    row = waiting.conn.execute("select detected_at > now() - interval '1 minute' from overdue_fill").fetchone()
    assert row == (True,)
    first = waiting.conn.execute("select detected_at from overdue_fill").fetchall()
    waiting.fill()
    assert waiting.conn.execute("select detected_at from overdue_fill where horizon = 'next_day'").fetchall() == first
    with pytest.raises(psycopg.IntegrityError, match="rows of overdue_fill are never changed or removed"):
        waiting.conn.execute("update overdue_fill set detected_at = now() - interval '1 year'")


def test_a_fill_that_is_rolled_back_voids_nothing_and_the_next_one_voids_once(
    waiting: OverdueForecast, empty_record: Record
) -> None:
    waiting.forecast()
    waiting.wait()
    assert len(fill(waiting.conn, as_of=END, config=CONFIG).voided) == 3
    waiting.conn.rollback()
    assert (waiting.states(), waiting.events("void")) == (["waiting for its bar"] * 3, [])
    waiting.conn.rollback()
    assert len(waiting.fill().voided) == 3
    assert len(waiting.events("void")) == 3
    assert empty_record.messages() == []


def test_a_bar_that_is_committed_while_its_forecast_is_voided_is_not_lost(
    waiting: OverdueForecast, database: Database, empty_record: Record
) -> None:
    waiting.forecast()
    waiting.wait()
    with database.connect() as source:
        LedgerRows(source, waiting.calendar).bar("IBM", NEXT_DAY, 99)
        assert len(waiting.fill().voided) == 3, "the bar is not committed yet"
        source.commit()
    assert waiting.fill().restated["restated_actual"].to_list() == [99]
    assert empty_record.messages() == []


def test_only_the_tickers_that_are_asked_for_are_voided(waiting: OverdueForecast) -> None:
    waiting.forecast("IBM")
    waiting.forecast("GOOG")
    waiting.wait()
    report = fill(waiting.conn, as_of=END, config=CONFIG, tickers=["GOOG"])
    assert set(report.voided["ticker"]) == {"GOOG"}
    assert waiting.states("IBM") == ["waiting for its bar"] * 3


@given(
    traded=st.lists(st.sets(st.sampled_from(TARGETS)), min_size=1, max_size=5),
    late=st.lists(st.tuples(st.integers(0, 4), st.sampled_from(TARGETS)), max_size=4),
)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_after_the_wait_every_horizon_that_is_due_is_filled_or_voided_and_none_both(
    server_url: str,
    template: str,
    calendar: Calendar,
    traded: list[set[date]],
    late: list[tuple[int, date]],
) -> None:
    with fresh_database(server_url, template) as database, database.connect() as conn:
        waiting = OverdueForecast(conn, calendar, LedgerRows(conn, calendar))
        for n, sessions in enumerate(traded):
            waiting.forecast(f"T{n}", traded={RUN_DATE} | sessions)
        waiting.wait()
        for n, session in late:
            waiting.rows.bar(f"T{n}", session, 101)
        waiting.fill()
        for n, sessions in enumerate(traded):
            there = sessions | {session for at, session in late if at == n}
            assert waiting.states(f"T{n}") == ["filled" if target in there else "voided" for target in TARGETS]
        assert overdue(conn, as_of=END).is_empty(), "nothing is pending without a word"
        num_settled = len(waiting.events("fill")) + len(waiting.events("void"))
        assert num_settled == 3 * len(traded)
