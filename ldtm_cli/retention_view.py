"""`ldtm retention`: purge of old data, and its report in a terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ldtm_assets.jobs import RETENTION_ASSETS
from ldtm_lib.maintenance.retention import RetentionReport, purge_expired
from ldtm_lib.project import Project


def purge_now(project: Project, *, dry_run: bool) -> RetentionReport:
    """Purge old data, or report in a dry run what would be purged."""
    return purge_expired(project, RETENTION_ASSETS, dry_run=dry_run)


def print_report(console: Console, report: RetentionReport, *, dry_run: bool) -> None:
    """Print the purged amount of every kind, and the failures."""
    table = Table(box=None, pad_edge=False)
    table.add_column("would be purged" if dry_run else "purged", justify="right")
    table.add_column("")
    table.add_column("MiB", justify="right")
    for purged in report.purged:
        size = "" if purged.num_bytes is None else f"{purged.num_bytes / 2**20:,.1f}"
        table.add_row(f"{purged.num:,}", purged.kind, size)
    console.print(table)
    for failure in report.failures:
        console.print(f"[red]not purged:[/] {escape(failure)}", soft_wrap=True, highlight=False)
    console.print("Nothing was changed." if dry_run else "The record stays as it is.", highlight=False)
