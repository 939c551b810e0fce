"""`ldtm retention`: purge of old data, and its report."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from ldtm_cli.invocation import EXIT_FAILED, AsJson, console, print_json, ready_project
from ldtm_cli.tables import rows_table
from ldtm_lib.wording import mib_of

if TYPE_CHECKING:
    from ldtm_lib.maintenance.retention import RetentionReport


def retention(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report what would be purged and change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Purge old data that is not part of the record: logs, runs, refused bars, notifications, unneeded checkpoints.

    The section `retention` of the configuration says how long each is kept. Forecasts, actuals, bars, verdicts and
    seals are kept for good. Dagster runs this every Sunday.
    """
    from ldtm_assets.jobs import RETENTION_ASSETS
    from ldtm_lib.maintenance.retention import purge_expired

    report = purge_expired(ready_project(), RETENTION_ASSETS, dry_run=dry_run)
    print_json(asdict(report)) if as_json else print_report(console, report, dry_run=dry_run)
    if report.failures:
        raise typer.Exit(EXIT_FAILED)


def print_report(console: Console, report: "RetentionReport", *, dry_run: bool) -> None:
    """Print the purged amount of every kind, and the failures."""
    table = rows_table()
    table.add_column("kind")
    table.add_column("would be purged" if dry_run else "purged", justify="right")
    table.add_column("MiB", justify="right")
    for purged in report.purged:
        size = "" if purged.num_bytes is None else f"{mib_of(purged.num_bytes):,}"
        table.add_row(purged.kind, f"{purged.num:,}", size)
    console.print(table)
    console.print()
    for failure in report.failures:
        console.print(f"[red]not purged:[/] {escape(failure)}", soft_wrap=True, highlight=False)
    console.print("Nothing was changed." if dry_run else "The record stays as it is.", highlight=False)
