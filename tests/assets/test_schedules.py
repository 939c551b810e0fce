"""When things happen by themselves: sessions only, one run for all tickers, and again for those without a row."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from ldtm_assets.schedules import schedules_of
from ldtm_lib.config import Settings
from ldtm_lib.database.connection import Database
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar

NEW_YORK = ZoneInfo("America/New_York")
FRIDAY = date(2026, 11, 20)


@pytest.fixture
def project(settings: Settings, database: Database) -> Project:
    return Project(settings=settings, home=settings.path.parent, database=database)


def _schedules(project: Project, calendar: Calendar) -> dict[str, dg.ScheduleDefinition]:
    return {schedule.name: schedule for schedule in schedules_of(lambda: project, project.settings, calendar)}


def _ask(project: Project, calendar: Calendar, name: str, moment: datetime) -> dg.RunRequest | dg.SkipReason:
    with (
        dg.DagsterInstance.local_temp(str(project.home)) as instance,
        dg.build_schedule_context(instance=instance, scheduled_execution_time=moment) as context,
    ):
        result = _schedules(project, calendar)[name](context)
    assert isinstance(result, (dg.RunRequest, dg.SkipReason))
    return result


def _range(asked: dg.RunRequest | dg.SkipReason) -> tuple[str, str]:
    assert isinstance(asked, dg.RunRequest), asked
    return asked.tags["dagster/asset_partition_range_start"], asked.tags["dagster/asset_partition_range_end"]


@pytest.mark.parametrize("day", [date(2026, 11, 20), date(2026, 11, 27), date(2026, 3, 9)])
def test_a_session_is_one_run_for_all_tickers(project: Project, calendar: Calendar, day: date) -> None:
    moment = datetime(day.year, day.month, day.day, 18, 15, tzinfo=NEW_YORK)
    asked = _ask(project, calendar, "evening_schedule", moment)
    assert _range(asked) == (f"{day}|AAPL", f"{day}|MSFT")


def test_a_holiday_is_skipped(project: Project, calendar: Calendar) -> None:
    asked = _ask(project, calendar, "evening_schedule", datetime(2026, 11, 26, 18, 15, tzinfo=NEW_YORK))
    assert isinstance(asked, dg.SkipReason)
    assert asked.skip_message == "2026-11-26 is not a session of XNYS"


def test_only_tickers_without_a_row_are_asked_for_again(
    project: Project, calendar: Calendar, database: Database
) -> None:
    with database.transaction() as conn:
        targets = calendar.targets(FRIDAY)
        for ticker in ("AAPL", "GOOG", "MSFT"):
            conn.execute(
                "insert into snapshot (ticker, run_date, kind, next_day_session, next_monday_session,"
                " one_month_session, abstained_reason, bars_recorded_until)"
                " values (%s, %s, 'simulated', %s, %s, %s, 'has no active model', clock_timestamp())",
                (ticker, FRIDAY, *targets.as_tuple()),
            )
    saturday = datetime(2026, 11, 21, 3, 30, tzinfo=UTC)
    assert _range(_ask(project, calendar, "retry_schedule", saturday)) == ("2026-11-20|FB", "2026-11-20|IBM")


def test_nothing_is_retried_before_the_evening(project: Project, calendar: Calendar) -> None:
    asked = _ask(project, calendar, "retry_schedule", datetime(2026, 11, 20, 17, 30, tzinfo=NEW_YORK))
    assert isinstance(asked, dg.SkipReason)
    assert asked.skip_message == "the evening of 2026-11-20 has not begun"


def test_retraining_is_one_run_for_all_tickers(project: Project, calendar: Calendar) -> None:
    saturday = datetime(2026, 11, 21, 9, 0, tzinfo=NEW_YORK)
    assert _range(_ask(project, calendar, "retraining_schedule", saturday)) == ("AAPL", "MSFT")


def test_evenings_follow_new_york_and_wait_for_an_owner(project: Project, calendar: Calendar) -> None:
    for schedule in _schedules(project, calendar).values():
        assert schedule.execution_timezone == "America/New_York"
        assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
