"""The backlog: the pending partitions that the next run should make, as one rectangle of sessions and tickers."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from hashlib import sha256

from ldtm_lib.daily_run.pending_partitions import PendingPartition
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import AutomationConfig

A_DAY = timedelta(days=1)
MAX_DEATHS = 2
"""Consecutive runs that died with a partition, after which it is retried in a smaller group."""
NUM_GROUPS = 8
"""Groups into which such partitions of a session are divided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BacklogItem:
    """The work of one run."""

    sessions: tuple[date, ...]
    """Consecutive sessions, oldest first."""
    tickers: tuple[str, ...]
    """The same tickers on every session."""


def next_backlog_item(
    partitions: Iterable[PendingPartition],
    *,
    calendar: Calendar,
    moment: datetime,
    config: AutomationConfig,
    grace: timedelta = timedelta(),
    news_at: datetime | None = None,
) -> BacklogItem | None:
    """The due partitions of the next session, and of the sessions after it that have the same due tickers.

    The oldest session comes first. A partition that has failed `report_after_attempts` times ranks by the time when
    its retry became due instead. While a forecast is about to miss its deadline, only such forecasts are made.
    """
    partitions = list(partitions)
    due: dict[date, list[PendingPartition]] = defaultdict(list)
    ranks: dict[date, datetime] = {}
    for partition in [partition for partition in partitions if _is_urgent(partition, moment, config)] or partitions:
        since = due_at(partition, config, grace=grace, news_at=news_at)
        if since <= moment:
            rank = partition.starts_at if partition.num_attempts < config.report_after_attempts else since
            due[partition.session].append(partition)
            ranks[partition.session] = min(rank, ranks.get(partition.session, rank))
    if not due:
        return None
    sessions = [min(ranks, key=lambda session: (ranks[session], session))]
    tickers = _group(due[sessions[0]])
    while len(sessions) < config.sessions_per_run:
        following = calendar.offset(sessions[-1], 1)
        if _group(due.get(following, [])) != tickers:
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
    """Time at which a partition is due, never before the daily run of its session starts.

    The first attempt is due after a grace, which leaves it to the schedule. Retries follow after a back-off that
    doubles, and once more at the deadline (see `_retry_before_deadline`). After the deadline the back-off doubles up to
    a day. A partition that has its row and waits for its bar is retried once a day, or when the bar has arrived. News
    at a moment, such as new files, makes partitions that failed before that moment due at once.
    """
    if partition.last_attempt_at is None:
        return partition.starts_at + grace
    waits = partition.reason is not None
    if waits and news_at is not None and partition.last_attempt_at < news_at:
        return max(partition.starts_at, news_at)
    if partition.has_new_bar:
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
    """The back-off after some attempts: it doubles each time, up to the longest wait."""
    doubled = timedelta(minutes=config.first_retry_minutes * 2 ** min(num_attempts - 1, 30))
    return min(doubled, longest or timedelta(minutes=config.max_retry_minutes))


def _retry_before_deadline(
    partition: PendingPartition, last_attempt_at: datetime, config: AutomationConfig
) -> datetime:
    """The retry of a partition that failed before its deadline.

    After `report_after_attempts` attempts the back-off has no upper limit: it is about as long as the time since the
    first failure. From the deadline's warning on, the usual limit holds again.
    """
    warning_at = partition.deadline - timedelta(minutes=config.deadline_warning_minutes)
    if config.report_after_attempts <= partition.num_attempts and last_attempt_at < warning_at:
        return min(last_attempt_at + wait(partition.num_attempts, config, longest=A_DAY), warning_at)
    return min(last_attempt_at + wait(partition.num_attempts, config), partition.deadline)


def _is_urgent(partition: PendingPartition, moment: datetime, config: AutomationConfig) -> bool:
    """True if a forecast of the newest session is missing, and will be late within `deadline_warning_minutes`."""
    warning = timedelta(minutes=config.deadline_warning_minutes)
    return partition.lacks_row and partition.deadline - warning <= moment < partition.deadline


def _group(partitions: Sequence[PendingPartition]) -> set[str]:
    """The tickers among the due partitions of a session that one run takes.

    Partitions whose runs died repeatedly come after the others, in eight groups that are shuffled after each attempt,
    so that a ticker that kills its run is soon alone in its group.
    """

    def group(partition: PendingPartition) -> tuple[int, int]:
        if partition.is_done or partition.reason is not None or partition.num_attempts < MAX_DEATHS:
            return 0, 0
        digest = sha256(f"{partition.num_attempts} {partition.ticker}".encode()).digest()
        return partition.num_attempts, digest[0] % NUM_GROUPS

    first = min((group(partition) for partition in partitions), default=None)
    return {partition.ticker for partition in partitions if group(partition) == first}
