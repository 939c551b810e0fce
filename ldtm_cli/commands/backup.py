"""`ldtm backup` and `ldtm restore`: one archive of the database, the checkpoint files and the published seals."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ldtm_cli.invocation import console, current_config, errors
from ldtm_cli.tables import facts_table
from ldtm_lib.errors import RestoreRefused
from ldtm_lib.installation import installed_version
from ldtm_lib.wording import counted, mib_of, named

if TYPE_CHECKING:
    from ldtm_lib.backup.create import BackupReport
    from ldtm_lib.backup.manifest import Manifest
    from ldtm_lib.backup.restore import RestoreReport

NUM_SHOWN = 3
"""Number of missing checkpoint files that the terminal output names."""


def backup(
    file: Annotated[Path, typer.Argument(help="The archive to write, such as /backup/ldtm-2026-11-30.tar.")],
    with_dagster: Annotated[
        bool, typer.Option("--dagster/--no-dagster", help="Save the schema of Dagster's runs and logs as well.")
    ] = True,
) -> None:
    """Save the database, checkpoint files, published seals and the configuration in one archive.

    Daily runs and trainings may continue during the backup. An existing file is not overwritten.
    """
    from ldtm_lib.backup.create import create_backup
    from ldtm_lib.project import open_project, require_own_database

    started = time.monotonic()
    project = open_project(current_config(), os.environ)
    with project.database.transaction() as conn:
        require_own_database(project, conn)
    report = create_backup(
        project,
        file,
        ldtm_version=installed_version(),
        now=datetime.now(UTC),
        environ=os.environ,
        with_dagster=with_dagster,
    )
    print_backup(console, report, time.monotonic() - started)
    if missing := report.manifest.missing_checkpoints:
        errors.print(
            f"[yellow]warning:[/] {counted(len(missing), 'checkpoint file')} of the record "
            f"{'is missing or altered, and is' if len(missing) == 1 else 'are missing or altered, and are'} not in the "
            f"archive: {escape(named(missing, NUM_SHOWN))}",
            soft_wrap=True,
        )


def restore(
    file: Annotated[Path, typer.Argument(help="An archive of `ldtm backup`.")],
    accept_loss: Annotated[
        bool,
        typer.Option(
            "--accept-loss", help="Restore although the archive lacks seals or forecasts of the present record."
        ),
    ] = False,
) -> None:
    """Restore an archive into an empty database, or over the same record.

    The target is the database of LDTM_DATABASE_URL, or else the embedded server. Every byte of the archive is verified
    first.
    """
    from ldtm_cli.dagster_process import running_dagster
    from ldtm_lib.backup.archive import open_archive
    from ldtm_lib.backup.restore import restore as restore_archive
    from ldtm_lib.backup.target import restore_target

    started = time.monotonic()
    with open_archive(file) as archive:
        project = restore_target(archive, current_config(), os.environ)
        if (running := running_dagster(project)) is not None:
            raise RestoreRefused(
                f"Dagster is running for this configuration (process {running.pid}); stop it with `ldtm down` or its "
                "service manager, then restore again. Nothing was changed"
            )
        report = restore_archive(archive, project, accept_loss=accept_loss, now=datetime.now(UTC), environ=os.environ)
    print_restore(console, report, project.settings.path, time.monotonic() - started)


def print_backup(console: Console, report: "BackupReport", seconds: float) -> None:
    """Show what was saved, where, and how long it took."""
    manifest = report.manifest
    table = _extent(manifest, report.num_checkpoints)
    table.add_row("dump", f"{mib_of(report.num_dump_bytes):,} MiB of PostgreSQL {manifest.postgresql_version}")
    console.print(table)
    console.print()
    console.print(
        f"saved in {escape(str(report.path))}: {mib_of(report.num_bytes):,} MiB, {seconds:.1f} s", soft_wrap=True
    )


def print_restore(console: Console, report: "RestoreReport", config: Path, seconds: float) -> None:
    """Show what was restored, what was kept aside, and the next steps."""
    manifest = report.manifest
    table = _extent(manifest, report.num_checkpoints, f", {report.num_added_checkpoints:,} added")
    if report.wrote_config:
        table.add_row("configuration", f"{escape(config.name)}, from the archive")
    elif report.config_differs:
        table.add_row("configuration", f"kept: {escape(config.name)} differs from the one in the archive")
    console.print(table)
    console.print()
    if report.loss:
        console.print(f"[red]lost:[/] {escape(report.loss.summary)}", soft_wrap=True)
        for path in report.set_aside:
            console.print(f"[yellow]kept aside:[/] {escape(str(path))}", soft_wrap=True)
        for schema in report.kept_schemas:
            console.print(f"[yellow]kept aside:[/] schema {escape(schema)}", soft_wrap=True)
        console.print("docs/operations.md, section Lost records, describes how to continue", soft_wrap=True)
    console.print(f"restored the backup of {manifest.made} in {seconds:.1f} s; next steps:", soft_wrap=True)
    for step in _next_steps(report):
        console.print(f"  {escape(step)}", soft_wrap=True, highlight=False)


def _extent(manifest: "Manifest", num_checkpoints: int, remark: str = "") -> Table:
    """The extent of a record as a table."""
    table = facts_table()
    table.add_row("record", manifest.installation_id)
    table.add_row("forecasts", f"{manifest.num_forecasts:,}, with {counted(manifest.num_events, 'event')} of the chain")
    newest = manifest.newest_seal
    table.add_row(
        "seals",
        f"{len(manifest.seals):,}" + (f", the newest is {newest.seal_id} of {newest.session}" if newest else ""),
    )
    table.add_row("bars", f"{manifest.num_bars:,}")
    table.add_row("checkpoint files", f"{num_checkpoints:,}{remark}")
    table.add_row("Dagster", f"schema {escape(manifest.dagster_schema)}" if manifest.has_dagster else "not saved")
    return table


def _next_steps(report: "RestoreReport") -> list[str]:
    """Commands that complete a restore."""
    steps = ["ldtm db migrate       # " + ", ".join(report.pending_migrations)] if report.pending_migrations else []
    steps += [f"ldtm db grant {writer}    # rights of roles are not restored" for writer in report.writers]
    return [*steps, "ldtm audit verify", "ldtm up"]
