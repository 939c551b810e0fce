"""Retention in a terminal and as JSON."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ldtm_assets.automation.maintenance import ASSETS
from ldtm_lib.maintenance.retention import Sweep, sweep
from ldtm_lib.project import Project


def sweep_now(project: Project, *, dry_run: bool) -> Sweep:
    """Take away what is old, or say what would go."""
    return sweep(project, ASSETS, dry_run=dry_run)


def sweep_as_dict(done: Sweep) -> dict[str, Any]:
    """What went, for JSON."""
    return asdict(done)


def print_sweep(console: Console, done: Sweep, *, dry_run: bool) -> None:
    """Show what went of every kind, and what could not be swept."""
    table = Table(box=None, pad_edge=False)
    table.add_column("would go" if dry_run else "gone", justify="right")
    table.add_column("")
    table.add_column("MiB", justify="right")
    for swept in done.swept:
        size = "" if swept.num_bytes is None else f"{swept.num_bytes / 2**20:,.1f}"
        table.add_row(f"{swept.num:,}", swept.what, size)
    console.print(table)
    for failure in done.failures:
        console.print(f"[red]not swept:[/] {escape(failure)}", soft_wrap=True, highlight=False)
    console.print("Nothing was changed." if dry_run else "The record stays as it is.", highlight=False)
