"""What to do next: of the open cells, those whose turn it is, as one rectangle of sessions and tickers."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from hashlib import sha256

from ldtm_lib.daily_run.pending_partitions import OpenCell
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import AutomationConfig

A_DAY = timedelta(days=1)
NUM_DEATHS = 2
"""Runs that died with a cell, one after the other, after which it is tried with fewer others."""
NUM_COMPANIES = 8
"""How many such runs all cells of a session are."""


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
    """Due cells of the session whose turn it is, and of as many after it as have the same due and fit into one run.

    It is the turn of the oldest session, but what was tried so often that it is reported stands in line with the
    others from when it is due again. As long as a forecast is missing that will be late soon, nothing else is made.
    """
    cells = list(cells)
    due: dict[date, list[OpenCell]] = defaultdict(list)
    turns: dict[date, datetime] = {}
    for cell in [cell for cell in cells if _is_urgent(cell, moment, config)] or cells:
        since = due_at(cell, config, grace=grace, news_at=news_at)
        if since <= moment:
            turn = cell.evening_at if cell.num_attempts < config.report_after_attempts else since
            due[cell.session].append(cell)
            turns[cell.session] = min(turn, turns.get(cell.session, turn))
    if not due:
        return None
    sessions = [min(turns, key=lambda session: (turns[session], session))]
    tickers = _company(due[sessions[0]])
    while len(sessions) < config.sessions_per_run:
        following = calendar.offset(sessions[-1], 1)
        if _company(due.get(following, [])) != tickers:
            break
        sessions.append(following)
    return Errand(sessions=tuple(sessions), tickers=tuple(sorted(tickers)))


def due_at(
    cell: OpenCell, config: AutomationConfig, *, grace: timedelta = timedelta(), news_at: datetime | None = None
) -> datetime:
    """When a cell is to be tried, never before its evening.

    At first after a grace, which leaves the first try to somebody else. Again after a wait that doubles, and once more
    at the deadline (see `_in_time`). After it, the wait goes on doubling up to a day; a cell that waits for its bar is
    asked for once a day from when what is there has gone on record, or when the bar came. News at a moment, such as new
    files, make due at once what was tried before them and failed.
    """
    if cell.last_attempt_at is None:
        return cell.evening_at + grace
    waits = cell.reason is not None
    if waits and news_at is not None and cell.last_attempt_at < news_at:
        return max(cell.evening_at, news_at)
    if cell.bar_came:
        return max(cell.evening_at, cell.last_attempt_at + wait(1, config))
    if cell.last_attempt_at < cell.deadline:
        retry = _in_time(cell, cell.last_attempt_at, config)
    elif waits and not (cell.lacks_row and cell.num_attempts < config.report_after_attempts):
        retry = cell.last_attempt_at + A_DAY
    elif cell.is_done:
        retry = cell.last_attempt_at + wait(cell.num_attempts, config)
    else:
        retry = cell.last_attempt_at + wait(cell.num_attempts, config, longest=A_DAY)
    return max(cell.evening_at, retry)


def wait(num_attempts: int, config: AutomationConfig, longest: timedelta | None = None) -> timedelta:
    """How long to wait after so many attempts: twice as long each time, up to the longest wait."""
    doubled = timedelta(minutes=config.first_retry_minutes * 2 ** min(num_attempts - 1, 30))
    return min(doubled, longest or timedelta(minutes=config.max_retry_minutes))


def _in_time(cell: OpenCell, last_attempt_at: datetime, config: AutomationConfig) -> datetime:
    """When to try again what failed before its deadline.

    What failed so often that it is reported is left alone for about as long as it has failed already: what was away for
    an hour is waited for an hour at most. From the warning before the deadline on, haste is worth its runs again.
    """
    warning_at = cell.deadline - timedelta(minutes=config.deadline_warning_minutes)
    if config.report_after_attempts <= cell.num_attempts and last_attempt_at < warning_at:
        return min(last_attempt_at + wait(cell.num_attempts, config, longest=A_DAY), warning_at)
    return min(last_attempt_at + wait(cell.num_attempts, config), cell.deadline)


def _is_urgent(cell: OpenCell, moment: datetime, config: AutomationConfig) -> bool:
    """Whether a forecast is missing that will be late in `deadline_warning_minutes`: one of the newest session."""
    warning = timedelta(minutes=config.deadline_warning_minutes)
    return cell.lacks_row and cell.deadline - warning <= moment < cell.deadline


def _company(cells: Sequence[OpenCell]) -> set[str]:
    """Of the due cells of a session, the tickers that one run tries.

    That is all of them, but those whose runs died again and again come after the others, in eighths that are thrown
    together anew after each attempt: a ticker that ends the run of all is soon alone with its fault.
    """

    def company(cell: OpenCell) -> tuple[int, int]:
        if cell.is_done or cell.reason is not None or cell.num_attempts < NUM_DEATHS:
            return 0, 0
        return cell.num_attempts, sha256(f"{cell.num_attempts} {cell.ticker}".encode()).digest()[0] % NUM_COMPANIES

    first = min((company(cell) for cell in cells), default=None)
    return {cell.ticker for cell in cells if company(cell) == first}
