"""Alerts of the daily run: tickers that fail repeatedly, and those that will miss the open of the next session."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from ldtm_lib.alerts.alert import Alert, partition_link, raise_alerts, resolve_alerts
from ldtm_lib.daily_run.backlog import due_at
from ldtm_lib.daily_run.pending_partitions import OpenCell, open_cells
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import AutomationConfig, Settings

NO_REASON = "its run ended before it said why; see the runs of that evening"
NEVER_TRIED = "nothing has tried it; start the schedule and the sensors of the evening"


GRACE = timedelta(minutes=5)
"""How long what has just begun is left to work: the first look after a pause, or an attempt that is under way."""


def check_deadlines(
    conn: Connection, settings: Settings, calendar: Calendar, moment: datetime, watched_since: datetime | None = None
) -> tuple[list[Alert], list[str]]:
    """Raise the alerts of pending sessions, and resolve those of completed ones; returns alerts and resolved keys.

    Runs in the caller's transaction; the number of statements does not depend on the universe. `watched_since` is the
    moment of the first check after an outage: partitions without an attempt are reported only after a grace period.
    The alert of a partition that is given up is resolved as well, and its summary says that it was given up.
    """
    cells = open_cells(conn, settings, calendar, moment)
    found = [
        *failing_tickers(cells, settings.automation, moment),
        *missed_deadlines(cells, settings.automation, moment, watched_since),
    ]
    still_open = [f"{cell.session}/{cell.ticker}" for cell in cells]
    resolved = conn.execute(query("daily_run.resolvable_alerts"), {"open_cells": still_open}).fetchall()
    keys = [key for key, _ in resolved]
    raise_alerts(conn, found)
    give_up(conn, [key for key, is_given_up in resolved if is_given_up])
    resolve_alerts(conn, keys)
    return found, keys


def give_up(conn: Connection, keys: Collection[str]) -> None:
    """Note in the summaries of open alerts, before they are resolved, that the work was given up."""
    if keys:
        conn.execute(query("daily_run.give_up"), {"keys": list(keys)})


def failing_tickers(cells: Iterable[OpenCell], config: AutomationConfig, moment: datetime) -> list[Alert]:
    """Alerts for partitions that failed `report_after_attempts` times; an attempt that is under way is awaited."""
    return [
        Alert(
            key=f"ticker/{cell.session}/{cell.ticker}",
            kind="ticker",
            severity="warning",
            session=cell.session,
            subject=cell.ticker,
            summary=f"failed {cell.num_attempts} times: {cell.reason or NO_REASON}",
            link=_link(cell),
        )
        for cell in cells
        if cell.num_attempts >= config.report_after_attempts
        and not cell.is_done
        and (cell.reason is not None or due_at(cell, config) <= moment)
    ]


def missed_deadlines(
    cells: Iterable[OpenCell], config: AutomationConfig, moment: datetime, watched_since: datetime | None = None
) -> list[Alert]:
    """Alerts for partitions without a row when at most `deadline_warning_minutes` are left.

    A partition under work, or one that nothing could have attempted yet, is reported only after a grace period. With
    automation off, only tickers with an earlier forecast are reported.
    """
    warning = timedelta(minutes=config.deadline_warning_minutes)
    return [
        Alert(
            key=f"deadline/{cell.session}/{cell.ticker}",
            kind="deadline",
            severity="error",
            session=cell.session,
            subject=cell.ticker,
            summary=(
                f"no forecast yet, {minutes_left(cell, moment):.0f} minutes before it would be late "
                f"({cell.deadline:%Y-%m-%d %H:%M} UTC): {_why(cell)}"
            ),
            link=_link(cell),
        )
        for cell in cells
        if cell.lacks_row
        and max(cell.evening_at, cell.deadline - warning) <= moment < cell.deadline
        and (config.enabled or cell.has_begun or cell.num_attempts)
        and not _may_be_at_work(cell, moment, watched_since)
    ]


def _may_be_at_work(cell: OpenCell, moment: datetime, watched_since: datetime | None) -> bool:
    begun = cell.last_attempt_at if cell.num_attempts else watched_since
    return cell.reason is None and begun is not None and moment < begun + GRACE


def minutes_left(cell: OpenCell, moment: datetime) -> float:
    """The time until the next open, after which a forecast is late; negative when it has passed."""
    return (cell.deadline - moment) / timedelta(minutes=1)


def _why(cell: OpenCell) -> str:
    if not cell.num_attempts:
        return NEVER_TRIED
    return f"{cell.num_attempts} attempts: {cell.reason or NO_REASON}"


def _link(cell: OpenCell) -> str:
    return partition_link("snapshots", f"{cell.session}|{cell.ticker}")
