"""Partitions by session: exactly the sessions, today's on its own evening, and never too many."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from ldtm_assets.partitions import (
    DailyPartition,
    all_tickers_of,
    by_session,
    by_session_and_ticker,
    daily_partitions,
    partition_range,
    requested_corners,
    require_range,
)
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import PartitionConfig, Settings, load_settings
from tests.repository import REPOSITORY

NEW_YORK = ZoneInfo("America/New_York")
MOST_PARTITIONS = 60_000


def _settings(settings: Settings, first: date, last: date | None) -> Settings:
    return settings.replace(partitions=PartitionConfig(first_session=first, last_session=last))


@pytest.mark.parametrize("last", [date(2013, 3, 1), date(2012, 12, 31), date(2013, 2, 18), date(2013, 3, 3)])
def test_the_keys_are_the_sessions(settings: Settings, calendar: Calendar, last: date) -> None:
    first = date(2012, 10, 1)
    keys = by_session(_settings(settings, first, last), calendar).get_partition_keys()
    assert keys == [session.isoformat() for session in calendar.between(first, last)]


def test_the_day_of_a_hurricane_is_no_key(settings: Settings, calendar: Calendar) -> None:
    keys = by_session(_settings(settings, date(2012, 10, 1), date(2012, 12, 31)), calendar).get_partition_keys()
    assert "2012-10-29" not in keys
    assert "2012-10-31" in keys


@pytest.mark.parametrize(
    ("moment", "newest"),
    [
        (datetime(2026, 11, 20, 18, 15, tzinfo=NEW_YORK), "2026-11-20"),  # a Friday evening
        (datetime(2026, 11, 22, 12, 0, tzinfo=NEW_YORK), "2026-11-20"),  # the Sunday after
        (datetime(2026, 11, 25, 18, 15, tzinfo=NEW_YORK), "2026-11-25"),  # before Thanksgiving
        (
            datetime(2026, 11, 26, 18, 15, tzinfo=NEW_YORK),
            "2026-11-27",
        ),  # Thanksgiving: offered, refused by the step
        (datetime(2026, 11, 27, 13, 30, tzinfo=NEW_YORK), "2026-11-27"),  # an early close
        (datetime(2026, 3, 9, 18, 15, tzinfo=NEW_YORK), "2026-03-09"),  # the first session of daylight saving time
    ],
)
def test_a_session_has_its_partition_on_its_own_evening(
    settings: Settings, calendar: Calendar, moment: datetime, newest: str
) -> None:
    partitions = by_session(_settings(settings, date(2026, 1, 2), None), calendar)
    with dg.partition_loading_context(effective_dt=moment):
        assert partitions.get_last_partition_key() == newest


def test_a_process_that_lives_through_a_new_year_offers_no_holiday(settings: Settings, calendar: Calendar) -> None:
    this_year = calendar.days[-1].item().year - 2
    partitions = by_session(_settings(settings, date(this_year, 12, 1), None), calendar)
    with dg.partition_loading_context(effective_dt=datetime(this_year + 2, 12, 30, 12, tzinfo=NEW_YORK)):
        keys = partitions.get_partition_keys()
    assert keys == [day.isoformat() for day in calendar.between(date(this_year, 12, 1), date.fromisoformat(keys[-1]))]


def test_the_universe_starts_with_few_enough_partitions(calendar: Calendar) -> None:
    settings = load_settings(REPOSITORY / "universe.toml")
    sessions = calendar.between(settings.partitions.first_session, date(2026, 11, 20))
    assert len(settings.tickers) * len(sessions) <= MOST_PARTITIONS


def test_a_partition_reads_as_its_partition_key(settings: Settings, calendar: Calendar) -> None:
    partitions = by_session_and_ticker(_settings(settings, date(2013, 3, 1), date(2013, 3, 1)), calendar)
    for key in partitions.get_partition_keys():
        assert DailyPartition.parse(key).key == key
    assert DailyPartition.parse("2013-03-01|AAPL") == DailyPartition(date(2013, 3, 1), "AAPL")


def test_a_date_and_all_tickers_is_a_rectangle(settings: Settings, calendar: Calendar) -> None:
    day = date(2013, 2, 28)
    tags = all_tickers_of(PartitionConfig(), day, day, settings.tickers)
    partitions = by_session_and_ticker(_settings(settings, date(2013, 2, 1), date(2013, 3, 1)), calendar)
    keys = partitions.get_partition_keys_in_range(
        dg.PartitionKeyRange(tags["dagster/asset_partition_range_start"], tags["dagster/asset_partition_range_end"])
    )
    assert [str(key) for key in keys] == [f"2013-02-28|{ticker}" for ticker in settings.tickers]


def test_tickers_with_signs_have_partitions_of_their_own(settings: Settings, calendar: Calendar) -> None:
    tickers = ("^GSPC", "RDS/A", "BRK.B", "EURUSD=X")
    named = settings.replace(tickers=tickers, partitions=PartitionConfig(first_session=date(2013, 3, 1)))
    keys = by_session_and_ticker(named, calendar).get_partition_keys(current_time=datetime(2013, 3, 2, tzinfo=NEW_YORK))
    assert sorted(DailyPartition.parse(key).ticker for key in keys) == sorted(tickers)
    assert {DailyPartition.parse(key).key for key in keys} == set(keys)


def test_sessions_alone_hold_all_tickers(settings: Settings) -> None:
    by_date, day = PartitionConfig(by="date"), date(2013, 2, 28)
    tags = all_tickers_of(by_date, day, date(2013, 3, 1), settings.tickers)
    assert tags == partition_range("2013-02-28", "2013-03-01")
    assert daily_partitions(["2013-02-28"], settings.tickers) == [DailyPartition(day, t) for t in settings.tickers]
    first, last = settings.tickers[0], settings.tickers[-1]
    assert requested_corners(tags, settings.tickers) == (
        DailyPartition(day, first),
        DailyPartition(date(2013, 3, 1), last),
    )
    assert requested_corners(partition_range(first, last), settings.tickers) is None


def test_a_run_for_one_session_is_tagged_with_a_range_of_one(settings: Settings, calendar: Calendar) -> None:
    sessions = by_session(_settings(settings, date(2013, 2, 1), date(2013, 3, 1)), calendar)
    assert sessions.get_tags_for_partition_key("2013-02-28") == partition_range("2013-02-28", "2013-02-28")


def test_a_run_for_one_partition_is_tagged_with_a_range_of_one_and_no_dimension(
    settings: Settings, calendar: Calendar
) -> None:
    """Dagster gives all runs of a job's backfill the tags of its first partition beside their own range."""
    partitions = by_session_and_ticker(_settings(settings, date(2013, 2, 1), date(2013, 3, 1)), calendar)
    key = "2013-02-28|AAPL"
    assert partitions.get_tags_for_partition_key(key) == {
        "dagster/asset_partition_range_start": key,
        "dagster/asset_partition_range_end": key,
    }


def test_a_step_that_was_given_other_partitions_than_its_run_asks_for_is_refused() -> None:
    tags = partition_range("2013-02-01|AAPL", "2013-02-08|MSFT")
    require_range(tags, ["2013-02-01|AAPL", "2013-02-01|MSFT", "2013-02-08|AAPL", "2013-02-08|MSFT"])
    require_range({}, ["2013-02-01|AAPL"])
    with pytest.raises(
        ConfigurationError, match=r"2013-02-01\|AAPL to 2013-02-08\|MSFT, but its step has 1 partition "
    ):
        require_range(tags, ["2013-02-01|AAPL"])
