"""Five simulated weeks: Thanksgiving, an early close, outages, kill -9, a split and a late bar, unattended.

LDTM_SIMULATION_TICKERS says for how many tickers. `make nightly` runs it, and so does `make simulation`.
"""

import os
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from statistics import median

import pytest

from ldtm_lib.sessions import exchange_calendar
from tests.acceptance.simulation import scenario, universe
from tests.acceptance.simulation.mailbox import about, numbers
from tests.acceptance.simulation.scenario import Simulation, live_through, machine_of
from tests.acceptance.simulation.shifted_clock import library, new_york

NUM_TICKERS = int(os.environ.get("LDTM_SIMULATION_TICKERS", "8"))
pytestmark = [
    pytest.mark.nightly(minutes=18),
    pytest.mark.timeout(3600),
    pytest.mark.skipif(
        library() is None,
        reason="the package libfaketime is not installed, which shifts the clock: pip install libfaketime",
    ),
]
SESSIONS_PER_RUN = 5
MOST_SECONDS = 60.0
"""Of a daily run in the middle of all; a single one may meet another load of the machine."""
LATE_ROWS = "select distinct run_date::text from snapshot where kind = 'late' order by 1"


@pytest.fixture(scope="module")
def simulation() -> Iterator[Simulation]:
    with machine_of(NUM_TICKERS) as machine:
        yield live_through(machine)


def _sessions(first: str, last: str) -> list[date]:
    return exchange_calendar().between(date.fromisoformat(first), date.fromisoformat(last))


def test_every_session_has_a_row_of_every_ticker(simulation: Simulation) -> None:
    rows = simulation.machine.rows("select run_date, count(*) from snapshot group by run_date order by run_date")
    assert rows == [(session, NUM_TICKERS) for session in _sessions(scenario.FIRST, scenario.LAST)]


def test_every_daily_run_that_ran_in_time_is_live_and_no_other_one_is(simulation: Simulation) -> None:
    before_the_open = """select count(*) from snapshot s
        join trading_session t on t.session = s.next_day_session
        where (s.kind = 'live') <> (s.recorded_at < t.opens_at)"""
    assert simulation.machine.number(before_the_open) == 0
    late = simulation.machine.rows("select run_date, ticker from snapshot where kind <> 'live' order by 1, 2")
    in_time_again = date.fromisoformat(scenario.last_session_before(scenario.BACK))
    missed = [day for day in _sessions("2025-11-04", scenario.BACK) if day < in_time_again]
    away = [(session, ticker) for session in missed for ticker in sorted(simulation.machine.tickers)]
    assert late == [*away, (date.fromisoformat(scenario.LATE), universe.LATE_TICKER)]


def test_the_daily_run_is_at_a_quarter_past_six_in_new_york_on_both_sides_of_the_change(simulation: Simulation) -> None:
    for session in (scenario.BEFORE_THE_CHANGE, scenario.AFTER_THE_CHANGE):
        ((first, last),) = simulation.machine.rows(
            f"select min(recorded_at), max(recorded_at) from snapshot where run_date = '{session}'"
        )
        assert new_york(session, "18:15") <= first <= last < new_york(session, "19:15")


def test_missed_sessions_are_caught_up_in_order_and_in_few_runs(simulation: Simulation) -> None:
    recorded = simulation.machine.rows(
        "select run_date, min(recorded_at) from snapshot where run_date < '2025-11-17' group by run_date order by 2"
    )
    assert [day for day, _ in recorded] == sorted(day for day, _ in recorded)
    missed = _sessions("2025-11-04", scenario.BACK)[:-1]
    before, after = simulation.daily_runs[scenario.AFTER_THE_CHANGE], simulation.daily_runs["caught up"]
    assert len(after) - len(before) == -(-len(missed) // SESSIONS_PER_RUN)


def test_there_is_no_storm_of_runs(simulation: Simulation) -> None:
    """One run per session, but for those that something happened to."""
    launched = Counter(simulation.machine.launched_daily_runs())
    more = {session: number for session, number in launched.items() if number > 1}
    of_the_outage = len(scenario.TRIES_OF_THE_OUTAGE) + 1
    assert more[scenario.OUTAGE] - of_the_outage in (0, 1), "the clock goes on while a busy machine works"
    assert more == {
        scenario.OUTAGE: more[scenario.OUTAGE],
        scenario.KILL: 2,
        scenario.LATE: more.get(scenario.LATE, 0),
    }
    launches = simulation.machine.launches_of(scenario.LATE)
    in_the_night = [at for at in launches if at < new_york(scenario.BEFORE_THANKSGIVING, "07:30")]
    for number, (earlier, later) in enumerate(pairwise(in_the_night)):
        assert later - earlier >= timedelta(minutes=2 * 2**number), "the back-off doubles"
    assert len(launches) - len(in_the_night) <= 4, "the warning, the deadline, the abstention and the late bar"


def test_holidays_and_early_closes_have_no_daily_run_before_a_quarter_past_six(simulation: Simulation) -> None:
    before = Counter(simulation.daily_runs[scenario.BEFORE_THANKSGIVING])
    after = Counter(simulation.daily_runs[f"{scenario.EARLY_CLOSE} 13:05"])
    assert set(after - before) <= {scenario.LATE}, "only the bar that came too late is asked for"


def test_an_outage_of_an_hour_is_one_notification_and_resolved_the_same_day(simulation: Simulation) -> None:
    ((last,),) = simulation.machine.rows(f"select max(recorded_at) from snapshot where run_date = '{scenario.OUTAGE}'")
    assert last < new_york(scenario.OUTAGE, "20:15")
    of_the_outage = about(simulation.machine.mailbox, f"LDTM {scenario.OUTAGE}")
    titles = [title for title, text in of_the_outage if all(ticker in text for ticker in simulation.machine.tickers)]
    assert ["resolved" in title for title in titles] == [False, True]


def test_a_daily_run_that_was_killed_is_whole_in_time(simulation: Simulation) -> None:
    ((last,),) = simulation.machine.rows(f"select max(recorded_at) from snapshot where run_date = '{scenario.KILL}'")
    assert last < new_york(scenario.KILL, "19:15")


def test_a_ticker_without_a_bar_is_reported_while_there_is_time_and_abstains_after_it(simulation: Simulation) -> None:
    (row,) = simulation.machine.rows(
        f"select kind, abstained_reason is not null from snapshot where run_date = '{scenario.LATE}' "
        f"and ticker = '{universe.LATE_TICKER}'"
    )
    assert row == ("late", True)
    notified = about(simulation.machine.mailbox, f"LDTM {scenario.LATE}", "deadline", universe.LATE_TICKER)
    assert len(notified) >= 1


def test_every_due_actual_is_filled(simulation: Simulation) -> None:
    assert simulation.machine.rows("select ticker, run_date, horizon from open_fill where has_closed") == []
    filled = simulation.machine.number("select count(*) from snapshot where one_month_actual is not null")
    assert filled == NUM_TICKERS, "21 sessions after the first daily run comes the last one"


def test_the_split_leaves_no_jump_in_the_prices(simulation: Simulation) -> None:
    jumps = """select max(abs(ln(close / before))) from (
        select close, lag(close) over (partition by ticker order by session) as before from current_bar) bars"""
    assert simulation.machine.number(jumps) < 0.1
    ratios = simulation.machine.rows("select ticker, session::text, ratio from split")
    assert ratios == [(universe.SPLIT_TICKER, scenario.SPLIT, universe.SPLIT_RATIO)]


def test_every_notification_came_once(simulation: Simulation) -> None:
    made = [
        number
        for (number,) in simulation.machine.rows("select notification_id from notification order by notification_id")
    ]
    assert sorted(numbers(simulation.machine.mailbox)) == made
    assert len(simulation.machine.mailbox.messages) == len(made)


def test_the_record_is_intact(simulation: Simulation) -> None:
    assert "intact" in simulation.machine.installation.ldtm("audit", "verify")


def test_a_daily_run_takes_less_than_a_minute(simulation: Simulation) -> None:
    assert median(simulation.seconds.values()) < MOST_SECONDS, simulation.seconds
