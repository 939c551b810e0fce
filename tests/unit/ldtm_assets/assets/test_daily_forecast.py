"""Partitions that a daily run skips, and tickers whose bar is late."""

from datetime import UTC, date, datetime

import pytest

from ldtm_assets.assets.daily_forecast import classify, partitions_of_tickers, pending_retries
from ldtm_assets.partitions import DailyPartition
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import AutomationConfig, Settings

FRIDAY = date(2026, 11, 20)
MONDAY = date(2026, 11, 23)
FRIDAY_AT_THE_CLOSE = datetime(2026, 11, 20, 21, 0, tzinfo=UTC)
AFTER_FRIDAY_CLOSE = datetime(2026, 11, 20, 23, 15, tzinfo=UTC)
MONDAY_AFTER_THE_OPEN = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)


def test_only_the_tickers_that_are_named_are_worked_on_and_one_without_a_partition_is_reported() -> None:
    partitions = [DailyPartition(FRIDAY, "AAPL"), DailyPartition(FRIDAY, "IBM")]
    assert partitions_of_tickers(partitions, []) == partitions
    assert partitions_of_tickers(partitions, ["IBM"]) == [DailyPartition(FRIDAY, "IBM")]
    with pytest.raises(ConfigurationError, match=r"`only` names MSFT, for which the run has no partition"):
        partitions_of_tickers(partitions, ["IBM", "MSFT"])


def test_a_session_that_has_not_closed_is_refused(settings: Settings, calendar: Calendar) -> None:
    partitions = [DailyPartition(FRIDAY, "AAPL"), DailyPartition(MONDAY, "AAPL")]
    asked = classify(partitions, settings, calendar, AFTER_FRIDAY_CLOSE)
    assert asked.ready == [DailyPartition(FRIDAY, "AAPL")]
    assert asked.refused == {
        "2026-11-23|AAPL": "session 2026-11-23 has not closed; the newest closed one is 2026-11-20"
    }


def test_a_session_is_ready_from_its_close_on(settings: Settings, calendar: Calendar) -> None:
    partitions = [DailyPartition(FRIDAY, "AAPL")]
    assert classify(partitions, settings, calendar, FRIDAY_AT_THE_CLOSE).ready == partitions
    just_before = FRIDAY_AT_THE_CLOSE.replace(hour=20, minute=59, second=59)
    assert classify(partitions, settings, calendar, just_before).ready == []


def test_a_retired_ticker_is_left_out_from_its_date_on(settings: Settings, calendar: Calendar) -> None:
    without_ibm = settings.replace(retired={"IBM": FRIDAY})
    thursday = date(2026, 11, 19)
    asked = classify(
        [DailyPartition(thursday, "IBM"), DailyPartition(FRIDAY, "IBM")], without_ibm, calendar, AFTER_FRIDAY_CLOSE
    )
    assert asked.ready == [DailyPartition(thursday, "IBM")]
    assert asked.removed == [DailyPartition(FRIDAY, "IBM")]
    assert asked.refused == {}


def test_a_late_bar_is_waited_for_until_the_next_open(calendar: Calendar) -> None:
    partitions = [DailyPartition(FRIDAY, "AAPL")]
    waiting = pending_retries(partitions, calendar, AFTER_FRIDAY_CLOSE, AutomationConfig(), {})
    assert waiting == {"2026-11-20|AAPL": "waits for its bar; retries are possible until 2026-11-23 14:30 UTC"}
    assert pending_retries(partitions, calendar, MONDAY_AFTER_THE_OPEN, AutomationConfig(), {}) == {}


def test_after_the_open_a_partition_that_is_tried_again_abstains_at_the_reported_attempt_and_another_at_once(
    calendar: Calendar,
) -> None:
    partitions = [DailyPartition(FRIDAY, ticker) for ticker in ("AAPL", "FB", "IBM")]
    num_attempts = {"2026-11-20|AAPL": 2, "2026-11-20|FB": 3}
    waiting = pending_retries(
        partitions, calendar, MONDAY_AFTER_THE_OPEN, AutomationConfig(report_after_attempts=3), num_attempts
    )
    assert waiting == {
        "2026-11-20|AAPL": "waits for its bar; this was attempt 2, and the ticker abstains after attempt 3"
    }
