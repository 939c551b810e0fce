"""The cells of an evening's run: what can be done about each, who waits, and the attempts on record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ldtm_assets.partitions import Cell
from ldtm_assets.recording import Outcome
from ldtm_lib.config import Settings
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.evenings import attempts
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar


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


def waiting_for_a_retry(cells: Sequence[Cell], calendar: Calendar, moment: datetime) -> dict[str, str]:
    """Of cells that failed, those whose forecast can still come in time, with the reason to wait.

    An abstention is on record for good. It is not written while a retry may still bring the bar before the session
    that the forecast would speak about opens.
    """
    opens = {session: calendar.opens_at(calendar.offset(session, 1)) for session in {cell.session for cell in cells}}
    return {
        cell.key: f"waits for its bar; there is time until {opens[cell.session]:%Y-%m-%d %H:%M} UTC to try again"
        for cell in cells
        if moment < opens[cell.session]
    }


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
