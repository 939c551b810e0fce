"""`ldtm serve`: one Dagster process of the container stack, or of a service manager."""

from typing import Annotated, Literal

import typer

from ldtm_cli.invocation import console, current_config


def serve(
    role: Annotated[
        Literal["code", "webserver", "daemon", "dashboard"],
        typer.Argument(metavar="ROLE", help="The process to run: code, webserver, daemon or dashboard."),
    ],
    workspace: Annotated[
        str | None, typer.Option(help="Workspace file of webserver and daemon; it locates the code server.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only check that the running process answers.")] = False,
    wait_minutes: Annotated[
        float, typer.Option(help="Minutes to wait for PostgreSQL and for its schema to be applied.")
    ] = 5.0,
) -> None:
    """Run one process: code server, webserver or daemon of Dagster, or the dashboard. `ldtm up` runs all of them.

    Waits for the database and for `ldtm db migrate`, which another database role may run. Ports: code 4000, webserver
    3000, dashboard 8501, on all addresses of the container; publish them on loopback only, since the dashboard
    has no login, and the UI has none without `ui.token`.
    """
    from ldtm_cli.dashboard_process import dashboard_fault, run_dashboard
    from ldtm_cli.serving import (
        ALL_ADDRESSES,
        DASHBOARD_PORT,
        run_role,
        unhealthy_reason,
        wait_for_reader,
        wait_for_schema,
    )

    config = current_config()
    if check:
        if reason := (dashboard_fault(DASHBOARD_PORT) if role == "dashboard" else unhealthy_reason(role, config)):
            console.print(reason, highlight=False, markup=False, soft_wrap=True)
            raise typer.Exit(1)
        return

    def log(line: str) -> None:
        console.print(line, soft_wrap=True)

    if role == "dashboard":
        wait_for_reader(config, wait_minutes * 60, log)
        run_dashboard(config, DASHBOARD_PORT, host=ALL_ADDRESSES)
        return
    run_role(role, wait_for_schema(config, wait_minutes * 60, log), workspace, log)
