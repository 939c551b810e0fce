"""The calendar: targets against plain counting, opens and closes by the wall clock of New York."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldtm_lib.errors import CalendarError
from ldtm_lib.sessions import HORIZONS, ONE_MONTH_SESSIONS, Calendar, Targets, exchange_calendar

NEW_YORK = ZoneInfo("America/New_York")
sessions = st.integers(0, 9_200).map(lambda n: exchange_calendar().days[n].item())  # 1990-01-02 to 2026-07
days = st.dates(date(1990, 1, 2), date(2026, 12, 31))


def plain_targets(run_date: date, trades: set[date]) -> Targets:
    """The three horizons by counting days, as their definitions say."""

    def first_on_or_after(day: date) -> date:
        while day not in trades:
            day += timedelta(days=1)
        return day

    monday = run_date + timedelta(days=1)
    while monday.weekday() != 0:
        monday += timedelta(days=1)
    month = run_date
    for _ in range(21):
        month = first_on_or_after(month + timedelta(days=1))
    return Targets(
        next_day=first_on_or_after(run_date + timedelta(days=1)),
        next_monday=first_on_or_after(monday),
        one_month=month,
    )


@pytest.fixture(scope="module")
def trades(calendar: Calendar) -> set[date]:
    return set(calendar.days.tolist())


@given(run_date=sessions)
def test_targets_equal_plain_counting(calendar: Calendar, trades: set[date], run_date: date) -> None:
    assert calendar.targets(run_date) == plain_targets(run_date, trades)


def test_targets_of_all_sessions_at_once_equal_those_one_by_one(calendar: Calendar, trades: set[date]) -> None:
    some = calendar.between(date(2019, 12, 1), date(2022, 2, 1))
    together = calendar.targets_of(np.array(some, dtype="datetime64[D]"))
    assert together.shape == (len(some), len(HORIZONS))
    assert together.dtype == np.dtype("datetime64[D]")
    assert [tuple(row) for row in together.tolist()] == [plain_targets(d, trades).as_tuple() for d in some]


def test_targets_of_no_session_are_none(calendar: Calendar) -> None:
    assert calendar.targets_of(np.array([], dtype="datetime64[D]")).shape == (0, 3)


@pytest.mark.parametrize(
    ("run_date", "next_day", "next_monday", "one_month"),
    [
        # A plain Wednesday.
        (date(2024, 3, 13), date(2024, 3, 14), date(2024, 3, 18), date(2024, 4, 12)),
        # A Friday: next Monday is the next day.
        (date(2024, 3, 15), date(2024, 3, 18), date(2024, 3, 18), date(2024, 4, 16)),
        # A Monday: next Monday is a week away.
        (date(2024, 3, 18), date(2024, 3, 19), date(2024, 3, 25), date(2024, 4, 17)),
        # The Friday before Labor Day: Monday is a holiday, so Tuesday.
        (date(2024, 8, 30), date(2024, 9, 3), date(2024, 9, 3), date(2024, 10, 1)),
        # The Thursday before Labor Day: next day is Friday, next Monday is Tuesday.
        (date(2024, 8, 29), date(2024, 8, 30), date(2024, 9, 3), date(2024, 9, 30)),
        # The Thursday before Good Friday.
        (date(2024, 3, 28), date(2024, 4, 1), date(2024, 4, 1), date(2024, 4, 29)),
        # Christmas 2023 and New Year 2024 are both Mondays.
        (date(2023, 12, 22), date(2023, 12, 26), date(2023, 12, 26), date(2024, 1, 25)),
        (date(2023, 12, 26), date(2023, 12, 27), date(2024, 1, 2), date(2024, 1, 26)),
        # 10 September 2001: the exchange stayed closed until Monday the 17th.
        (date(2001, 9, 10), date(2001, 9, 17), date(2001, 9, 17), date(2001, 10, 15)),
    ],
)
def test_targets_on_known_days(
    calendar: Calendar, run_date: date, next_day: date, next_monday: date, one_month: date
) -> None:
    assert calendar.targets(run_date) == Targets(next_day=next_day, next_monday=next_monday, one_month=one_month)


def test_one_month_is_the_twenty_first_session_after(calendar: Calendar) -> None:
    assert ONE_MONTH_SESSIONS == 21
    between = calendar.between(date(2024, 3, 13), calendar.targets(date(2024, 3, 13)).one_month)
    assert len(between) == 1 + 21


def test_about_a_tenth_of_next_mondays_is_no_monday(calendar: Calendar) -> None:
    run_dates = np.array(calendar.between(date(2000, 1, 3), date(2024, 12, 31)), dtype="datetime64[D]")
    next_mondays = calendar.targets_of(run_dates)[:, 1]
    share = np.mean([day.weekday() != 0 for day in next_mondays.tolist()])
    assert 0.09 < share < 0.12


@pytest.mark.parametrize(
    ("session", "opens", "closes"),
    [
        (date(2024, 1, 10), "14:30", "21:00"),  # winter
        (date(2024, 7, 10), "13:30", "20:00"),  # summer
        (date(2024, 3, 8), "14:30", "21:00"),  # the Friday before clocks go forward
        (date(2024, 3, 11), "13:30", "20:00"),  # the Monday after
        (date(2024, 11, 1), "13:30", "20:00"),  # the Friday before clocks go back
        (date(2024, 11, 4), "14:30", "21:00"),  # the Monday after
        (date(2024, 11, 29), "14:30", "18:00"),  # the day after Thanksgiving closes at 13:00 in New York
        (date(2024, 7, 3), "13:30", "17:00"),  # and so does the day before Independence Day
        (date(2024, 12, 24), "14:30", "18:00"),
    ],
)
def test_opens_and_closes_in_utc(calendar: Calendar, session: date, opens: str, closes: str) -> None:
    for moment, expected in ((calendar.opens_at(session), opens), (calendar.closes_at(session), closes)):
        assert moment.tzinfo is UTC
        assert moment == datetime.fromisoformat(f"{session}T{expected}:00+00:00")


@given(session=sessions)
def test_every_session_opens_at_half_past_nine_and_closes_by_four_in_new_york(
    calendar: Calendar, session: date
) -> None:
    opens, closes = (m(session).astimezone(NEW_YORK) for m in (calendar.opens_at, calendar.closes_at))
    assert opens.date() == closes.date() == session
    # Single sessions opened late, such as 2001-09-17 after two minutes of silence.
    assert (9, 30) <= (opens.hour, opens.minute) <= (12, 0)
    assert (13, 0) <= (closes.hour, closes.minute) <= (16, 0)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2024-07-10T19:59:59+00:00", date(2024, 7, 9)),
        ("2024-07-10T20:00:00+00:00", date(2024, 7, 10)),
        ("2024-07-10T16:00:00-04:00", date(2024, 7, 10)),
        ("2024-01-10T20:30:00+00:00", date(2024, 1, 9)),
        ("2024-01-10T21:00:00+00:00", date(2024, 1, 10)),
        ("2024-11-29T18:00:00+00:00", date(2024, 11, 29)),
        ("2024-11-29T17:59:59.999999+00:00", date(2024, 11, 27)),
        ("2024-09-02T23:00:00+00:00", date(2024, 8, 30)),
        ("2024-07-11T05:00:00+09:00", date(2024, 7, 10)),
    ],
)
def test_the_newest_closed_session_at_a_moment(calendar: Calendar, now: str, expected: date) -> None:
    assert calendar.last_closed(datetime.fromisoformat(now)) == expected


@given(session=sessions)
def test_a_session_has_closed_at_its_close_and_not_before(calendar: Calendar, session: date) -> None:
    closes = calendar.closes_at(session)
    assert calendar.last_closed(closes) == session
    if session > calendar.days[0].item():
        assert calendar.last_closed(closes - timedelta(microseconds=1)) == calendar.offset(session, -1)


def test_no_session_has_closed_before_the_calendar_begins(calendar: Calendar) -> None:
    with pytest.raises(CalendarError, match="no session of XNYS had closed by 1989-12-29"):
        calendar.last_closed(datetime(1989, 12, 29, 22, tzinfo=UTC))


@given(day=days)
def test_a_day_is_a_session_exactly_when_the_calendar_lists_it(
    calendar: Calendar, trades: set[date], day: date
) -> None:
    assert calendar.is_session(day) == (day in trades)


@given(one=days, other=days)
def test_sessions_between_two_days_include_both_ends(
    calendar: Calendar, trades: set[date], one: date, other: date
) -> None:
    assert calendar.between(one, other) == sorted(d for d in trades if one <= d <= other)


@given(session=sessions, num_sessions=st.integers(-30, 30))
def test_an_offset_and_its_opposite_come_back(calendar: Calendar, session: date, num_sessions: int) -> None:
    if calendar.days[0].item() <= session - timedelta(days=60):
        assert calendar.offset(calendar.offset(session, num_sessions), -num_sessions) == session


@pytest.mark.parametrize(
    ("day", "message"),
    [
        (
            date(2024, 3, 16),
            "2024-03-16 is not a session of XNYS; the sessions around it are 2024-03-15 and 2024-03-18",
        ),
        (date(2024, 7, 4), "2024-07-04 is not a session of XNYS; the sessions around it are 2024-07-03 and 2024-07-05"),
        (date(1990, 1, 1), "1990-01-01 is outside of the XNYS calendar, 1990-01-02 to "),
        (date(2099, 1, 5), "2099-01-05 is outside of the XNYS calendar, 1990-01-02 to "),
    ],
)
def test_a_day_that_is_no_session_is_refused_by_every_question(calendar: Calendar, day: date, message: str) -> None:
    for ask in (calendar.require_session, calendar.opens_at, calendar.closes_at, calendar.targets):
        with pytest.raises(CalendarError) as refused:
            ask(day)
        assert str(refused.value).startswith(message)
    with pytest.raises(CalendarError, match=str(day)):
        calendar.offset(day, 1)


def test_one_day_that_is_no_session_among_many_is_named(calendar: Calendar) -> None:
    run_dates = np.array(["2024-03-15", "2024-03-16", "2024-03-18"], dtype="datetime64[D]")
    with pytest.raises(CalendarError, match="2024-03-16 is not a session"):
        calendar.targets_of(run_dates)


def test_targets_beyond_the_end_of_the_calendar_are_refused(calendar: Calendar) -> None:
    last, enough = calendar.days[-1].item(), calendar.days[-22].item()
    assert calendar.targets(enough).one_month == last
    with pytest.raises(CalendarError, match=f"lie beyond the calendar's end, {last}"):
        calendar.targets(calendar.days[-21].item())
    with pytest.raises(CalendarError, match=r"at offset \+1 from .* is outside of the XNYS calendar"):
        calendar.offset(last, 1)


def test_the_schedule_lists_every_session_once_in_order(calendar: Calendar) -> None:
    schedule = calendar.schedule()
    assert [day for day, _, _ in schedule] == calendar.days.tolist()
    assert all(opens < closes for _, opens, closes in schedule)
    assert schedule[100] == (
        schedule[100][0],
        calendar.opens_at(schedule[100][0]),
        calendar.closes_at(schedule[100][0]),
    )


def test_the_calendar_of_a_process_is_built_once() -> None:
    assert exchange_calendar() is exchange_calendar()
