"""The evening's schedule: one run for all tickers of a session, and none on other days."""

from datetime import datetime
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from ldtm_assets.schedules import schedule_of
from ldtm_lib.config import Settings
from ldtm_lib.sessions import Calendar

NEW_YORK = ZoneInfo("America/New_York")


def _ask(settings: Settings, calendar: Calendar, moment: datetime) -> dg.RunRequest | dg.SkipReason:
    schedule = schedule_of(settings, calendar)
    context = dg.build_schedule_context(scheduled_execution_time=moment)
    result = schedule(context)
    assert isinstance(result, (dg.RunRequest, dg.SkipReason))
    return result


@pytest.mark.parametrize("day", [datetime(2026, 11, 20), datetime(2026, 11, 27), datetime(2026, 3, 9)])  # noqa: DTZ001
def test_a_session_is_one_run_for_all_tickers(settings: Settings, calendar: Calendar, day: datetime) -> None:
    asked = _ask(settings, calendar, day.replace(hour=18, minute=15, tzinfo=NEW_YORK))
    assert isinstance(asked, dg.RunRequest)
    assert asked.tags["dagster/asset_partition_range_start"] == f"{day:%Y-%m-%d}|AAPL"
    assert asked.tags["dagster/asset_partition_range_end"] == f"{day:%Y-%m-%d}|MSFT"


def test_a_holiday_is_skipped(settings: Settings, calendar: Calendar) -> None:
    asked = _ask(settings, calendar, datetime(2026, 11, 26, 18, 15, tzinfo=NEW_YORK))
    assert isinstance(asked, dg.SkipReason)
    assert asked.skip_message == "2026-11-26 is not a session of XNYS"


def test_the_evening_is_a_quarter_past_six_in_new_york_all_year(settings: Settings, calendar: Calendar) -> None:
    schedule = schedule_of(settings, calendar)
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("15 18 * * 1-5", "America/New_York")
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED, "an owner starts it"
