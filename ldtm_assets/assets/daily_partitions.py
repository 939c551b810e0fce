"""The cells of an evening's run: what can be done about each, who waits, and the attempts on record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ldtm_assets.assets.materialization import Outcome
from ldtm_assets.partitions import Cell
from ldtm_lib.daily_run import attempts
from ldtm_lib.daily_run.pending_partitions import open_cells
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import AutomationConfig, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The cells of a run, sorted by what can be done about them."""

    ready: list[Cell]
    refused: dict[str, str]
    """Their session has not closed; the reason by partition key."""
    departed: list[Cell]
    """Their ticker had left the universe by then."""


def restrict(cells: Sequence[Cell], only: Sequence[str]) -> list[Cell]:
    """The cells of some tickers, all of them when none is named. Raises ConfigurationError for one that has no cell."""
    if absent := sorted(set(only) - {cell.ticker for cell in cells}):
        raise ConfigurationError(
            f"`only` names {', '.join(absent)}, of which the run has no partition; ask for a range that holds them"
        )
    return [cell for cell in cells if not only or cell.ticker in only]


def sort_out(cells: Sequence[Cell], settings: Settings, calendar: Calendar, moment: datetime) -> Asked:
    """Sort cells by what can be done at a moment. A range of partitions is not validated by Dagster: it is here."""
    newest = calendar.last_closed(moment)
    asked = Asked(ready=[], refused={}, departed=[])
    for cell in cells:
        if cell.session > newest:
            asked.refused[cell.key] = f"session {cell.session} has not closed; the newest closed one is {newest}"
        elif cell.ticker not in settings.tickers_on(cell.session):
            asked.departed.append(cell)
        else:
            asked.ready.append(cell)
    return asked


def waiting_for_a_retry(
    cells: Sequence[Cell],
    calendar: Calendar,
    moment: datetime,
    config: AutomationConfig,
    num_attempts: Mapping[str, int],
) -> dict[str, str]:
    """Of cells that failed, those that are better tried again than given up, with the reason to wait.

    An abstention is on record for good. It is not written while a retry may still bring the bar before the session
    that the forecast would speak about opens. Later it is written only after `report_after_attempts` attempts: the
    source may be away for some minutes more when an outage ends. `num_attempts` tells these by partition key, of the
    cells that are tried again by themselves (see `made_up_for`).
    """
    opens = {session: calendar.opens_at(calendar.offset(session, 1)) for session in {cell.session for cell in cells}}
    waiting: dict[str, str] = {}
    for cell in cells:
        opens_at, num_tried = opens[cell.session], num_attempts.get(cell.key, config.report_after_attempts)
        if moment < opens_at:
            waiting[cell.key] = f"waits for its bar; there is time until {opens_at:%Y-%m-%d %H:%M} UTC to try again"
        elif num_tried < config.report_after_attempts:
            waiting[cell.key] = (
                f"waits for its bar; that was attempt {num_tried}, it abstains after {config.report_after_attempts}"
            )
    return waiting


def made_up_for(project: Project, calendar: Calendar, moment: datetime) -> dict[str, int]:
    """The cells without a row that are tried again by themselves, and how often they have been, by partition key."""
    with project.database.transaction() as conn:
        found = open_cells(conn, project.settings, calendar, moment)
    return {Cell(cell.session, cell.ticker).key: cell.num_attempts for cell in found if cell.lacks_row}


def begin(project: Project, cells: Sequence[Cell]) -> None:
    """Note an attempt at cells before the work begins."""
    with project.database.transaction() as conn:
        attempts.begin(conn, [(cell.session, cell.ticker) for cell in cells])


def finish(project: Project, cells: Sequence[Cell], outcomes: Mapping[str, Outcome]) -> None:
    """Note what became of an attempt: a cell is done when no stage failed it."""
    reasons: dict[str, str] = {}
    for outcome in outcomes.values():
        reasons = outcome.failed | reasons
    keys = {cell.key: (cell.session, cell.ticker) for cell in cells}
    with project.database.transaction() as conn:
        attempts.finish(
            conn,
            done=[cell for key, cell in keys.items() if key not in reasons],
            failed={cell: reasons[key] for key, cell in keys.items() if key in reasons},
        )
