"""What to do next: of the open partitions, those whose turn it is, as one rectangle of sessions and tickers."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from hashlib import sha256

from ldtm_lib.daily_run.pending_partitions import PendingPartition
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import AutomationConfig

A_DAY = timedelta(days=1)
NUM_DEATHS = 2
"""Runs that died with a partition, one after the other, after which it is tried with fewer others."""
NUM_COMPANIES = 8
"""How many such runs all partitions of a session are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BacklogItem:
    """What one run is to make."""

    sessions: tuple[date, ...]
    """One after the other in the calendar, oldest first."""
    tickers: tuple[str, ...]
    """The same of every session."""


def next_backlog_item(
    partitions: Iterable[PendingPartition],
    *,
    calendar: Calendar,
    moment: datetime,
    config: AutomationConfig,
    grace: timedelta = timedelta(),
    news_at: datetime | None = None,
) -> BacklogItem | None:
    """Due partitions of the session whose turn it is, and of the sessions after it that have the same due tickers.

    It is the turn of the oldest session, but what was tried so often that it is reported stands in line with the
    others from when it is due again. As long as a forecast is missing that will be late soon, nothing else is made.
    """
    partitions = list(partitions)
    due: dict[date, list[PendingPartition]] = defaultdict(list)
    turns: dict[date, datetime] = {}
    for partition in [partition for partition in partitions if _is_urgent(partition, moment, config)] or partitions:
        since = due_at(partition, config, grace=grace, news_at=news_at)
        if since <= moment:
            turn = partition.starts_at if partition.num_attempts < config.report_after_attempts else since
            due[partition.session].append(partition)
            turns[partition.session] = min(turn, turns.get(partition.session, turn))
    if not due:
        return None
    sessions = [min(turns, key=lambda session: (turns[session], session))]
    tickers = _company(due[sessions[0]])
    while len(sessions) < config.sessions_per_run:
        following = calendar.offset(sessions[-1], 1)
        if _company(due.get(following, [])) != tickers:
            break
        sessions.append(following)
    return BacklogItem(sessions=tuple(sessions), tickers=tuple(sorted(tickers)))


def due_at(
    partition: PendingPartition,
    config: AutomationConfig,
    *,
    grace: timedelta = timedelta(),
    news_at: datetime | None = None,
) -> datetime:
    """When a partition is due, never before the daily run of its session starts.

    The first attempt is due after a grace, which leaves it to the schedule. Retries follow after a back-off that
    doubles, and once more at the deadline (see `_retry_before_deadline`). After the deadline the back-off doubles up
    to a day. A partition that has its row and waits for its bar is retried once a day, or when the bar has arrived.
    News at a moment, such as new files, make due at once what failed before that moment.
    """
    if partition.last_attempt_at is None:
        return partition.starts_at + grace
    waits = partition.reason is not None
    if waits and news_at is not None and partition.last_attempt_at < news_at:
        return max(partition.starts_at, news_at)
    if partition.bar_came:
        return max(partition.starts_at, partition.last_attempt_at + wait(1, config))
    if partition.last_attempt_at < partition.deadline:
        retry = _retry_before_deadline(partition, partition.last_attempt_at, config)
    elif waits and not (partition.lacks_row and partition.num_attempts < config.report_after_attempts):
        retry = partition.last_attempt_at + A_DAY
    elif partition.is_done:
        retry = partition.last_attempt_at + wait(partition.num_attempts, config)
    else:
        retry = partition.last_attempt_at + wait(partition.num_attempts, config, longest=A_DAY)
    return max(partition.starts_at, retry)


def wait(num_attempts: int, config: AutomationConfig, longest: timedelta | None = None) -> timedelta:
    """How long to wait after so many attempts: twice as long each time, up to the longest wait."""
    doubled = timedelta(minutes=config.first_retry_minutes * 2 ** min(num_attempts - 1, 30))
    return min(doubled, longest or timedelta(minutes=config.max_retry_minutes))


def _retry_before_deadline(
    partition: PendingPartition, last_attempt_at: datetime, config: AutomationConfig
) -> datetime:
    """When to try again what failed before its deadline.

    What failed so often that it is reported is left alone for about as long as it has failed already: what was away for
    an hour is waited for an hour at most. From the warning before the deadline on, haste is worth its runs again.
    """
    warning_at = partition.deadline - timedelta(minutes=config.deadline_warning_minutes)
    if config.report_after_attempts <= partition.num_attempts and last_attempt_at < warning_at:
        return min(last_attempt_at + wait(partition.num_attempts, config, longest=A_DAY), warning_at)
    return min(last_attempt_at + wait(partition.num_attempts, config), partition.deadline)


def _is_urgent(partition: PendingPartition, moment: datetime, config: AutomationConfig) -> bool:
    """Whether a forecast is missing that will be late in `deadline_warning_minutes`: one of the newest session."""
    warning = timedelta(minutes=config.deadline_warning_minutes)
    return partition.lacks_row and partition.deadline - warning <= moment < partition.deadline


def _company(partitions: Sequence[PendingPartition]) -> set[str]:
    """Of the due partitions of a session, the tickers that one run tries.

    That is all of them, but those whose runs died again and again come after the others, in eighths that are thrown
    together anew after each attempt: a ticker that ends the run of all is soon alone with its fault.
    """

    def company(partition: PendingPartition) -> tuple[int, int]:
        if partition.is_done or partition.reason is not None or partition.num_attempts < NUM_DEATHS:
            return 0, 0
        return partition.num_attempts, sha256(f"{partition.num_attempts} {partition.ticker}".encode()).digest()[
            0
        ] % NUM_COMPANIES

    first = min((company(partition) for partition in partitions), default=None)
    return {partition.ticker for partition in partitions if company(partition) == first}
