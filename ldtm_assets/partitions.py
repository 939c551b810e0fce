"""Partitions of the assets: by ticker, and for daily runs by session and ticker, or by session alone.

A partition is a view of rows in PostgreSQL, not their storage: both layouts of daily runs fill the same tables, ticker
by ticker. Sessions alone are for universes whose partitions and events would slow Dagster down
(docs/decisions/0090-one-partition-a-session.md).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import dagster as dg
import numpy as np

from ldtm_lib.errors import ConfigurationError
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import PartitionConfig, Settings
from ldtm_lib.wording import counted

DATE, TICKER = "date", "ticker"
DAILY_ASSETS = ("prices", "features", "snapshots", "fillbacks")
"""The assets of a daily run, in its order."""
RANGE_START_TAG, RANGE_END_TAG = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
PARTITION_TAG = "dagster/partition"
EXCHANGE_TIMEZONE = "America/New_York"
WEEKDAYS_AT_MIDNIGHT = "0 0 * * 1-5"
SESSION_KEY = re.compile(r"\d{4}-\d{2}-\d{2}(\||$)")


def by_ticker(settings: Settings) -> dg.StaticPartitionsDefinition:
    """One partition per ticker that was ever in the universe."""
    return dg.StaticPartitionsDefinition(list(settings.tickers))


def by_session(settings: Settings, calendar: Calendar) -> "SessionPartitions":
    """One partition per session: weekdays without the exchange's holidays.

    A session's partition exists from midnight in New York (`end_offset=1`), so that it exists when the daily run
    of that session starts; the assets refuse sessions that have not closed. Holidays are known two years ahead, so
    that a process that runs beyond New Year creates no partition for one.
    """
    first, last = settings.partitions.first_session, settings.partitions.last_session
    until = last or date(calendar.days[-1].item().year, 12, 31)  # whole years: a new list is a new definition
    weekdays = np.arange(np.datetime64(first), np.datetime64(until) + 1)
    holidays = np.setdiff1d(weekdays[np.is_busday(weekdays)], calendar.days)
    return SessionPartitions(
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

    Dagster 1.13.27 gives every run of a job's backfill the tags of the backfill's first partition in addition to the
    run's own range, and a step that finds the tags of one session and one ticker processes only that partition: every
    run processes the same partition and succeeds (docs/experiments.md).
    """

    def get_tags_for_partition_key(self, partition_key: str) -> Mapping[str, str]:
        """The tags of a run for one partition: a range of one."""
        return partition_range(partition_key, partition_key)


def by_session_and_ticker(settings: Settings, calendar: Calendar) -> dg.MultiPartitionsDefinition:
    """One partition per session and ticker; keys read `2013-03-01|AAPL`."""
    return SessionTickerPartitions({DATE: by_session(settings, calendar), TICKER: by_ticker(settings)})


class SessionPartitions(dg.TimeWindowPartitionsDefinition):
    """Partitions by session whose runs are tagged with a range, for the reason given at `SessionTickerPartitions`."""

    def get_tags_for_partition_key(self, partition_key: str) -> Mapping[str, str]:
        """The tags of a run for one partition: a range of one."""
        return partition_range(partition_key, partition_key)


def all_tickers_of(partitions: PartitionConfig, first: date, last: date, tickers: Iterable[str]) -> dict[str, str]:
    """The run tags that request a rectangle, a range of tickers on some sessions, in ONE run.

    Where sessions alone are partitions, the tags request all tickers, and the configuration of the run names the
    requested ones.
    """
    names = list(tickers)
    return partition_range(partitions.key(first, names[0]), partitions.key(last, names[-1]))


def partition_range(first_key: str, last_key: str) -> dict[str, str]:
    """The run tags that request a range of partitions in one run."""
    return {RANGE_START_TAG: first_key, RANGE_END_TAG: last_key}


def require_range(tags: Mapping[str, str], keys: Sequence[str]) -> None:
    """Raise ConfigurationError when the range in a run's tags and the partitions of its step disagree.

    Dagster validates neither: a step would process other partitions than the run shows, and succeed.
    """
    ends = [tags[name] for name in (RANGE_START_TAG, RANGE_END_TAG) if name in tags]
    if missing := [key for key in dict.fromkeys(ends) if key not in keys]:
        raise ConfigurationError(
            f"the run requests the partitions {ends[0]} to {ends[-1]}, but its step has "
            f"{counted(len(keys), 'partition')} ({keys[0]} to {keys[-1]}) without {' and '.join(missing)}; nothing was "
            "done. Launch the run again from the page of the asset, with partitions that exist"
        )


@dataclass(frozen=True, slots=True)
class DailyPartition:
    """One session of one ticker: a partition, or a part of its session's."""

    session: date
    ticker: str

    @property
    def key(self) -> str:
        """Its name, and its partition key where it is a partition."""
        return f"{self.session.isoformat()}|{self.ticker}"

    @classmethod
    def parse(cls, key: str) -> "DailyPartition":
        """The partition of a partition key."""
        session, ticker = key.split("|", 1)
        return cls(date.fromisoformat(session), ticker)


def daily_partitions(keys: Iterable[str], tickers: Sequence[str]) -> list[DailyPartition]:
    """Daily partitions that some partition keys hold: a ticker of a session each, or all `tickers` of a session."""
    found: list[DailyPartition] = []
    for key in keys:
        if "|" in key:
            found.append(DailyPartition.parse(key))
        else:
            found.extend(DailyPartition(date.fromisoformat(key), ticker) for ticker in tickers)
    return found


def requested_corners(tags: Mapping[str, str], tickers: Sequence[str]) -> tuple[DailyPartition, DailyPartition] | None:
    """The first and the last ticker of the first and the last session that a run's tags ask for.

    None if they ask for no session. A range of sessions alone holds all `tickers`.
    """
    one = tags.get(PARTITION_TAG)
    asked = [tags.get(RANGE_START_TAG, one), tags.get(RANGE_END_TAG, one)]
    keys = [key for key in asked if key is not None and SESSION_KEY.match(key)]
    if len(keys) != 2:
        return None
    return daily_partitions(keys[:1], tickers)[0], daily_partitions(keys[1:], tickers)[-1]


class DailyLayout:
    """Partitions of the assets of daily runs, and the partitions of other assets that they depend on."""

    def __init__(self, settings: Settings, calendar: Calendar) -> None:
        self._by = settings.partitions.by
        self.definition = (
            by_session(settings, calendar) if self._by == "date" else by_session_and_ticker(settings, calendar)
        )

    def of_its_ticker(self) -> dg.PartitionMapping:
        """Mapping from a ticker's partition to all of its sessions; sessions alone depend on the asset as a whole."""
        if self._by == "date":
            return as_a_whole()
        return dg.MultiToSingleDimensionPartitionMapping(partition_dimension_name=TICKER)

    def earlier_sessions(self, num_sessions: int) -> dg.PartitionMapping:
        """Mapping to this session and a number of sessions before it, of the same ticker."""
        sessions = dg.TimeWindowPartitionMapping(start_offset=-num_sessions)
        if self._by == "date":
            return sessions
        return dg.MultiPartitionMapping(
            {
                DATE: dg.DimensionPartitionMapping(DATE, sessions),
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
