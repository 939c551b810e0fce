"""The audit in a terminal and as JSON: seals, verification, proofs."""

import json
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ldtm_lib.audit.proof import Proof, prove
from ldtm_lib.audit.publications.configured import publications_of
from ldtm_lib.audit.publications.protocol import Publication
from ldtm_lib.audit.sealing import SealingReport, seal_and_publish
from ldtm_lib.audit.verify import AuditReport, verify
from ldtm_lib.database.writer import schema_exists
from ldtm_lib.errors import NotProvable
from ldtm_lib.installation import FILES
from ldtm_lib.project import Project
from ldtm_lib.sessions import exchange_calendar

NUM_SHOWN = 20
"""Discrepancies that a terminal shows."""


@contextmanager
def publications(project: Project) -> Iterator[list[Publication]]:
    """Every place that the project publishes its seals in; Dagster's event log where Dagster has run."""
    from ldtm_cli.services import dagster_environment

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


def seal_now(project: Project) -> SealingReport:
    """Close what is open with a seal, and publish."""
    with publications(project) as places:
        return seal_and_publish(project.database, places)


def verify_now(project: Project) -> AuditReport:
    """Verify the whole record against itself and all publications."""
    with publications(project) as places:
        return verify(project.database, exchange_calendar(), places)


def prove_now(project: Project, ticker: str, run_date: date, out: Path | None) -> tuple[Proof, Path]:
    """Write the proof of a forecast into a file; returns it with the file's path."""
    with project.database.transaction() as conn:
        proof = prove(conn, ticker, run_date)
    path = out or Path(f"{ticker}_{run_date}.proof.json")
    try:
        path.write_text(json.dumps(proof.document, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise NotProvable(f"{path} cannot be written: {error.strerror}; name another file with --out") from None
    return proof, path


def report_as_dict(report: AuditReport) -> dict[str, Any]:
    """A verification for JSON."""
    seal = report.newest_seal
    return {
        "intact": report.is_intact,
        "num_events": report.num_events,
        "num_seals": report.num_seals,
        "num_unsealed": report.num_unsealed,
        "newest_seal": seal and {"seal_id": seal.seal_id, "evening": seal.evening, "sha256": seal.sha256.hex()},
        "live": asdict(report.live),
        "notes": report.notes,
        "discrepancies": [asdict(found) for found in report.discrepancies],
        "publications": [asdict(place) for place in report.publications],
    }


def print_closing(console: Console, report: SealingReport) -> None:
    """Show what was sealed and where it was published."""
    console.print(escape(report.summary), soft_wrap=True)
    for name, reason in report.failures.items():
        console.print(f"[red]not published:[/] {escape(name)}: {escape(reason)}", soft_wrap=True)


def print_report(console: Console, report: AuditReport) -> None:
    """Show what was verified, what it was compared with, and what is wrong."""
    table = Table(box=None, pad_edge=False, show_header=False)
    tail = f", {report.num_unsealed:,} of them since the newest seal" if report.num_unsealed else ""
    table.add_row("events", f"{report.num_events:,}{tail}")
    seal = report.newest_seal
    newest = f", the newest is {seal.seal_id} of {seal.evening}: {seal.sha256.hex()}" if seal else ""
    table.add_row("seals", f"{report.num_seals:,}{newest}")
    for place in report.publications:
        lacking = f", [yellow]{place.num_unpublished} not there yet[/]" if place.num_unpublished else ""
        notes = "".join(f"\n{escape(note)}" for note in place.notes)
        table.add_row("published", f"{escape(place.name)}: {place.num_seals:,} seals{lacking}{notes}")
    live = report.live
    if live.num_live:
        since = f"; the first that was not is of {live.first_unsealed}" if live.first_unsealed else ""
        table.add_row(
            "live",
            f"{live.num_live:,} forecasts: {live.num_sealed_in_time:,} sealed before their session opened, "
            f"{live.num_stamped_in_time:,} with a time stamp of before{since}",
        )
    for note in report.notes:
        table.add_row("note", escape(note))
    console.print(table)
    if report.is_intact:
        console.print("[green]intact:[/] everything is as it was recorded and as it was published")
        return
    for found in report.discrepancies[:NUM_SHOWN]:
        console.print(f"[red]{found.what}:[/] {escape(found.message)}", soft_wrap=True)
    if len(report.discrepancies) > NUM_SHOWN:
        console.print(f"and {len(report.discrepancies) - NUM_SHOWN} more; --json lists all that were looked at")


def print_proof(console: Console, proof: Proof, path: Path) -> None:
    """Say where the proof is and how a stranger checks it."""
    open_ones = f" ({proof.num_unsealed} events are not sealed yet and not in it)" if proof.num_unsealed else ""
    console.print(
        f"{escape(str(path))}: {proof.num_events} events{open_ones}, {path.stat().st_size:,} bytes", soft_wrap=True
    )
    command = shlex.join(["python", _seen_from_here(FILES / "verify_proof.py"), str(path)])
    console.print(f"check it with: {escape(command)}", soft_wrap=True)


def _seen_from_here(path: Path) -> str:
    """A path relative to the working folder when it lies below it."""
    working = Path.cwd()
    return str(path.relative_to(working) if path.is_relative_to(working) else path)
