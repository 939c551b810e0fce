"""`ldtm status`: the status of the installation on one screen."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from textwrap import shorten
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ldtm_cli.invocation import EXIT_FAILED, AsJson, console, current_config, print_json, use_demo_if_alone
from ldtm_cli.tables import bullets
from ldtm_lib.wording import counted, named

if TYPE_CHECKING:
    from ldtm_cli.installation_status import InstallationStatus
    from ldtm_lib.maintenance.dagster_status import DagsterStatus
    from ldtm_lib.maintenance.status import Status

WIDTH, LABEL = 80, 7
NUM_SHOWN = 6
"""Lines of a list that fit on the screen."""
LINES_OF_ITEM = 6
"""Most lines of one item that needs attention; enough to show the remedy, which comes last."""
MIB, GIB = 2**20, 2**30


def status(as_json: AsJson = False) -> None:
    """Show the last session, pending work, next runs, models in use and notifications on one screen.

    Starts and changes nothing. Exit status 1 if something needs attention; the last lines name it and the remedy.
    """
    from ldtm_cli.installation_status import installation_status

    use_demo_if_alone()
    found = installation_status(current_config(), os.environ)
    print_json(found.as_dict()) if as_json else print_status(console, found)
    if found.needs:
        raise typer.Exit(EXIT_FAILED)


def print_status(console: Console, found: "InstallationStatus") -> None:
    """Print the status on one screen of 80 columns."""
    width = min(console.width, WIDTH)
    table = Table(box=None, show_header=False, pad_edge=False, width=width)
    table.add_column(style="bold", width=LABEL)
    table.add_column(overflow="fold", ratio=1)
    for label, lines in _sections(found):
        table.add_row(label, escape("\n".join(lines)))
    console.print(table, highlight=False)
    if not found.needs and found.tables is not None and found.awaited:
        by = _both_clocks(found.tables.newest.deadline)
        console.print(f"\nNothing needs attention. {counted(len(found.awaited), 'row')} may still be recorded by {by}.")
        return
    if not found.needs:
        console.print("\n[green]All is well.[/]")
        return
    console.print(f"\n[yellow]{counted(len(found.needs), 'thing')} to look at:[/]", highlight=False)
    lines = (shorten(line, LINES_OF_ITEM * width, placeholder=" ...") for line in _shortened(found.needs))
    console.print(bullets(lines), highlight=False, width=width)


def _sections(found: "InstallationStatus") -> Iterator[tuple[str, list[str]]]:
    if (tables := found.tables) is not None:
        yield "session", [*_session(tables)]
        yield "pending", [*_pending(tables)] or ["nothing"]
        yield "models", [*_models(tables)]
        yield "alerts", [*_alerts(tables)] or ["none"]
    yield "Dagster", [*_dagster_lines(found.dagster, found.ui_url)]
    if found.dagster is not None:
        yield "next", [*_next(found.dagster)]
    yield "disk", [_disk(found)]


def _session(found: "Status") -> Iterator[str]:

    newest, counts = found.newest, found.counts
    kinds = {"live": newest.num_live, "late": len(newest.late), "simulated": newest.num_simulated}
    rows = ", ".join(f"{number} {kind}" for kind, number in kinds.items() if number) or "no"
    abstained = f", {newest.num_abstained} of which abstain" if newest.num_abstained else ""
    noun = "row" if sum(kinds.values()) == 1 else "rows"
    yield f"{newest.session:%a %Y-%m-%d}: {rows} {noun} for {counted(newest.num_tickers, 'ticker')}{abstained}"
    if found.is_last:
        yield "the last session: there are no partitions after it"
    if counts.first_attempt_at is None or counts.last_attempt_at is None:
        if newest.without_row:
            yield "not tried yet"
    else:
        first, last = (_new_york(at, "%m-%d %H:%M") for at in (counts.first_attempt_at, counts.last_attempt_at))
        most = f"at most {counts.num_attempts or 0} per ticker"
        yield f"attempts from {first} to {last} New York, {most}; {counted(counts.num_done, 'ticker')} complete"
    if newest.without_bar:
        yield f"no bar: {named(newest.without_bar)}"
    if newest.without_row:
        yield f"no row: {named(newest.without_row)}"
    failed = [each for each in found.pending if each.session == newest.session and each.reason]
    yield from _shortened([f"{each.ticker}, {counted(each.num_attempts, 'attempt')}: {each.reason}" for each in failed])


def _pending(found: "Status") -> Iterator[str]:
    waiting = Counter((each.session, each.deadline) for each in found.pending if each.lacks_row)
    lines: list[str] = []
    for (session, deadline), number in sorted(waiting.items()):
        when = f"by {_both_clocks(deadline)}" if deadline > found.counts.moment else "late now"
        lines.append(f"{counted(number, 'row')} of {session}, {when}")
    yield from _shortened(lines)
    if others := sum(not each.lacks_row for each in found.pending):
        yield f"{counted(others, 'row')} recorded, but bar or actuals still missing"
    if number := found.counts.num_without_bar:
        yield f"{counted(number, 'due actual')} without a bar, the oldest of {found.counts.oldest_without_bar}"
    if number := found.counts.num_refused_bars:
        yield f"{counted(number, 'refused bar')} in quarantine"


def _models(found: "Status") -> Iterator[str]:

    counts = found.counts
    yield f"{len(counts.with_active_model or ())} of {counted(len(found.universe), 'ticker')} have an active model" + (
        f"; {len(found.degraded)} fell below the gate" if found.degraded else ""
    )
    if counts.newest_promotion is not None and counts.promoted_at is not None:
        yield f"newest: {counts.newest_promotion}, promoted {_new_york(counts.promoted_at)} New York"
    if counts.with_active_model and found.without_active_model:
        yield f"no active model: {named(found.without_active_model)}"
    waiting = {ticker.name: ticker.has_history for ticker in found.new_tickers}
    if loading := [name for name, has_history in waiting.items() if not has_history]:
        yield f"not in service, awaiting price history and training: {named(loading)}"
    if training := [name for name, has_history in waiting.items() if has_history]:
        yield f"not in service, awaiting training: {named(training)}"
    judged = [ticker for ticker in found.newest.not_in_service if ticker not in waiting]
    if judged and not found.is_last:
        yield f"in service from the next session on: {named(judged)}"


def _alerts(found: "Status") -> Iterator[str]:
    if found.alerts:
        yield f"{counted(len(found.alerts), 'open alert')}"
    if number := sum(bool(each.undelivered) for each in found.notifications):
        yield f"{counted(number, 'notification')} not delivered yet"
    for each in found.notifications[:NUM_SHOWN]:
        yield f"#{each.notification_id} {_new_york(each.made_at)} New York, {each.severity}: {each.title}"


def _dagster_lines(found: "DagsterStatus | None", ui_url: str | None) -> Iterator[str]:
    if found is None:
        yield "not checked"
        return
    ui = f", UI at {ui_url}" if ui_url else ""
    if found.runs_in_part:
        yield f"running without {' and '.join(found.silent)}{ui}"
    else:
        yield f"running{ui}" if found.is_alive else "not running"
    jobs = f" ({', '.join(sorted(set(found.running)))})" if found.running else ""
    yield f"{counted(len(found.running), 'run')} under way{jobs}, {found.num_queued} queued"
    if found.gpu_slots is not None:
        yield f"GPU pool: {found.gpu_slots_held} of {counted(found.gpu_slots, 'slot')} held, " + (
            f"{counted(found.num_waiting_for_gpu, 'training')} waiting"
        )


def _next(found: "DagsterStatus") -> Iterator[str]:
    if not found.has_reported:
        yield (
            "shown about half a minute after the start, once the sensors have reported"
            if found.is_alive
            else "nothing: `ldtm up` starts Dagster"
        )
    if found.next_ticks and not found.is_alive:
        yield "if Dagster runs by then:"
    width = max((len(tick.schedule) for tick in found.next_ticks), default=0)
    for tick in found.next_ticks:
        yield f"{tick.schedule:{width}}  {_both_clocks(tick.at)}"
    if found.stopped:
        yield f"off: {', '.join(found.stopped)}"
    if found.started_by_hand:
        yield f"started in the UI, regardless of automation.enabled: {', '.join(found.started_by_hand)}"
    if found.stopped_by_hand:
        yield f"stopped in the UI, regardless of automation.enabled: {', '.join(found.stopped_by_hand)}"


def _disk(found: "InstallationStatus") -> str:
    sizes = {"database": found.tables.counts.database_bytes} if found.tables else {}
    sizes |= {name: size for name, size in found.folder_bytes.items() if size}
    taken = ", ".join(f"{name} {size / MIB:,.0f} MiB" for name, size in sizes.items())
    return f"{taken}; {found.free_bytes / GIB:,.0f} GiB free".removeprefix("; ")


def _shortened(lines: Sequence[str]) -> Iterable[str]:
    more = [f"and {len(lines) - NUM_SHOWN} more"] if len(lines) > NUM_SHOWN else []
    return [*lines[:NUM_SHOWN], *more]


def _new_york(moment: datetime, form: str = "%Y-%m-%d %H:%M") -> str:
    from ldtm_lib.daily_run.pending_partitions import NEW_YORK

    return moment.astimezone(NEW_YORK).strftime(form)


def _both_clocks(moment: datetime) -> str:
    return f"{_new_york(moment, '%a %Y-%m-%d %H:%M')} New York, {moment:%H:%M} UTC"
