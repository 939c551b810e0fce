"""`ldtm dashboard`: serves the dashboard, which reads the record."""

import os
from typing import Annotated

import typer

from ldtm_cli.invocation import console, current_config, ready_project


def dashboard(
    port: Annotated[
        int | None, typer.Option(help="Port of the dashboard. Default: `dashboard.port`.", min=1, max=65535)
    ] = None,
) -> None:
    """Serve the dashboard on 127.0.0.1: the leaderboard, the newest forecasts, and what needs attention.

    It connects as a role that only reads: on the embedded server as a role that LDTM creates, on any other server as
    the role of LDTM_READER_URL (`ldtm db grant --read-only`). Needs the extra `dashboard`. If `dashboard.on`
    is true, `ldtm up` starts it too.
    """
    from ldtm_cli.dagster_process import require_free_port
    from ldtm_cli.dashboard_process import dashboard_address, run_dashboard
    from ldtm_dashboard.reading import READER_VARIABLE
    from ldtm_dashboard.server import LOOPBACK, require_extra
    from ldtm_lib.settings import load_settings

    require_extra()
    config = current_config()
    settings = load_settings(config)
    chosen = port or settings.dashboard.port
    require_free_port(LOOPBACK, chosen)
    if not os.environ.get(READER_VARIABLE):
        ready_project()
    console.print(f"Dashboard  {dashboard_address(chosen)} (Ctrl-C stops it)", soft_wrap=True)
    run_dashboard(config, chosen)
