"""`ldtm status`: the status of the installation on one screen, and the conditions that need a person."""

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

from ldtm_lib.alerts.secrets import ALERT_VARIABLE, alert_urls, without_secrets
from ldtm_lib.daily_run.freshness import named
from ldtm_lib.daily_run.pending_partitions import NEW_YORK
from ldtm_lib.database import embedded
from ldtm_lib.database.clock import now
from ldtm_lib.database.migrate import pending_migrations
from ldtm_lib.errors import DatabaseUnavailable, LdtmError
from ldtm_lib.maintenance.dagster_storage import has_run_storage
from ldtm_lib.maintenance.disk import folder_bytes, free_bytes, low_disk_alert
from ldtm_lib.maintenance.status import Status, needs, status
from ldtm_lib.project import DATABASE_VARIABLE, Project, home_of, open_project
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings, load_settings

if TYPE_CHECKING:
    from ldtm_cli.dagster_status import DagsterStatus

WIDTH, LABEL = 80, 7
NUM_SHOWN = 6
"""Lines of a list that fit on the screen."""
MIB, GIB = 2**20, 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """Content of the screen. A part that could not be read is None, and `needs` gives the reason."""

    tables: Status | None
    dagster: "DagsterStatus | None"
    folder_bytes: Mapping[str, int]
    """Sizes of the folders beside the configuration."""
    free_bytes: int
    needs: tuple[str, ...]
    """Conditions that need a person, in sentences."""

    def as_dict(self) -> dict[str, object]:
        """The screen for JSON."""
        return {"is_well": not self.needs, **asdict(self)}


def read_screen(config: Path, environ: Mapping[str, str], calendar: Calendar) -> Screen:
    """Read every part that can be read, without starting anything. Raises ConfigurationError for an invalid file."""
    settings = load_settings(config)
    home = home_of(settings)
    tables, dagster, lines = None, None, list[str]()
    try:
        project = _project(settings, config, environ)
        if pending := pending_migrations(project.database):
            lines.append(f"schema {project.database.schema} lacks {len(pending)} steps: `ldtm db migrate`")
        else:
            with project.database.transaction() as conn:
                tables = status(conn, settings, calendar)
            lines += needs(tables, settings)
        dagster = _dagster(project, calendar)
        lines += _needs_of(dagster, tables, settings)
    except LdtmError as error:
        lines.append(str(error))
    if settings.automation.enabled and not alert_urls(environ):
        lines.append(
            f"automation is on and {ALERT_VARIABLE} names no channel, so nobody is notified: `ldtm alerts test`"
        )
    disk = low_disk_alert(home)
    if disk is not None and not (tables and any(alert.key == disk.key for alert in tables.alerts)):
        lines.append(f"{disk.subject}: {disk.summary}")
    return Screen(
        tables=tables,
        dagster=dagster,
        folder_bytes={name: folder_bytes(home / name) for name in ("checkpoints", "dagster", "logs")},
        free_bytes=free_bytes(home),
        needs=tuple(without_secrets(line, environ) for line in lines),
    )


def print_screen(console: Console, screen: Screen) -> None:
    """Print one screen of 80 columns."""
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
        yield "session", [*_session(found)]
        yield "pending", [*_pending(found)] or ["nothing"]
        yield "models", [*_models(found)]
        yield "alerts", [*_alerts(found)] or ["none"]
    yield "Dagster", [*_dagster_lines(screen.dagster)]
    if screen.dagster is not None:
        yield "next", [*_next(screen.dagster)]
    yield "disk", [_disk(screen)]


def _session(found: Status) -> Iterator[str]:
    newest, counts = found.newest, found.counts
    kinds = {"live": newest.num_live, "late": len(newest.late), "simulated": newest.num_simulated}
    rows = ", ".join(f"{number} {kind}" for kind, number in kinds.items() if number) or "no"
    abstained = f", {newest.num_abstained} of which abstain" if newest.num_abstained else ""
    yield f"{newest.session:%a %Y-%m-%d}: {rows} rows of {_num(newest.num_tickers, 'ticker')}{abstained}"
    if found.is_last:
        yield "the last one: there are no partitions after it"
    if counts.first_attempt_at is None or counts.last_attempt_at is None:
        if newest.without_row:
            yield "not tried yet"
    else:
        tried = (counts.first_attempt_at, counts.last_attempt_at)
        first, last = (f"{moment.astimezone(NEW_YORK):%m-%d %H:%M}" for moment in tried)
        attempts = _num(counts.num_attempts or 0, "attempt")
        yield f"tried {first} to {last} New York, up to {attempts}, {counts.num_done} whole"
    if newest.without_bar:
        yield f"no bar: {named(newest.without_bar)}"
    if newest.without_row:
        yield f"no row: {named(newest.without_row)}"
    failed = [each for each in found.pending if each.session == newest.session and each.reason]
    yield from _shortened([f"{each.ticker}, {_num(each.num_attempts, 'attempt')}: {each.reason}" for each in failed])


def _pending(found: Status) -> Iterator[str]:
    waiting = Counter((each.session, each.deadline) for each in found.pending if each.lacks_row)
    lines: list[str] = []
    for (session, deadline), number in sorted(waiting.items()):
        when = f"by {_both_clocks(deadline)}" if deadline > found.counts.moment else "late by now"
        lines.append(f"{_num(number, 'row')} of {session}, {when}")
    yield from _shortened(lines)
    if others := sum(not each.lacks_row for each in found.pending):
        yield f"{_num(others, 'partition')} with a row and other work pending"
    if number := found.counts.num_without_bar:
        yield f"{_num(number, 'due actual')} without a bar, the oldest of {found.counts.oldest_without_bar}"
    if number := found.counts.num_refused_bars:
        yield f"{_num(number, 'refused bar')} in quarantine"


def _models(found: Status) -> Iterator[str]:
    counts = found.counts
    yield f"{len(counts.with_active_model or ())} of {_num(len(found.universe), 'ticker')} have an active model" + (
        f"; {len(found.degraded)} fell below the gate" if found.degraded else ""
    )
    if counts.newest_promotion is not None and counts.promoted_at is not None:
        yield f"newest: {counts.newest_promotion}, {_new_york(counts.promoted_at)} New York"
    if counts.with_active_model and found.without_active_model:
        yield f"none: {named(found.without_active_model)}"


def _alerts(found: Status) -> Iterator[str]:
    if found.alerts:
        yield f"{_num(len(found.alerts), 'open alert')}"
    if number := sum(bool(each.undelivered) for each in found.notifications):
        yield f"{_num(number, 'notification')} on the way"
    for each in found.notifications[:NUM_SHOWN]:
        yield f"#{each.notification_id} {_new_york(each.made_at)} {each.severity}: {each.title}"


def _dagster_lines(found: "DagsterStatus | None") -> Iterator[str]:
    if found is None:
        yield "not checked"
        return
    ui = f", UI at {found.ui_url}" if found.ui_url else ""
    if found.runs_in_part:
        yield f"runs without {' and '.join(found.silent)}{ui}"
    else:
        yield f"runs{ui}" if found.is_alive else "does not run"
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
    sizes = {"database": screen.tables.counts.database_bytes} if screen.tables else {}
    sizes |= {name: size for name, size in screen.folder_bytes.items() if size}
    taken = ", ".join(f"{name} {size / MIB:,.0f} MiB" for name, size in sizes.items())
    return f"{taken}; {screen.free_bytes / GIB:,.0f} GiB free".removeprefix("; ")


def _project(settings: Settings, config: Path, environ: Mapping[str, str]) -> Project:
    """The project, if its database runs; the status never starts a server."""
    if not environ.get(DATABASE_VARIABLE) and not embedded.is_running(home_of(settings)):
        raise DatabaseUnavailable(f"the embedded PostgreSQL of {home_of(settings)} does not run: `ldtm up`")
    return open_project(config, environ)


def _dagster(project: Project, calendar: Calendar) -> "DagsterStatus | None":
    """Status from Dagster's storage; None before it exists, since reading it would create it."""
    with project.dagster_database.transaction() as conn:
        if not has_run_storage(conn):
            return None
        moment = now(conn)
    from ldtm_cli.dagster_status import dagster_status

    return dagster_status(project, calendar, moment)


def _needs_of(found: "DagsterStatus | None", tables: Status | None, settings: Settings) -> list[str]:
    """Problems of Dagster. It may be stopped where no later session has partitions and automation is off."""
    may_stand_still = tables is not None and tables.is_last and not settings.automation.enabled
    if found is None:
        return [] if may_stand_still else ["Dagster was never started here: `ldtm up`"]
    lines = list[str]()
    if found.runs_in_part:
        lines.append(f"Dagster runs, but nobody looks after {' and '.join(found.silent)}: `ldtm down`, then `ldtm up`")
    elif not (found.is_alive or may_stand_still):
        lines.append("Dagster does not run, so nothing happens by itself: `ldtm up`")
    if settings.automation.enabled and found.stopped:
        lines.append(f"automation is on, but {', '.join(found.stopped)} was stopped in the UI")
    lines += [f"the ticks of {name} fail: {why}" for name, why in found.failing]
    return lines


def _shortened(lines: Sequence[str]) -> Iterable[str]:
    more = [f"and {len(lines) - NUM_SHOWN} more"] if len(lines) > NUM_SHOWN else []
    return [*lines[:NUM_SHOWN], *more]


def _num(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' if number != 1 else ''}"


def _new_york(moment: datetime) -> str:
    return f"{moment.astimezone(NEW_YORK):%Y-%m-%d %H:%M}"


def _both_clocks(moment: datetime) -> str:
    return f"{moment.astimezone(NEW_YORK):%a %Y-%m-%d %H:%M} New York, {moment:%H:%M} UTC"
