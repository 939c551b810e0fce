"""`ldtm status`: one screen that says how the installation is doing, and what needs a person."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ldtm_lib.alerts.addresses import VARIABLE, addresses
from ldtm_lib.alerts.secrets import without_secrets
from ldtm_lib.daily_run.freshness import named
from ldtm_lib.daily_run.pending_partitions import NEW_YORK
from ldtm_lib.database import embedded
from ldtm_lib.database.clock import now
from ldtm_lib.database.migrate import pending_migrations
from ldtm_lib.errors import DatabaseUnavailable, LdtmError
from ldtm_lib.maintenance.disk import free_bytes, little_disk
from ldtm_lib.maintenance.run_folders import size_of
from ldtm_lib.maintenance.run_storage import has_run_storage
from ldtm_lib.maintenance.status import Status, needs, status
from ldtm_lib.project import DATABASE_VARIABLE, Project, home_of, open_project
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings, load_settings

if TYPE_CHECKING:
    from ldtm_cli.dagster_status import DagsterStatus

WIDTH, LABEL = 80, 7
NUM_SHOWN = 6
"""Lines of a list that the screen has room for."""
MIB, GIB = 2**20, 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """All that is shown. What could not be looked at is None; `needs` says why."""

    tables: Status | None
    dagster: "DagsterStatus | None"
    folder_bytes: Mapping[str, int]
    """What the folders beside the configuration take."""
    free_bytes: int
    needs: tuple[str, ...]
    """What needs a person, in sentences."""

    def as_dict(self) -> dict[str, object]:
        """The screen for JSON."""
        return {"is_well": not self.needs, **asdict(self)}


def look(config: Path, environ: Mapping[str, str], calendar: Calendar) -> Screen:
    """Look at all that can be looked at; nothing is started. Raises ConfigurationError for a wrong file."""
    settings = load_settings(config)
    home = home_of(settings)
    tables, dagster, told = None, None, list[str]()
    try:
        project = _project(settings, config, environ)
        if pending := pending_migrations(project.database):
            told.append(f"schema {project.database.schema} lacks {len(pending)} steps: `ldtm db migrate`")
        else:
            with project.database.transaction() as conn:
                tables = status(conn, settings, calendar)
            told += needs(tables, settings)
        dagster = _dagster(project, calendar)
        told += _needs_of(dagster, tables, settings)
    except LdtmError as error:
        told.append(str(error))
    if settings.automation.on and not addresses(environ):
        told.append(f"automation is on and {VARIABLE} names no channel, so nobody is told anything: `ldtm alerts test`")
    disk = little_disk(home)
    if disk is not None and not (tables and any(trouble.key == disk.key for trouble in tables.troubles)):
        told.append(f"{disk.subject}: {disk.summary}")
    return Screen(
        tables=tables,
        dagster=dagster,
        folder_bytes={name: size_of(home / name) for name in ("checkpoints", "dagster", "logs")},
        free_bytes=free_bytes(home),
        needs=tuple(without_secrets(line, environ) for line in told),
    )


def print_screen(console: Console, screen: Screen) -> None:
    """Show it all on one screen of 80 columns."""
    width = min(console.width, WIDTH)
    table = Table(box=None, show_header=False, pad_edge=False, width=width)
    table.add_column(style="bold", width=LABEL)
    table.add_column(overflow="fold", ratio=1)
    for label, lines in _sections(screen):
        table.add_row(label, escape("\n".join(lines)))
    console.print(table, highlight=False)
    if not screen.needs:
        console.print("\n[green]All is well.[/]")
        return
    console.print(f"\n[yellow]{_num(len(screen.needs), 'thing')} for a person to look at:[/]", highlight=False)
    items = Table(box=None, show_header=False, pad_edge=False, padding=(0, 0, 0, 1), width=width)
    for line in _shortened(screen.needs):
        items.add_row("·", escape(shorten(line, 2 * width, placeholder=" ...")))
    console.print(items, highlight=False)


def _sections(screen: Screen) -> Iterator[tuple[str, list[str]]]:
    if (found := screen.tables) is not None:
        yield "evening", [*_evening(found)]
        yield "open", [*_open(found)] or ["nothing"]
        yield "models", [*_models(found)]
        yield "alerts", [*_alerts(found)] or ["none"]
    yield "Dagster", [*_dagster_lines(screen.dagster)]
    if screen.dagster is not None:
        yield "next", [*_next(screen.dagster)]
    yield "disk", [_disk(screen)]


def _evening(found: Status) -> Iterator[str]:
    evening, standing = found.evening, found.standing
    kinds = {"live": evening.num_live, "late": len(evening.late), "simulated": evening.num_simulated}
    rows = ", ".join(f"{number} {kind}" for kind, number in kinds.items() if number) or "no"
    abstained = f", {evening.num_abstained} of which abstain" if evening.num_abstained else ""
    yield f"{evening.session:%a %Y-%m-%d}: {rows} rows of {_num(evening.num_tickers, 'ticker')}{abstained}"
    if found.is_last:
        yield "the last one: there are no partitions after it"
    if standing.first_attempt_at is None or standing.last_attempt_at is None:
        if evening.without_row:
            yield "not tried yet"
    else:
        tried = (standing.first_attempt_at, standing.last_attempt_at)
        first, last = (f"{moment.astimezone(NEW_YORK):%m-%d %H:%M}" for moment in tried)
        attempts = _num(standing.num_attempts or 0, "attempt")
        yield f"tried {first} to {last} New York, up to {attempts}, {standing.num_done} whole"
    if evening.without_bar:
        yield f"no bar: {named(evening.without_bar)}"
    if evening.without_row:
        yield f"no row: {named(evening.without_row)}"
    failed = [cell for cell in found.cells if cell.session == evening.session and cell.reason]
    yield from _shortened([f"{cell.ticker}, {_num(cell.num_attempts, 'attempt')}: {cell.reason}" for cell in failed])


def _open(found: Status) -> Iterator[str]:
    waiting = Counter((cell.session, cell.deadline) for cell in found.cells if cell.lacks_row)
    lines: list[str] = []
    for (session, deadline), number in sorted(waiting.items()):
        when = f"by {_both_clocks(deadline)}" if deadline > found.standing.moment else "late by now"
        lines.append(f"{_num(number, 'row')} of {session}, {when}")
    yield from _shortened(lines)
    if others := sum(not cell.lacks_row for cell in found.cells):
        yield f"{_num(others, 'cell')} with a row and something else to come"
    if number := found.standing.num_without_bar:
        yield f"{_num(number, 'due actual')} without a bar, the oldest of {found.standing.oldest_without_bar}"
    if number := found.standing.num_refused_bars:
        yield f"{_num(number, 'refused bar')} in quarantine"


def _models(found: Status) -> Iterator[str]:
    standing = found.standing
    yield f"{len(standing.speaking or ())} of {_num(len(found.universe), 'ticker')} have an active model" + (
        f"; {len(found.degraded)} fell below the gate" if found.degraded else ""
    )
    if standing.newest_promotion is not None and standing.promoted_at is not None:
        yield f"newest: {standing.newest_promotion}, {_new_york(standing.promoted_at)} New York"
    if standing.speaking and found.silent:
        yield f"none: {named(found.silent)}"


def _alerts(found: Status) -> Iterator[str]:
    if found.troubles:
        yield f"{_num(len(found.troubles), 'trouble')} not over yet"
    if number := sum(bool(message.undelivered) for message in found.messages):
        yield f"{_num(number, 'message')} on the way"
    for message in found.messages[:NUM_SHOWN]:
        yield f"#{message.alert_id} {_new_york(message.made_at)} {message.severity}: {message.title}"


def _dagster_lines(found: "DagsterStatus | None") -> Iterator[str]:
    if found is None:
        yield "not looked at"
        return
    pages = f", pages at {found.pages}" if found.pages else ""
    if found.runs_in_part:
        yield f"runs without {' and '.join(found.silent)}{pages}"
    else:
        yield f"runs{pages}" if found.is_alive else "does not run"
    jobs = f" ({', '.join(sorted(set(found.running)))})" if found.running else ""
    yield f"{_num(len(found.running), 'run')} under way{jobs}, {found.num_queued} queued"
    if found.gpu_slots is not None:
        yield f"GPU pool: {found.gpu_slots_held} of {_num(found.gpu_slots, 'slot')} held, " + (
            f"{_num(found.num_waiting_for_gpu, 'training')} waiting"
        )


def _next(found: "DagsterStatus") -> Iterator[str]:
    if found.next_ticks and not found.is_alive:
        yield "if Dagster runs by then:"
    width = max((len(tick.schedule) for tick in found.next_ticks), default=0)
    for tick in found.next_ticks:
        yield f"{tick.schedule:{width}}  {_both_clocks(tick.at)}"
    if found.stopped:
        yield f"off: {', '.join(found.stopped)}"


def _disk(screen: Screen) -> str:
    sizes = {"database": screen.tables.standing.database_bytes} if screen.tables else {}
    sizes |= {name: size for name, size in screen.folder_bytes.items() if size}
    taken = ", ".join(f"{name} {size / MIB:,.0f} MiB" for name, size in sizes.items())
    return f"{taken}; {screen.free_bytes / GIB:,.0f} GiB free".removeprefix("; ")


def _project(settings: Settings, config: Path, environ: Mapping[str, str]) -> Project:
    """The project, if its database runs: to look is no reason to start a server."""
    if not environ.get(DATABASE_VARIABLE) and not embedded.is_running(home_of(settings)):
        raise DatabaseUnavailable(f"the embedded PostgreSQL of {home_of(settings)} does not run: `ldtm up`")
    return open_project(config, environ)


def _dagster(project: Project, calendar: Calendar) -> "DagsterStatus | None":
    """What Dagster's storage says; None where it has none yet, which a look would otherwise create."""
    with project.dagster_database.transaction() as conn:
        if not has_run_storage(conn):
            return None
        moment = now(conn)
    from ldtm_cli.dagster_status import dagster_status

    return dagster_status(project, calendar, moment)


def _needs_of(found: "DagsterStatus | None", tables: Status | None, settings: Settings) -> list[str]:
    """What is amiss with Dagster. Where no evening will come and nothing is to run by itself, it may stand still."""
    may_stand_still = tables is not None and tables.is_last and not settings.automation.on
    if found is None:
        return [] if may_stand_still else ["Dagster was never started here: `ldtm up`"]
    told = list[str]()
    if found.runs_in_part:
        told.append(f"Dagster runs, but nobody looks after {' and '.join(found.silent)}: `ldtm down`, then `ldtm up`")
    elif not (found.is_alive or may_stand_still):
        told.append("Dagster does not run, so nothing happens by itself: `ldtm up`")
    if settings.automation.on and found.stopped:
        told.append(f"automation is on, but {', '.join(found.stopped)} was stopped in the pages")
    told += [f"{name} fails at each look: {why}" for name, why in found.failing]
    return told


def _shortened(lines: Sequence[str]) -> Iterable[str]:
    more = [f"and {len(lines) - NUM_SHOWN} more"] if len(lines) > NUM_SHOWN else []
    return [*lines[:NUM_SHOWN], *more]


def _num(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' if number != 1 else ''}"


def _new_york(moment: datetime) -> str:
    return f"{moment.astimezone(NEW_YORK):%Y-%m-%d %H:%M}"


def _both_clocks(moment: datetime) -> str:
    return f"{moment.astimezone(NEW_YORK):%a %Y-%m-%d %H:%M} New York, {moment:%H:%M} UTC"
