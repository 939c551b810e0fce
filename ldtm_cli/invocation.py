"""State that every command shares: consoles, exit statuses, options, and the project that a call is about."""

import json
import os
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ldtm_lib.errors import ConfigurationError

if TYPE_CHECKING:
    from ldtm_lib.project import Project

EXIT_FAILED = 1
"""Something could not be done; the message says what and the remedy."""
EXIT_USAGE = 2
"""The command line or the configuration is wrong."""

NOTHING = "–"
"""Shown in a table where there is no value."""

console = Console()
errors = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
OfSimulation = Annotated[
    int | None,
    typer.Option(
        "--simulation",
        metavar="N",
        min=1,
        help="The row of simulation N; without it that of the daily run, or else of the newest simulation.",
    ),
]


def print_json(value: object) -> None:
    """Print a value as JSON; dates and moments in ISO 8601."""

    def plain(item: object) -> str:
        return item.isoformat() if isinstance(item, (date, datetime)) else str(item)

    print(json.dumps(value, indent=2, default=plain))


def current_config() -> Path:
    """The configuration file of this call."""
    from ldtm_lib.project import config_path

    return config_path(os.environ)


def ready_project() -> "Project":
    """The project with its schema applied; raises ConfigurationError otherwise, and where the database is another."""
    from ldtm_lib.database.migrate import pending_migrations
    from ldtm_lib.project import open_project, require_own_database

    project = open_project(current_config(), os.environ)
    with project.database.transaction() as conn:
        require_own_database(project, conn)
    if pending := pending_migrations(project.database):
        raise ConfigurationError(
            f"schema {project.database.schema} of {project.settings.path.name} lacks {', '.join(pending)}; "
            "apply them with `ldtm db migrate`, or name another configuration with --config"
        )
    return project


def ticker_list(text: str | None) -> list[str] | None:
    """The tickers of an option such as AAPL,MSFT; None where it is absent."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
