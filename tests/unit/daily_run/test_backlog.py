"""What is done next, by property: nothing too early, oldest first, not too much at once, and nothing forgotten."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ldtm_lib.daily_run.backlog import BacklogItem, due_at, next_backlog_item, wait
from ldtm_lib.daily_run.pending_partitions import PendingPartition, daily_run_start
from ldtm_lib.sessions import Calendar, exchange_calendar
from ldtm_lib.settings import AutomationConfig

CALENDAR = exchange_calendar()
CONFIG = AutomationConfig()
FRIDAY = date(2026, 11, 20)
SESSIONS = CALENDAR.between(date(2026, 10, 26), FRIDAY)
TICKERS = ("AAPL", "IBM", "MSFT")
SATURDAY = datetime(2026, 11, 21, 15, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def partition(session: date, ticker: str = "AAPL", **other: object) -> PendingPartition:
    """A partition that was never tried, or as told."""
    fields: dict[str, object] = {
        "session": session,
        "ticker": ticker,
        "starts_at": daily_run_start(session),
        "deadline": CALENDAR.opens_at(CALENDAR.offset(session, 1)),
        "lacks_row": True,
        "has_new_bar": False,
        "is_done": False,
        "num_attempts": 0,
        "last_attempt_at": None,
        "reason": None,
    }
    return PendingPartition(**(fields | other))  # pyright: ignore[reportArgumentType]


@st.composite
def tried_partitions(draw: st.DrawFn, session: date, ticker: str) -> PendingPartition:
    num_attempts = draw(st.integers(0, 40))
    if not num_attempts:
        return partition(session, ticker)
    after = timedelta(minutes=draw(st.integers(-120, 20_000)))
    return partition(
        session,
        ticker,
        num_attempts=num_attempts,
        last_attempt_at=daily_run_start(session) + after,
        reason=draw(st.sampled_from([None, "waits for its bar"])),
        lacks_row=draw(st.booleans()),
        has_new_bar=draw(st.booleans()),
    )


@st.composite
def boards(draw: st.DrawFn) -> list[PendingPartition]:
    keys = draw(st.sets(st.tuples(st.sampled_from(SESSIONS), st.sampled_from(TICKERS)), max_size=30))
    return [draw(tried_partitions(session, ticker)) for session, ticker in sorted(keys)]


moments = st.integers(-40_000, 10_000).map(lambda minutes: SATURDAY + minutes * MINUTE)
configs = st.integers(1, 6).map(lambda number: CONFIG.replace(sessions_per_run=number))


def ask(
    partitions: list[PendingPartition], moment: datetime, config: AutomationConfig = CONFIG, **other: timedelta
) -> BacklogItem | None:
    return next_backlog_item(partitions, calendar=CALENDAR, moment=moment, config=config, **other)  # pyright: ignore[reportArgumentType]


def partitions_of(item: BacklogItem) -> set[tuple[date, str]]:
    return {(session, ticker) for session in item.sessions for ticker in item.tickers}


@given(partitions=boards(), moment=moments, config=configs)
@example(
    partitions=[
        partition(date(2026, 11, 6)),
        partition(date(2026, 11, 9), num_attempts=5, last_attempt_at=datetime(2026, 11, 10, 14, 0, tzinfo=UTC)),
    ],
    moment=datetime(2026, 11, 10, 14, 29, tzinfo=UTC),
    config=CONFIG,
)
def test_a_run_request_has_only_due_partitions_and_the_oldest_that_have_not_failed(
    partitions: list[PendingPartition], moment: datetime, config: AutomationConfig
) -> None:
    item = ask(partitions, moment, config)
    urgent = [c for c in partitions if c.lacks_row and c.deadline - 120 * MINUTE <= moment < c.deadline]
    due = {(c.session, c.ticker) for c in urgent or partitions if due_at(c, config) <= moment}
    if item is None:
        assert not due, "forecasts that are about to miss their deadline are waited for"
        return
    assert partitions_of(item) <= due
    if all((c.session, c.ticker) not in due or c.num_attempts < 4 for c in partitions) and not urgent:
        assert item.sessions[0] == min(session for session, _ in due)
    assert len(item.sessions) <= config.sessions_per_run
    assert list(item.sessions) == CALENDAR.between(item.sessions[0], item.sessions[-1]), "without a gap"


@given(partitions=boards(), moment=moments)
def test_no_session_is_made_before_its_close_nor_before_its_daily_schedule(
    partitions: list[PendingPartition], moment: datetime
) -> None:
    item = ask(partitions, moment)
    for session in item.sessions if item else ():
        assert session <= CALENDAR.last_closed(moment)
        assert daily_run_start(session) <= moment


@given(tried=st.data(), session=st.sampled_from(SESSIONS))
def test_a_partition_is_never_tried_again_within_its_first_wait(tried: st.DataObject, session: date) -> None:
    one = tried.draw(tried_partitions(session, "AAPL"))
    if one.last_attempt_at is not None and one.last_attempt_at != one.deadline:
        soonest = min(one.last_attempt_at + wait(1, CONFIG), one.deadline)
        if one.last_attempt_at >= one.deadline:
            soonest = one.last_attempt_at + wait(1, CONFIG)
        assert due_at(one, CONFIG) >= soonest


@given(partitions=boards())
def test_nothing_that_is_open_is_forgotten_for_ever(partitions: list[PendingPartition]) -> None:
    """Errands are made one after the other, each partition failing again, until every one has been tried.

    After all deadlines: within two hours before one nothing else is made.
    """
    tried = [c.last_attempt_at for c in partitions if c.last_attempt_at]
    moment = max([SATURDAY, *tried, *(c.deadline for c in partitions)]) + timedelta(days=1)
    left = {(c.session, c.ticker) for c in partitions}
    board = list(partitions)
    for _ in range(len(partitions)):
        item = ask(board, moment)
        if item is None:
            break
        made = partitions_of(item)
        left -= made
        board = [
            replace(c, num_attempts=c.num_attempts + 1, last_attempt_at=moment, reason="waits", has_new_bar=False)
            if (c.session, c.ticker) in made
            else c
            for c in board
        ]
    assert not left


@pytest.mark.parametrize(("num_missed", "num_run_requests"), [(1, 1), (5, 1), (6, 2), (13, 3)])
def test_missed_sessions_are_as_few_runs_as_fit_oldest_first(num_missed: int, num_run_requests: int) -> None:
    board = [partition(session, ticker) for session in SESSIONS[-num_missed:] for ticker in TICKERS]
    made: list[date] = []
    for _ in range(num_run_requests):
        item = ask(board, SATURDAY)
        assert item is not None
        assert item.tickers == TICKERS
        made += item.sessions
        board = [c for c in board if c.session not in item.sessions]
    assert made == SESSIONS[-num_missed:]
    assert ask(board, SATURDAY) is None


def test_sessions_with_other_tickers_due_are_runs_of_their_own() -> None:
    thursday = SESSIONS[-2]
    item = ask([partition(thursday, "AAPL"), partition(FRIDAY, "AAPL"), partition(FRIDAY, "IBM")], SATURDAY)
    assert item == BacklogItem(sessions=(thursday,), tickers=("AAPL",))


def test_waits_double_from_two_minutes_to_half_an_hour_unless_they_may_be_longer() -> None:
    assert [wait(number, CONFIG) / MINUTE for number in (1, 2, 3, 4, 5, 6, 1000)] == [2, 4, 8, 16, 30, 30, 30]
    a_day = timedelta(days=1)
    assert [wait(number, CONFIG, longest=a_day) / MINUTE for number in (5, 6, 10, 1000)] == [32, 64, 1024, 1440]


def test_a_first_try_waits_for_the_daily_schedule_and_the_grace() -> None:
    assert due_at(partition(FRIDAY), CONFIG, grace=5 * MINUTE) == daily_run_start(FRIDAY) + 5 * MINUTE
    tried_at_noon = partition(
        FRIDAY, num_attempts=1, last_attempt_at=daily_run_start(FRIDAY) - 60 * MINUTE, reason="no bar"
    )
    assert due_at(tried_at_noon, CONFIG) == daily_run_start(FRIDAY)


def test_the_deadline_is_one_more_try_and_after_it_a_bar_is_asked_for_once_a_day() -> None:
    one = partition(FRIDAY, num_attempts=9, reason="no bar")
    shortly_before = replace(one, last_attempt_at=one.deadline - MINUTE)
    assert due_at(shortly_before, CONFIG) == one.deadline
    after = replace(one, last_attempt_at=one.deadline + MINUTE)
    assert due_at(after, CONFIG) == one.deadline + MINUTE + timedelta(days=1)


def test_a_missed_session_is_tried_as_often_as_any_before_its_bar_is_asked_for_once_a_day() -> None:
    """A source that is away for some minutes when an outage ends must not cost the forecasts of the days before."""
    one = partition(SESSIONS[0], last_attempt_at=SATURDAY, reason="no bar")
    waits = [due_at(replace(one, num_attempts=number), CONFIG) - SATURDAY for number in (1, 2, 3, 4)]
    assert waits == [2 * MINUTE, 4 * MINUTE, 8 * MINUTE, timedelta(days=1)]
    has_its_row = replace(one, num_attempts=1, lacks_row=False)
    assert due_at(has_its_row, CONFIG) == SATURDAY + timedelta(days=1)


def test_a_killed_run_is_tried_again_soon_after_the_deadline_and_ever_more_slowly_up_to_once_a_day() -> None:
    one = partition(SESSIONS[0], last_attempt_at=SATURDAY)
    waits = [
        (due_at(replace(one, num_attempts=number), CONFIG) - SATURDAY) / MINUTE for number in (1, 2, 6, 10, 11, 99)
    ]
    assert waits == [2, 4, 64, 1024, 1440, 1440]
    whole = replace(one, is_done=True, lacks_row=False, num_attempts=99)
    assert due_at(whole, CONFIG) == SATURDAY + 30 * MINUTE, "only an actual is to be filled"


def tries_until(over_at: datetime, session: date = FRIDAY, takes: timedelta = timedelta()) -> list[datetime]:
    """When a ticker is tried that fails until a moment, the try that succeeds included; each takes a while."""
    one = partition(session)
    tries: list[datetime] = []
    moment = due_at(one, CONFIG)
    while not tries or tries[-1] < over_at:
        tries.append(moment)
        one = replace(one, num_attempts=len(tries), last_attempt_at=moment, reason="no bar")
        moment = max(due_at(one, CONFIG), moment + takes)
    return tries


@given(minutes=st.integers(0, 60), takes=st.integers(0, 15), session=st.sampled_from(SESSIONS))
def test_what_was_away_for_at_most_an_hour_is_tried_again_within_three_quarters_of_an_hour(
    minutes: int, takes: int, session: date
) -> None:
    over_at = daily_run_start(session) + minutes * MINUTE
    tried_at = tries_until(over_at, session, takes * MINUTE)[-1]
    assert tried_at - over_at <= 45 * MINUTE


@given(minutes=st.integers(0, 3600), session=st.sampled_from(SESSIONS))
def test_an_outage_is_over_for_at_most_as_long_as_it_lasted_and_never_into_the_warning(
    minutes: int, session: date
) -> None:
    one = partition(session)
    over_at = daily_run_start(session) + minutes * MINUTE
    if over_at <= one.deadline - 120 * MINUTE:
        tried_at = tries_until(over_at, session)[-1]
        assert tried_at - over_at <= (minutes + 2) * MINUTE
        assert tried_at <= one.deadline - 120 * MINUTE


def test_a_ticker_that_always_fails_is_a_few_runs_from_friday_to_monday() -> None:
    opens = CALENDAR.opens_at(date(2026, 11, 23))
    tries = tries_until(opens)
    since = [round((moment - daily_run_start(FRIDAY)) / MINUTE) for moment in tries[:-5]]
    assert since == [0, 2, 6, 14, 30, 62, 126, 254, 510, 1022, 2046, 3486]
    assert [(opens - moment) / MINUTE for moment in tries[-5:]] == [120, 90, 60, 30, 0]


HANGS = timedelta(hours=1)
"""How long a run that hangs stands in the way, by dagster.yaml and the tags of the run."""


@given(
    olds=st.sets(st.tuples(st.sampled_from(SESSIONS[:-1]), st.sampled_from(TICKERS)), min_size=1, max_size=30),
    hours_left=st.integers(2, 15),
    hang=st.booleans(),
    num_attempts=st.integers(0, 12),
)
def test_old_sessions_that_fail_or_hang_for_ever_never_keep_the_newest_one_from_its_open(
    olds: set[tuple[date, str]], hours_left: int, hang: bool, num_attempts: int
) -> None:
    thursday = SESSIONS[-2]
    newest = partition(thursday, "NEW")
    moment = newest.deadline - timedelta(hours=hours_left)
    before = {"num_attempts": num_attempts, "last_attempt_at": moment - timedelta(days=2)} if num_attempts else {}
    board = [partition(session, ticker, **before) for session, ticker in sorted(olds) if session < thursday]
    while moment < newest.deadline:
        item = ask([*board, newest], moment)
        if item is None:
            moment += MINUTE
        elif thursday in item.sessions and "NEW" in item.tickers:
            return
        else:
            made, reason = partitions_of(item), None if hang else "no bar"
            board = [
                replace(c, num_attempts=c.num_attempts + 1, last_attempt_at=moment, reason=reason)
                if (c.session, c.ticker) in made
                else c
                for c in board
            ]
            moment += HANGS if hang else MINUTE
    raise AssertionError("the newest session was not tried before its open")


def test_partitions_that_often_failed_queue_behind_the_newest_session() -> None:
    vain = partition(SESSIONS[0], num_attempts=4, last_attempt_at=SATURDAY - timedelta(hours=5))
    assert ask([vain, partition(FRIDAY)], SATURDAY) == BacklogItem(sessions=(FRIDAY,), tickers=("AAPL",))
    tried_once = replace(vain, num_attempts=1)
    assert ask([tried_once, partition(FRIDAY)], SATURDAY) == BacklogItem(sessions=(SESSIONS[0],), tickers=("AAPL",))


def test_nothing_else_is_made_while_a_forecast_is_missing_that_will_be_late_soon() -> None:
    newest = partition(
        FRIDAY, num_attempts=3, last_attempt_at=CALENDAR.opens_at(date(2026, 11, 23)) - 61 * MINUTE, reason="-"
    )
    board = [partition(SESSIONS[0]), newest]
    run_requests = [ask(board, newest.deadline - minutes * MINUTE) for minutes in (121, 60, 53, 0)]
    assert [item and item.sessions[0] for item in run_requests] == [SESSIONS[0], None, FRIDAY, SESSIONS[0]]


@pytest.mark.parametrize("bad", [{"T50"}, {"T03", "T04", "T77"}])
def test_a_ticker_that_ends_the_run_of_all_keeps_no_other_from_its_row_for_long(bad: set[str]) -> None:
    left = {f"T{number:02}": partition(FRIDAY, f"T{number:02}") for number in range(100)}
    moment, num_runs = daily_run_start(FRIDAY), 0
    while left.keys() > bad:
        item = ask(list(left.values()), moment)
        moment += MINUTE
        if item is None:
            continue
        num_runs += 1
        for ticker in item.tickers:
            if bad & set(item.tickers):
                left[ticker] = replace(left[ticker], num_attempts=left[ticker].num_attempts + 1, last_attempt_at=moment)
            else:
                del left[ticker]
    assert moment < daily_run_start(FRIDAY) + timedelta(hours=3)
    assert num_runs <= 40
    assert bad == left.keys()


def test_a_bar_that_came_and_files_that_changed_make_due_what_waits() -> None:
    one = partition(SESSIONS[0], num_attempts=7, last_attempt_at=SATURDAY, reason="no bar", lacks_row=False)
    assert due_at(replace(one, has_new_bar=True), CONFIG) == SATURDAY + 2 * MINUTE
    assert due_at(one, CONFIG, news_at=SATURDAY + MINUTE) == SATURDAY + MINUTE
    assert due_at(one, CONFIG, news_at=SATURDAY - MINUTE) == SATURDAY + timedelta(days=1), "it was tried after the news"


def test_the_daily_schedule_is_at_a_quarter_past_six_in_new_york_all_the_year(calendar: Calendar) -> None:
    for session in calendar.between(date(2026, 1, 2), date(2026, 12, 31)):
        moment = daily_run_start(session)
        assert (moment.hour, moment.minute) == (18, 15)
        assert calendar.closes_at(session) < moment < calendar.opens_at(calendar.offset(session, 1))
        assert moment.astimezone(UTC).hour in (22, 23)
