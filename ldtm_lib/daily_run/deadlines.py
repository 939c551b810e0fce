"""Who needs a person: tickers that fail again and again, and those that will miss the open of the next session."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from ldtm_lib.alerts.alert import Trouble, end, notice
from ldtm_lib.alerts.links import partition_page
from ldtm_lib.daily_run.backlog import due_at
from ldtm_lib.daily_run.pending_partitions import OpenCell, open_cells
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import AutomationConfig, Settings

UNTOLD = "its run ended before it said why; see the runs of that evening"
NEVER_TRIED = "nothing has tried it; start the schedule and the sensors of the evening"


GRACE = timedelta(minutes=5)
"""How long what has just begun is left to work: the first look after a pause, or an attempt that is under way."""


def watch_evenings(
    conn: Connection, settings: Settings, calendar: Calendar, moment: datetime, watched_since: datetime | None = None
) -> tuple[list[Trouble], list[str]]:
    """Notice the troubles of open evenings, and end those whose evening is whole now; returns them and the ended keys.

    In the caller's transaction. The number of statements does not depend on the universe. Where somebody has looked
    only since a moment, as after an outage, what nothing has tried yet is told only when a grace has passed. What is
    made and waited for no more is no trouble either, and ends with the word that it was given up.
    """
    cells = open_cells(conn, settings, calendar, moment)
    found = [
        *failing_tickers(cells, settings.automation, moment),
        *missed_deadlines(cells, settings.automation, moment, watched_since),
    ]
    still_open = [f"{cell.session}/{cell.ticker}" for cell in cells]
    over = conn.execute(query("daily_run.well_again"), {"open_cells": still_open}).fetchall()
    ended = [key for key, _ in over]
    notice(conn, found)
    give_up(conn, [key for key, is_given_up in over if is_given_up])
    end(conn, ended)
    return found, ended


def give_up(conn: Connection, keys: Collection[str]) -> None:
    """Say of open troubles, before they end, that they are given up and not well again."""
    if keys:
        conn.execute(query("daily_run.give_up"), {"keys": list(keys)})


def failing_tickers(cells: Iterable[OpenCell], config: AutomationConfig, moment: datetime) -> list[Trouble]:
    """Cells that were tried `report_after_attempts` times and are not whole; one that is being tried is none yet."""
    return [
        Trouble(
            key=f"ticker/{cell.session}/{cell.ticker}",
            kind="ticker",
            severity="warning",
            evening=cell.session,
            subject=cell.ticker,
            summary=f"failed {cell.num_attempts} times: {cell.reason or UNTOLD}",
            link=_link(cell),
        )
        for cell in cells
        if cell.num_attempts >= config.report_after_attempts
        and not cell.is_done
        and (cell.reason is not None or due_at(cell, config) <= moment)
    ]


def missed_deadlines(
    cells: Iterable[OpenCell], config: AutomationConfig, moment: datetime, watched_since: datetime | None = None
) -> list[Trouble]:
    """Cells without a row while there is `deadline_warning_minutes` of time left, or less.

    One that is being tried, or that nothing could have tried yet, is none until a grace has passed. Where nothing runs
    by itself, only tickers count that have been spoken for before: nobody waits for the others.
    """
    warning = timedelta(minutes=config.deadline_warning_minutes)
    return [
        Trouble(
            key=f"deadline/{cell.session}/{cell.ticker}",
            kind="deadline",
            severity="error",
            evening=cell.session,
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
        and (config.on or cell.has_begun or cell.num_attempts)
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
    return f"{cell.num_attempts} attempts: {cell.reason or UNTOLD}"


def _link(cell: OpenCell) -> str:
    return partition_page("snapshots", f"{cell.session}|{cell.ticker}")
