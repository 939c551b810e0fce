"""`ldtm up` and `ldtm down`: start and stop the database and Dagster."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from ldtm_cli.invocation import console, current_config, errors, use_demo_if_alone
from ldtm_lib.wording import counted

if TYPE_CHECKING:
    from ldtm_lib.project import Project

WITHOUT_LOGIN = (
    "the UI has no login: anyone who can reach {host} can do anything there; set ui.host to 127.0.0.1 and put a "
    "reverse proxy with a login in front of it (docs/operations.md)"
)
WITHOUT_TLS = (
    "the token of the UI is sent to {host} unencrypted; set ui.host to 127.0.0.1 and put a reverse proxy with TLS in "
    "front of it (docs/operations.md)"
)


def up(
    port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
    foreground: Annotated[bool, typer.Option("--foreground", help="Run in the foreground; Ctrl-C stops it.")] = False,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Start the dashboard even if `dashboard.on` is false.")
    ] = False,
) -> None:
    """Start everything: the database and its schema, the GPU pool, Dagster's webserver and daemon, the dashboard if on.

    Safe to call again: if code or settings have changed since, Dagster is restarted with them, unless a run is in
    progress. Schedules and sensors that were started or stopped in the UI stay so.

    The UI has no login except the token that `ui.token` turns on. It is served on 127.0.0.1, and on other addresses
    only if the section `ui` of the configuration allows it.
    """
    from ldtm_cli.dagster_process import require_free_port, running_dagster, stop_process_group, ui_address
    from ldtm_cli.dashboard_process import stop_dashboard
    from ldtm_cli.services import browser_address, prepare, prepare_dagster, restart_reason, run_dagster, start_dagster
    from ldtm_lib.database.connection import address
    from ldtm_lib.url import is_loopback

    project, applied = prepare(current_config())
    steps = f"applied {', '.join(applied)}" if applied else "up to date"
    place = f"database   {address(project.database.url)}, schema {project.database.schema}: {steps}"
    host = project.settings.ui.host
    start_pages = _dashboard(project, is_wanted=dashboard or project.settings.dashboard.on)
    if running := running_dagster(project):
        if applied:
            console.print(place)
        reason = restart_reason(project)
        if reason is None:
            link = browser_address(project, running.address)
            console.print(f"already up: {link} (process {running.pid}; `ldtm down` stops it)", soft_wrap=True)
            start_pages()
            return
        console.print(f"restart    {reason}")
        stop_process_group(running.pid)
        stop_dashboard(project.home)
        port = running.port
    require_free_port(host, port)
    if not running:
        console.print(place)
    slots = prepare_dagster(project)
    console.print(f"GPU pool   {counted(slots, 'training job')} at once")
    if not is_loopback(host):
        risk = (WITHOUT_TLS if project.settings.ui.token else WITHOUT_LOGIN).format(host=host)
        errors.print(f"[yellow]warning:[/] {risk}", soft_wrap=True, highlight=False)
    link = browser_address(project, ui_address(host, port))
    if foreground:
        start_pages()
        console.print(f"Dagster    {link} (Ctrl-C stops it)", soft_wrap=True)
        try:
            status = run_dagster(project, port)
        finally:
            stop_dashboard(project.home)
        raise typer.Exit(status)
    pid = start_dagster(project, port)
    console.print(f"Dagster    {link} (process {pid}; `ldtm down` stops it)", soft_wrap=True)
    start_pages()


def _dashboard(project: "Project", *, is_wanted: bool) -> Callable[[], None]:
    """Return a function that starts the dashboard, for after the start of Dagster; raises at once what prevents it."""
    from ldtm_cli.dagster_process import require_free_port
    from ldtm_cli.dashboard_process import running_dashboard, start_dashboard
    from ldtm_dashboard.reading import reader_url
    from ldtm_dashboard.server import LOOPBACK, require_extra

    if not is_wanted:
        return lambda: None
    require_extra()
    reader_url(project.settings.path, os.environ)
    if running_dashboard(project.home) is None:
        require_free_port(LOOPBACK, project.settings.dashboard.port)

    def start() -> None:
        found = start_dashboard(project)
        console.print(f"Dashboard  {found.address} (process {found.pid}; `ldtm down` stops it)", soft_wrap=True)

    return start


def down(
    every: Annotated[
        bool, typer.Option("--all", help="Stop every configuration of this folder, not only the one of --config.")
    ] = False,
) -> None:
    """Stop Dagster, the dashboard and the embedded PostgreSQL of the configuration. The data stays."""
    from ldtm_cli.dagster_process import stop
    from ldtm_cli.dashboard_process import stop_dashboard
    from ldtm_lib.project import home_of, homes_beside
    from ldtm_lib.settings import load_settings

    if not every:
        use_demo_if_alone()
    config = current_config()
    homes = homes_beside(config) if every else [home_of(load_settings(config))]
    stopped = [each for home in homes for each in (*stop_dashboard(home), *stop(home))]
    console.print(f"stopped {' and '.join(stopped)}" if stopped else "nothing was running")
