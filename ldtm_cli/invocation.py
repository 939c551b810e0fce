"""State that all commands share: consoles, exit statuses, options, and the project of a call."""

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
"""An operation failed; the message names it and the remedy."""
EXIT_USAGE = 2
"""The command line or the configuration is wrong."""

DEMO_CONFIG = "demo.toml"
"""The configuration of the demo, in the working folder."""

NOTHING = "–"
"""Placeholder for a missing value in a table."""

console = Console()
errors = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
OfSimulation = Annotated[
    int | None,
    typer.Option(
        "--simulation",
        metavar="N",
        min=1,
        help="The row of simulation N. Default: the row of the daily run, or else of the newest simulation.",
    ),
]


def date_of(text: str) -> date:
    """Parse a date of the command line, such as 2026-11-20."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a date; write one such as 2026-11-20") from None


def print_json(value: object) -> None:
    """Print a value as JSON; dates and moments in ISO 8601."""

    def plain(item: object) -> str:
        return item.isoformat() if isinstance(item, (date, datetime)) else str(item)

    print(json.dumps(value, indent=2, default=plain))


def current_config() -> Path:
    """The configuration file of this call: the demo's if there is no universe.toml and `use_demo_if_alone` applies."""
    from ldtm_lib.project import DEFAULT_CONFIG, config_path

    if not Path(DEFAULT_CONFIG).exists():
        use_demo_if_alone()
    return config_path(os.environ)


def use_demo_if_alone() -> None:
    """Use the demo for this call, and print a note, if the folder holds no other installation.

    The condition: neither option nor environment names a configuration or a database, no database was created for
    universe.toml, and one was created for demo.toml.
    """
    from ldtm_lib.project import CONFIG_VARIABLE, DATABASE_VARIABLE, DEFAULT_CONFIG, home_of
    from ldtm_lib.settings.file import load_settings

    own, demo = Path(DEFAULT_CONFIG), Path(DEMO_CONFIG)
    if os.environ.get(CONFIG_VARIABLE) or os.environ.get(DATABASE_VARIABLE) or not demo.exists():
        return
    if (own.exists() and home_of(load_settings(own)).exists()) or not home_of(load_settings(demo)).exists():
        return
    os.environ[CONFIG_VARIABLE] = str(demo.resolve())
    why = f"{own} has no database yet" if own.exists() else f"there is no {own} here"
    errors.print(f"[yellow]note:[/] this is the demo ({demo}): {why}", highlight=False, soft_wrap=True)


def ready_project(*, may_be_demo: bool = True) -> "Project":
    """Return the project; the demo's if only the demo exists, unless `may_be_demo` is false.

    Raises ConfigurationError if migrations are missing or the database belongs to another installation.
    """
    from ldtm_lib.database.migrate import pending_migrations
    from ldtm_lib.project import open_project, require_own_database

    if may_be_demo:
        use_demo_if_alone()
    project = open_project(current_config(), os.environ)
    with project.database.transaction() as conn:
        require_own_database(project, conn)
    if pending := pending_migrations(project.database):
        schema, name = project.database.schema, project.settings.path.name
        span = pending[0] if len(pending) == 1 else f"{len(pending)} migrations, {pending[0]} to {pending[-1]}"
        raise ConfigurationError(
            f"schema {schema} of {name} lacks {span}; apply them with `ldtm db migrate`, begin a new installation with "
            "`ldtm bootstrap`, or name another configuration with --config"
        )
    return project


def ticker_list(text: str | None) -> list[str] | None:
    """The tickers of an option such as AAPL,MSFT; None if it is absent."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
