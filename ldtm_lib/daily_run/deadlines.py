"""Alerts of the daily run: tickers that fail repeatedly, and those that will miss the open of the next session."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from ldtm_lib.alerts.alert import Alert, partition_link, raise_alerts, resolve_alerts
from ldtm_lib.daily_run.backlog import due_at
from ldtm_lib.daily_run.pending_partitions import PendingPartition, pending_partitions
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import PartitionConfig, Settings
from ldtm_lib.wording import counted

NO_REASON = "its run ended before it recorded a reason; see the runs of daily_job"
NEVER_ATTEMPTED = "no run has attempted it; start daily_schedule and catch_up_sensor"


GRACE = timedelta(minutes=5)
"""Time left to automation after an outage, and to an attempt under way, before a partition is reported."""


def check_deadlines(
    conn: Connection, settings: Settings, calendar: Calendar, moment: datetime, watched_since: datetime | None = None
) -> tuple[list[Alert], list[str]]:
    """Raise the alerts of pending sessions, and resolve those of completed ones; returns alerts and resolved keys.

    Runs in the caller's transaction; the number of statements does not depend on the universe. `watched_since` is the
    moment of the first check after an outage: partitions without an attempt are reported only after a grace period.
    The alert of a partition that is given up is resolved as well, and its summary says that it was given up.
    """
    partitions = pending_partitions(conn, settings, calendar, moment)
    found = [
        *failing_tickers(partitions, settings, moment),
        *missed_deadlines(partitions, settings, moment, watched_since),
    ]
    still_pending = [f"{partition.session}/{partition.ticker}" for partition in partitions]
    resolved = conn.execute(query("daily_run.resolvable_alerts"), {"pending": still_pending}).fetchall()
    keys = [key for key, _ in resolved]
    raise_alerts(conn, found)
    give_up(conn, [key for key, is_given_up in resolved if is_given_up])
    resolve_alerts(conn, keys)
    return found, keys


def give_up(conn: Connection, keys: Collection[str]) -> None:
    """Note in the summaries of open alerts, before they are resolved, that the work was given up."""
    if keys:
        conn.execute(query("daily_run.give_up"), {"keys": list(keys)})


def failing_tickers(partitions: Iterable[PendingPartition], settings: Settings, moment: datetime) -> list[Alert]:
    """Alerts for partitions that failed `report_after_attempts` times; an attempt under way is not reported yet."""
    config = settings.automation
    return [
        Alert(
            key=f"ticker/{partition.session}/{partition.ticker}",
            kind="ticker",
            severity="warning",
            session=partition.session,
            subject=partition.ticker,
            summary=f"failed {counted(partition.num_attempts, 'time')}: {partition.reason or NO_REASON}",
            link=_link(partition, settings.partitions),
        )
        for partition in partitions
        if partition.num_attempts >= config.report_after_attempts
        and not partition.is_done
        and (partition.reason is not None or due_at(partition, config) <= moment)
    ]


def missed_deadlines(
    partitions: Iterable[PendingPartition],
    settings: Settings,
    moment: datetime,
    watched_since: datetime | None = None,
) -> list[Alert]:
    """Alerts for partitions without a row when at most `deadline_warning_minutes` are left.

    A partition under work, or one that nothing could have attempted yet, is reported only after a grace period.
    """
    warning = timedelta(minutes=settings.automation.deadline_warning_minutes)
    return [
        Alert(
            key=f"deadline/{partition.session}/{partition.ticker}",
            kind="deadline",
            severity="error",
            session=partition.session,
            subject=partition.ticker,
            summary=(
                f"no forecast yet, {counted(round(minutes_left(partition, moment)), 'minute')} before it would be late "
                f"({partition.deadline:%Y-%m-%d %H:%M} UTC): {_why(partition)}"
            ),
            link=_link(partition, settings.partitions),
        )
        for partition in partitions
        if partition.lacks_row
        and max(partition.starts_at, partition.deadline - warning) <= moment < partition.deadline
        and not _may_be_at_work(partition, moment, watched_since)
    ]


def _may_be_at_work(partition: PendingPartition, moment: datetime, watched_since: datetime | None) -> bool:
    begun = partition.last_attempt_at if partition.num_attempts else watched_since
    return partition.reason is None and begun is not None and moment < begun + GRACE


def minutes_left(partition: PendingPartition, moment: datetime) -> float:
    """The time until the next open, after which a forecast is late; negative when it has passed."""
    return (partition.deadline - moment) / timedelta(minutes=1)


def _why(partition: PendingPartition) -> str:
    if not partition.num_attempts:
        return NEVER_ATTEMPTED
    return f"{counted(partition.num_attempts, 'attempt')}: {partition.reason or NO_REASON}"


def _link(partition: PendingPartition, partitions: PartitionConfig) -> str:
    return partition_link("snapshots", partitions.key(partition.session, partition.ticker))
