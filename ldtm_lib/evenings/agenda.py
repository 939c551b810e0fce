"""What to do next: of the open cells, those that are due, as one rectangle of sessions and tickers."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from ldtm_lib.config import AutomationConfig
from ldtm_lib.evenings.open_cells import OpenCell
from ldtm_lib.sessions import Calendar

A_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What one run is to make."""

    sessions: tuple[date, ...]
    """One after the other in the calendar, oldest first."""
    tickers: tuple[str, ...]
    """The same of every session."""


def next_errand(
    cells: Iterable[OpenCell],
    *,
    calendar: Calendar,
    moment: datetime,
    config: AutomationConfig,
    grace: timedelta = timedelta(),
    news_at: datetime | None = None,
) -> Errand | None:
    """The oldest session with due cells, and as many after it as have the same tickers due and fit into one run."""
    due: dict[date, set[str]] = defaultdict(set)
    for cell in cells:
        if due_at(cell, config, grace=grace, news_at=news_at) <= moment:
            due[cell.session].add(cell.ticker)
    if not due:
        return None
    sessions = [min(due)]
    tickers = due[sessions[0]]
    while len(sessions) < config.sessions_per_run:
        following = calendar.offset(sessions[-1], 1)
        if due.get(following) != tickers:
            break
        sessions.append(following)
    return Errand(sessions=tuple(sessions), tickers=tuple(sorted(tickers)))


def due_at(
    cell: OpenCell, config: AutomationConfig, *, grace: timedelta = timedelta(), news_at: datetime | None = None
) -> datetime:
    """When a cell is to be tried, never before its evening.

    At first after a grace, which leaves the first try to somebody else. Again after a wait that doubles, and once more
    at the deadline, when what is there goes on record. After it, a cell that waits for its bar is asked for once a day,
    or when the bar came; one whose run was killed after the usual wait. News at a moment, such as new files, make due
    at once what was tried before them and failed.
    """
    if cell.last_attempt_at is None:
        return cell.evening_at + grace
    waits = cell.reason is not None
    if waits and news_at is not None and cell.last_attempt_at < news_at:
        return max(cell.evening_at, news_at)
    if cell.bar_came:
        return max(cell.evening_at, cell.last_attempt_at + wait(1, config))
    retry = cell.last_attempt_at + wait(cell.num_attempts, config)
    if cell.last_attempt_at < cell.deadline:
        retry = min(retry, cell.deadline)
    elif waits:
        retry = cell.last_attempt_at + A_DAY
    return max(cell.evening_at, retry)


def wait(num_attempts: int, config: AutomationConfig) -> timedelta:
    """How long to wait after so many attempts: twice as long each time, up to the longest wait."""
    doublings = min(num_attempts - 1, 30)
    return timedelta(minutes=min(config.first_retry_minutes * 2**doublings, config.longest_retry_minutes))
