"""Partitions of the assets: by ticker, and by session and ticker.

A partition (date, ticker) is a view of rows in PostgreSQL, not their home. See ARCHITECTURE.md for the sizes measured.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import dagster as dg
import numpy as np

from ldtm_lib.errors import ConfigurationError
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings

DATE, TICKER = "date", "ticker"
DAILY_ASSETS = ("prices", "features", "snapshots", "fillbacks")
"""The assets partitioned by session and ticker, in the order of a daily run."""
RANGE_START_TAG, RANGE_END_TAG = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
PARTITION_TAG = "dagster/partition"
EXCHANGE_TIMEZONE = "America/New_York"
WEEKDAYS_AT_MIDNIGHT = "0 0 * * 1-5"


def by_ticker(settings: Settings) -> dg.StaticPartitionsDefinition:
    """One partition per ticker that was ever in the universe."""
    return dg.StaticPartitionsDefinition(list(settings.tickers))


def by_session(settings: Settings, calendar: Calendar) -> dg.TimeWindowPartitionsDefinition:
    """One partition per session: weekdays without the exchange's holidays.

    A session's partition exists from midnight in New York (`end_offset=1`), so that it is there when the daily run
    of that session starts; the assets refuse sessions that have not closed. Holidays are known two years ahead, so
    that a process that lives through a New Year offers none.
    """
    first, last = settings.partitions.first_session, settings.partitions.last_session
    until = last or date(calendar.days[-1].item().year, 12, 31)  # whole years: another list is another definition
    weekdays = np.arange(np.datetime64(first), np.datetime64(until) + 1)
    holidays = np.setdiff1d(weekdays[np.is_busday(weekdays)], calendar.days)
    return dg.TimeWindowPartitionsDefinition(
        start=first.isoformat(),
        end=_next_weekday(last).isoformat() if last else None,
        end_offset=0 if last else 1,
        fmt="%Y-%m-%d",
        timezone=EXCHANGE_TIMEZONE,
        cron_schedule=WEEKDAYS_AT_MIDNIGHT,
        exclusions=[datetime(d.year, d.month, d.day) for d in holidays.tolist()],  # noqa: DTZ001 naive is what Dagster takes
    )


class SessionTickerPartitions(dg.MultiPartitionsDefinition):
    """Partitions by session and ticker whose runs are tagged with a range, never with one session and one ticker.

    Dagster 1.13.27 gives every run of a job's backfill the tags of the backfill's first partition beside the run's own
    range, and a step that finds the tags of one session and one ticker does that partition alone: every run does the
    same partition and succeeds (docs/experiments.md).
    """

    def get_tags_for_partition_key(self, partition_key: str) -> Mapping[str, str]:
        """The tags of a run for one partition: a range of one."""
        return partition_range(partition_key, partition_key)


def by_session_and_ticker(settings: Settings, calendar: Calendar) -> dg.MultiPartitionsDefinition:
    """One partition per session and ticker; keys read `2013-03-01|AAPL`."""
    return SessionTickerPartitions({DATE: by_session(settings, calendar), TICKER: by_ticker(settings)})


def all_tickers_of(first: date, last: date, tickers: Iterable[str]) -> dict[str, str]:
    """The run tags that ask for a rectangle, all tickers of some sessions, in ONE run."""
    names = list(tickers)
    return partition_range(f"{first}|{names[0]}", f"{last}|{names[-1]}")


def partition_range(first_key: str, last_key: str) -> dict[str, str]:
    """The run tags that ask for a range of partitions in one run."""
    return {RANGE_START_TAG: first_key, RANGE_END_TAG: last_key}


def require_range(tags: Mapping[str, str], keys: Sequence[str]) -> None:
    """Raise ConfigurationError when the range in a run's tags and the partitions of its step disagree.

    Dagster validates neither: a step would do other partitions than the run shows, and succeed.
    """
    ends = [tags[name] for name in (RANGE_START_TAG, RANGE_END_TAG) if name in tags]
    if missing := [key for key in dict.fromkeys(ends) if key not in keys]:
        raise ConfigurationError(
            f"the run asks for the partitions {ends[0]} to {ends[-1]}, but its step has {len(keys)} partitions "
            f"({keys[0]} to {keys[-1]}) without {' and '.join(missing)}; nothing was done. Launch the run again from "
            "the page of the asset, with partitions that exist"
        )


@dataclass(frozen=True, slots=True)
class DailyPartition:
    """One session of one ticker."""

    session: date
    ticker: str

    @property
    def key(self) -> str:
        """The partition key as Dagster writes it."""
        return f"{self.session.isoformat()}|{self.ticker}"

    @classmethod
    def parse(cls, key: str) -> "DailyPartition":
        """The partition of a partition key."""
        session, ticker = key.split("|", 1)
        return cls(date.fromisoformat(session), ticker)


def requested_corners(tags: Mapping[str, str]) -> tuple[DailyPartition, DailyPartition] | None:
    """The first and the last daily partition of the range in a run's tags; None when there is none."""
    one = tags.get(PARTITION_TAG)
    asked = [tags.get(RANGE_START_TAG, one), tags.get(RANGE_END_TAG, one)]
    partitions = [DailyPartition.parse(key) for key in asked if key is not None and "|" in key]
    return (partitions[0], partitions[1]) if len(partitions) == 2 else None


def same_ticker() -> dg.MultiToSingleDimensionPartitionMapping:
    """From a ticker's own partition to all of its sessions."""
    return dg.MultiToSingleDimensionPartitionMapping(partition_dimension_name=TICKER)


def earlier_sessions(num_sessions: int) -> dg.MultiPartitionMapping:
    """The same ticker on this session and so many before it."""
    return dg.MultiPartitionMapping(
        {
            DATE: dg.DimensionPartitionMapping(DATE, dg.TimeWindowPartitionMapping(start_offset=-num_sessions)),
            TICKER: dg.DimensionPartitionMapping(TICKER, dg.IdentityPartitionMapping()),
        }
    )


def as_a_whole() -> dg.SpecificPartitionsPartitionMapping:
    """Depends on an asset without listing its partitions: 103 tickers x 1,000 sessions take 2.4 s to list."""
    return dg.SpecificPartitionsPartitionMapping([])


def _next_weekday(day: date) -> date:
    following = day + timedelta(days=1)
    while following.weekday() > 4:
        following += timedelta(days=1)
    return following
