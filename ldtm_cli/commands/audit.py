"""`ldtm audit`: seals, verification and proofs."""

import json
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from ldtm_cli.invocation import EXIT_FAILED, AsJson, OfSimulation, console, date_of, errors, print_json, ready_project
from ldtm_cli.tables import facts_table, rows_table
from ldtm_lib.errors import NotProvable
from ldtm_lib.installation import FILES
from ldtm_lib.wording import counted

if TYPE_CHECKING:
    from ldtm_lib.audit.configurations import Configuration
    from ldtm_lib.audit.proof import Proof
    from ldtm_lib.audit.publications.protocol import Publication
    from ldtm_lib.audit.sealing import SealingReport
    from ldtm_lib.audit.verify import AuditReport
    from ldtm_lib.project import Project

NUM_SHOWN = 20
"""Number of discrepancies that the terminal output lists."""

app = typer.Typer(help="The record's hash chain: seals, verification and proofs.")


@app.command("verify")
def verify(as_json: AsJson = False) -> None:
    """Recompute the whole chain from the tables and compare it with every publication.

    The last table shows what was verified and what each result relies on. Exit status 1 if anything differs, or if a
    remote that seals are pushed to could not be queried; the first row that is altered, missing, added or reordered is
    named.
    """
    import psycopg

    from ldtm_lib.audit.verify import note_verification
    from ldtm_lib.audit.verify import verify as verify_record
    from ldtm_lib.sessions import exchange_calendar

    project = ready_project()
    with publications(project) as places:
        report = verify_record(project.database, exchange_calendar(), places)
    try:
        with project.database.transaction() as conn:
            note_verification(conn, report)
    except psycopg.Error as error:
        reason = " ".join(str(error).split())
        errors.print(
            f"[yellow]warning:[/] this result was not stored for `ldtm status`: {escape(reason)}", soft_wrap=True
        )
    print_json(report_as_dict(report)) if as_json else print_report(console, report)
    if report.verdict in ("altered", "not compared"):
        raise typer.Exit(EXIT_FAILED)


@app.command("configurations")
def list_configurations(as_json: AsJson = False) -> None:
    """List every change of the universe and of the settings that a forecast depends on, as recorded in the chain."""
    from ldtm_lib.audit.configurations import configurations

    with ready_project().database.transaction() as conn:
        found = configurations(conn)
    if as_json:
        print_json([asdict(each) for each in found])
    else:
        print_configurations(console, found)


def print_configurations(console: Console, found: "Sequence[Configuration]") -> None:
    """Print the number, the time and the changes of each configuration."""
    from ldtm_lib.audit.configurations import changes

    table = rows_table()
    table.add_column("number", justify="right")
    table.add_column("recorded at", no_wrap=True)
    table.add_column("change")
    for before, each in zip([None, *found], found, strict=False):
        lines = "\n".join(changes(before, each))
        table.add_row(
            str(each.configuration_id), f"{each.recorded_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC", escape(lines)
        )
    console.print(table if found else "no configuration is on record: nothing has been forecast or judged yet")


@app.command("prove")
def prove(
    ticker: Annotated[str, typer.Argument(help="Ticker of the forecast.")],
    run_date: Annotated[date, typer.Argument(parser=date_of, metavar="run_date", help="Its run date.")],
    simulation: OfSimulation = None,
    out: Annotated[Path | None, typer.Option(help="File to write. Default: TICKER_DATE.proof.json.")] = None,
) -> None:
    """Write a proof that a forecast and its later events are in the record; verify_proof.py checks it anywhere."""
    print_proof(console, *write_proof(ready_project(), ticker, run_date, simulation, out))


@app.command("seal")
def seal() -> None:
    """Seal the events since the last seal and publish every unpublished seal. The daily run also does this."""
    from ldtm_lib.audit.sealing import seal_and_publish

    project = ready_project()
    with publications(project) as places:
        report = seal_and_publish(project.database, places)
    print_sealing(console, report)
    if report.failures:
        raise typer.Exit(EXIT_FAILED)


@contextmanager
def publications(project: "Project") -> "Iterator[list[Publication]]":
    """Every publication of the project's seals, including Dagster's event log if Dagster has run."""
    from ldtm_cli.services import dagster_environment
    from ldtm_lib.audit.publications.configured import publications_of
    from ldtm_lib.database.privileges import schema_exists

    with project.database.transaction() as conn:
        dagster_ran = schema_exists(conn, project.settings.database.dagster_schema)
    if not dagster_ran:
        yield publications_of(project.settings, project.home)
        return
    os.environ.update(dagster_environment(project))
    from dagster import DagsterInstance

    from ldtm_assets.assets.seals import all_publications

    with DagsterInstance.get() as instance:
        yield all_publications(project, instance)


def write_proof(
    project: "Project", ticker: str, run_date: date, simulation: int | None, out: Path | None
) -> "tuple[Proof, Path]":
    """Write the proof of a forecast to a file; returns the proof and the path. Raises NotProvable."""
    from ldtm_lib.audit.proof import prove as prove_forecast
    from ldtm_lib.file_names import ticker_file_name
    from ldtm_lib.ledger.simulations import simulation_of_row

    with project.database.transaction() as conn:
        proof = prove_forecast(conn, ticker, run_date, simulation_of_row(conn, ticker, run_date, simulation))
    path = out or Path(f"{ticker_file_name(ticker)}_{run_date}.proof.json")
    try:
        path.write_text(json.dumps(proof.document, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise NotProvable(f"{path} cannot be written: {error.strerror}; name another file with --out") from None
    return proof, path


def report_as_dict(report: "AuditReport") -> dict[str, Any]:
    """A verification for JSON."""
    newest = report.newest_seal
    return {
        "verdict": report.verdict,
        "intact": report.verdict == "intact",
        "unasked": report.unasked,
        "num_events": report.num_events,
        "num_seals": report.num_seals,
        "num_unsealed": report.num_unsealed,
        "newest_seal": newest and {"seal_id": newest.seal_id, "session": newest.session, "sha256": newest.sha256.hex()},
        "live": asdict(report.live),
        "configurations": [asdict(each) for each in report.configurations],
        "num_verdicts": report.num_verdicts,
        "num_other_verdicts": report.num_other_verdicts,
        "notes": report.notes,
        "discrepancies": [asdict(found) for found in report.discrepancies],
        "publications": [asdict(place) for place in report.publications],
    }


def print_sealing(console: Console, report: "SealingReport") -> None:
    """Show what was sealed and where it was published."""
    if report.newest and report.is_new:
        console.print(f"{report.outcome}, SHA-256:")
        console.print(f"  {report.newest.sha256.hex()}", highlight=False)
    else:
        console.print(report.outcome)
    for name, number in report.published.items():
        if number:
            console.print(f"published {counted(number, 'seal')}: {escape(name)}", soft_wrap=True, highlight=False)
    for name, reason in report.failures.items():
        console.print(f"[red]not published:[/] {escape(name)}: {escape(reason)}", soft_wrap=True)


def print_report(console: Console, report: "AuditReport") -> None:
    """Show what was verified, what it was compared with, and what is wrong."""
    table = facts_table()
    tail = f", {report.num_unsealed:,} of them since the newest seal" if report.num_unsealed else ""
    table.add_row("events", f"{report.num_events:,}{tail}")
    table.add_row("seals", f"{report.num_seals:,}")
    if newest := report.newest_seal:
        table.add_row("newest seal", f"{newest.seal_id} of {newest.session}\n{newest.sha256.hex()}")
    if report.configurations:
        first, last = report.configurations[0], report.configurations[-1]
        num_changes = len(report.configurations) - 1
        table.add_row("installation", first.installation_id)
        table.add_row(
            "universe",
            f"{counted(len(last.tickers), 'ticker')}, settings with SHA-256 {last.settings_sha256[:8]}...; on record "
            f"since {first.recorded_at.astimezone(UTC):%Y-%m-%d}, "
            + (f"changed {counted(num_changes, 'time')}" if num_changes else "unchanged"),
        )
    for place in report.publications:
        lacking = f", [yellow]{place.num_unpublished} not published there yet[/]" if place.num_unpublished else ""
        notes = "".join(f"\n{escape(note)}" for note in place.notes)
        table.add_row("published", f"{escape(place.name)}: {counted(place.num_seals, 'seal')}{lacking}{notes}")
    for note in report.notes:
        table.add_row("note", escape(note))
    console.print(table)
    if report.num_events:
        console.print()
        _print_testimonies(console, report)
    console.print()
    for reason in report.unasked:
        console.print(f"[yellow]not compared:[/] {escape(reason)}", soft_wrap=True)
    if report.verdict == "empty":
        console.print("[yellow]empty:[/] nothing is on record yet, so nothing is proven")
    elif report.verdict == "intact":
        console.print("[green]intact:[/] everything is as it was recorded and as it was published")
    for found in report.discrepancies[:NUM_SHOWN]:
        console.print(f"[red]{found.what}:[/] {escape(found.message)}", soft_wrap=True)
    if len(report.discrepancies) > NUM_SHOWN:
        console.print(f"and {len(report.discrepancies) - NUM_SHOWN} more; --json lists all")


def _print_testimonies(console: Console, report: "AuditReport") -> None:
    """Show what was verified, of how many rows, and what each result relies on."""
    table = rows_table()
    for name in ("verified", "number", "relies on"):
        table.add_column(name)
    num_differing = len(report.discrepancies)
    differing = f", {num_differing:,} {'differs' if num_differing == 1 else 'differ'}" if num_differing else ""
    table.add_row(
        f"hashes, figures and actuals recomputed{differing}",
        counted(report.num_events, "event"),
        "the values that the server sends",
    )
    if report.num_verdicts or report.num_other_verdicts:
        rest = f", {report.num_other_verdicts:,} not recomputed" if report.num_other_verdicts else ""
        table.add_row(
            "gate verdicts recomputed from the forecasts of their backtests",
            f"{counted(report.num_verdicts, 'verdict')}{rest}",
            "the stored forecasts, and the comparisons that the verdict names",
        )
    owners = ", ".join(escape(place.name) for place in report.publications if place.num_seals)
    table.add_row(
        "order and content as in the published seals",
        counted(report.num_events - report.num_unsealed, "event"),
        f"the owners of {owners}" if owners else "the owner of the database: nothing is published",
    )
    live = report.live
    for each in live.testimonies if live.num_live else ():
        table.add_row(
            f"live forecasts {'stamped' if each.is_stamp else 'sealed'} before their session: {escape(each.name)}",
            f"{each.num_in_time:,} of {live.num_live:,}",
            escape(each.relies_on),
        )
    if rest := live.num_live - live.num_stamped_in_time:
        since = f"; the first one not sealed by then is of {live.first_unsealed}" if live.first_unsealed else ""
        table.add_row(
            f"live forecasts not time-stamped before their session{since}",
            f"{rest:,}",
            "the owner of the database alone",
        )
    console.print(table)


def print_proof(console: Console, proof: "Proof", path: Path) -> None:
    """Print the path of the proof and the command that checks it."""
    unsealed = f"{counted(proof.num_unsealed, 'event is', 'events are')} not sealed yet and not included"
    open_ones = f" ({unsealed})" if proof.num_unsealed else ""
    number = proof.document["simulation_id"]
    by = f" of simulation {number}" if number else ""
    console.print(
        f"{escape(str(path))}: {counted(proof.num_events, 'event')}{by}{open_ones}, {path.stat().st_size:,} bytes",
        soft_wrap=True,
    )
    command = shlex.join(["python", _relative_path(FILES / "verify_proof.py"), str(path)])
    console.print(f"check it with: {escape(command)}", soft_wrap=True)


def _relative_path(path: Path) -> str:
    """Return a path relative to the working folder if it is inside of it."""
    working = Path.cwd()
    return str(path.relative_to(working) if path.is_relative_to(working) else path)
