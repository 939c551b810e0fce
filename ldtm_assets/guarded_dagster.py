"""Dagster's commands with the access rules of the UI in front of its webserver.

`python -m ldtm_assets.guarded_dagster dev ...` runs `dagster dev`, and `... webserver ...` runs `dagster-webserver`,
with their options. Dagster has no setting for a middleware, so two of its functions are wrapped. `ldtm up` and the
health check of the container stack verify that the rules are in force.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from ldtm_lib.errors import LdtmError
from ldtm_lib.project import CONFIG_VARIABLE, home_of
from ldtm_lib.settings import load_settings

MODULE = "ldtm_assets.guarded_dagster"
WEBSERVER = ["-m", "dagster_webserver"]
Function = Callable[..., Any]


class UnknownDagster(LdtmError):
    """A release of Dagster whose webserver cannot be guarded."""


def run_dev() -> None:
    """Run `dagster dev` with a guarded webserver."""
    from dagster._cli import dev, main

    def guard(start: Function) -> Function:
        def start_guarded(command: list[str], **options: Any) -> Any:
            if command[1:3] == WEBSERVER:
                command = [command[0], "-m", MODULE, "webserver", *command[3:]]
            return start(command, **options)

        return start_guarded

    wrap_function(dev, "open_ipc_subprocess", guard)
    main()


def run_webserver() -> None:
    """Run `dagster-webserver` with the rules that the configuration of the installation states."""
    from dagster_webserver import cli

    from ldtm_assets.ui_guard import UiGuard, ui_token

    settings = load_settings(Path(os.environ[CONFIG_VARIABLE]))
    token = ui_token(home_of(settings)) if settings.ui.token else None

    def guard(create: Function) -> Function:
        return lambda *arguments, **options: UiGuard(app=create(*arguments, **options), config=settings.ui, token=token)

    wrap_function(cli, "create_app_from_workspace_process_context", guard)
    cli.main()


def wrap_function(module: ModuleType, name: str, wrapped: Callable[[Function], Function]) -> None:
    """Replace a function of Dagster by one that wraps it."""
    if not hasattr(module, name):
        raise UnknownDagster(
            f"this release of Dagster has no {module.__name__}.{name}, so its webserver cannot be guarded; install one "
            "that constraints.txt names"
        )
    setattr(module, name, wrapped(getattr(module, name)))


if __name__ == "__main__":
    if sys.argv[1] == "dev":
        run_dev()
    else:
        del sys.argv[1]
        run_webserver()
