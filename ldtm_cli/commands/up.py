"""`ldtm up` and `ldtm down`: start and stop the database and Dagster."""

from typing import Annotated

import typer

from ldtm_cli.invocation import console, current_config, errors

WITHOUT_LOGIN = (
    "the UI has no login, and whoever reaches {host} may do anything there; better set ui.host to 127.0.0.1 "
    "and put a reverse proxy with a login before it (docs/production.md)"
)


def up(
    port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay, and stop with Ctrl-C.")] = False,
) -> None:
    """Start everything: the database and its schema, the GPU pool, Dagster's webserver and daemon.

    Safe to call again. The UI has no login: it is served on 127.0.0.1, and elsewhere only when the section `ui` of
    the configuration allows it.
    """
    from ldtm_cli.services import (
        prepare,
        prepare_dagster,
        require_free_port,
        run_dagster,
        running_dagster,
        start_dagster,
        ui_address,
    )
    from ldtm_lib.database.connection import address
    from ldtm_lib.url import is_loopback

    project, applied = prepare(current_config())
    if running := running_dagster(project):
        console.print(f"already up: {running.address} (process {running.pid}; `ldtm down` stops it)")
        return
    host = project.settings.ui.host
    require_free_port(host, port)
    steps = f"applied {', '.join(applied)}" if applied else "up to date"
    console.print(f"database   {address(project.database.url)}, schema {project.database.schema}: {steps}")
    slots = prepare_dagster(project)
    console.print(f"GPU pool   {slots} training job{'s' if slots != 1 else ''} at once")
    if not is_loopback(host):
        errors.print(f"[yellow]warning:[/] {WITHOUT_LOGIN.format(host=host)}", soft_wrap=True, highlight=False)
    if foreground:
        console.print(f"Dagster    {ui_address(host, port)} (Ctrl-C stops it)")
        raise typer.Exit(run_dagster(project, port))
    pid = start_dagster(project, port)
    console.print(f"Dagster    {ui_address(host, port)} (process {pid}; `ldtm down` stops it)")


def down() -> None:
    """Stop Dagster and the embedded PostgreSQL of every configuration in this folder. The data stays."""
    from ldtm_cli.services import stop_everything

    stopped = stop_everything(current_config())
    console.print(f"stopped {' and '.join(stopped)}" if stopped else "nothing was running")
