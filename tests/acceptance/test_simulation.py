"""A fortnight by itself: Thanksgiving, an early close, outages, kill -9, a split, a late bar, and nobody who looks.

LDTM_FORTNIGHT_TICKERS says for how many tickers. It takes too long for `make test`: `make fortnight` runs it.
"""

import os
from collections import Counter
from collections.abc import Iterator
from datetime import date

import pytest

from ldtm_lib.sessions import exchange_calendar
from tests.acceptance.simulation import scenario as story
from tests.acceptance.simulation import universe
from tests.acceptance.simulation.mailbox import about, numbers
from tests.acceptance.simulation.scenario import Fortnight, live_through, machine_of
from tests.acceptance.simulation.shifted_clock import library, new_york

NUM_TICKERS = int(os.environ.get("LDTM_FORTNIGHT_TICKERS", "8"))
pytestmark = [
    pytest.mark.fortnight,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(
        library() is None,
        reason="the package libfaketime is not installed, which shifts the clock: pip install libfaketime",
    ),
]
SESSIONS_PER_RUN = 5
SPEED_OF_AN_EVENING = 60.0
LATE_ROWS = "select distinct run_date::text from snapshot where kind = 'late' order by 1"


@pytest.fixture(scope="module")
def fortnight() -> Iterator[Fortnight]:
    with machine_of(NUM_TICKERS) as machine:
        yield live_through(machine)


def _sessions(first: str, last: str) -> list[date]:
    return exchange_calendar().between(date.fromisoformat(first), date.fromisoformat(last))


def test_every_session_has_a_row_of_every_ticker(fortnight: Fortnight) -> None:
    rows = fortnight.machine.rows("select run_date, count(*) from snapshot group by run_date order by run_date")
    assert rows == [(session, NUM_TICKERS) for session in _sessions(story.FIRST, story.LAST)]


def test_every_evening_that_ran_in_time_is_live_and_no_other_one_is(fortnight: Fortnight) -> None:
    before_the_open = """select count(*) from snapshot s
        join trading_session t on t.session = s.next_day_session
        where (s.kind = 'live') <> (s.recorded_at < t.opens_at)"""
    assert fortnight.machine.number(before_the_open) == 0
    late = fortnight.machine.rows("select run_date, ticker from snapshot where kind <> 'live' order by 1, 2")
    in_time_again = date.fromisoformat(story.last_session_before(story.BACK))
    missed = [day for day in _sessions("2025-11-04", story.BACK) if day < in_time_again]
    away = [(session, ticker) for session in missed for ticker in sorted(fortnight.machine.tickers)]
    assert late == [*away, (date.fromisoformat(story.LATE), universe.LATE_TICKER)]


def test_the_evening_is_a_quarter_past_six_in_new_york_on_both_sides_of_the_change(fortnight: Fortnight) -> None:
    for session in (story.BEFORE_THE_CHANGE, story.AFTER_THE_CHANGE):
        ((first, last),) = fortnight.machine.rows(
            f"select min(recorded_at), max(recorded_at) from snapshot where run_date = '{session}'"
        )
        assert new_york(session, "18:15") <= first <= last < new_york(session, "19:15")


def test_missed_sessions_are_made_up_for_in_order_and_in_few_runs(fortnight: Fortnight) -> None:
    recorded = fortnight.machine.rows(
        "select run_date, min(recorded_at) from snapshot where run_date < '2025-11-17' group by run_date order by 2"
    )
    assert [day for day, _ in recorded] == sorted(day for day, _ in recorded)
    missed = _sessions("2025-11-04", story.BACK)[:-1]
    before, after = fortnight.evenings[story.AFTER_THE_CHANGE], fortnight.evenings["caught up"]
    assert len(after) - len(before) == -(-len(missed) // SESSIONS_PER_RUN)


def test_there_is_no_storm_of_runs(fortnight: Fortnight) -> None:
    """One run an evening, but for those that something happened to."""
    launched = Counter(fortnight.machine.evenings_launched())
    more = {session: number for session, number in launched.items() if number > 1}
    assert more == {
        story.OUTAGE: len(story.TRIES_OF_THE_OUTAGE) + 1,
        story.KILL: 2,
        story.LATE: more.get(story.LATE, 0),
    }
    assert more[story.LATE] <= 5


def test_holidays_and_early_closes_have_no_evening_before_a_quarter_past_six(fortnight: Fortnight) -> None:
    before = Counter(fortnight.evenings[story.BEFORE_THANKSGIVING])
    after = Counter(fortnight.evenings[f"{story.EARLY_CLOSE} 13:05"])
    assert set(after - before) <= {story.LATE}, "only the bar that came too late is asked for"


def test_an_outage_of_an_hour_is_told_as_one_message_and_over_within_the_evening(fortnight: Fortnight) -> None:
    ((last,),) = fortnight.machine.rows(f"select max(recorded_at) from snapshot where run_date = '{story.OUTAGE}'")
    assert last < new_york(story.OUTAGE, "20:15")
    of_the_evening = about(fortnight.machine.box, f"LDTM {story.OUTAGE}")
    titles = [title for title, text in of_the_evening if all(ticker in text for ticker in fortnight.machine.tickers)]
    assert ["recovered" in title for title in titles] == [False, True]


def test_an_evening_that_was_killed_is_whole_in_time(fortnight: Fortnight) -> None:
    ((last,),) = fortnight.machine.rows(f"select max(recorded_at) from snapshot where run_date = '{story.KILL}'")
    assert last < new_york(story.KILL, "19:15")


def test_a_ticker_without_a_bar_is_told_while_there_is_time_and_abstains_after_it(fortnight: Fortnight) -> None:
    (row,) = fortnight.machine.rows(
        f"select kind, abstained_reason is not null from snapshot where run_date = '{story.LATE}' "
        f"and ticker = '{universe.LATE_TICKER}'"
    )
    assert row == ("late", True)
    told = about(fortnight.machine.box, f"LDTM {story.LATE}", "deadline", universe.LATE_TICKER)
    assert len(told) >= 1


def test_every_due_actual_is_filled(fortnight: Fortnight) -> None:
    assert fortnight.machine.rows("select ticker, run_date, horizon from open_fill where has_closed") == []
    filled = fortnight.machine.number("select count(*) from snapshot where one_month_actual is not null")
    assert filled == NUM_TICKERS, "21 sessions after the first evening comes the last one"


def test_the_split_leaves_no_jump_in_the_prices(fortnight: Fortnight) -> None:
    jumps = """select max(abs(ln(close / before))) from (
        select close, lag(close) over (partition by ticker order by session) as before from current_bar) bars"""
    assert fortnight.machine.number(jumps) < 0.1
    ratios = fortnight.machine.rows("select ticker, session::text, ratio from split")
    assert ratios == [(universe.SPLIT_TICKER, story.SPLIT, universe.SPLIT_RATIO)]


def test_every_message_came_once(fortnight: Fortnight) -> None:
    made = [number for (number,) in fortnight.machine.rows("select alert_id from alert order by alert_id")]
    assert sorted(numbers(fortnight.machine.box)) == made
    assert len(fortnight.machine.box.messages) == len(made)


def test_the_record_is_intact(fortnight: Fortnight) -> None:
    assert "intact" in fortnight.machine.installation.ldtm("audit", "verify")


def test_an_evening_takes_less_than_a_minute(fortnight: Fortnight) -> None:
    assert max(fortnight.seconds.values()) < SPEED_OF_AN_EVENING, fortnight.seconds
