"""`ldtm db`: the URL, the schema, and the writer and reader roles of the database."""

import sys
from typing import Annotated

import typer

from ldtm_cli.invocation import console, current_config, ready_project

app = typer.Typer(help="The PostgreSQL database.")


@app.command("url")
def print_url(
    export: Annotated[
        bool, typer.Option("--export", help="Print shell exports of all that a Dagster process of your own needs.")
    ] = False,
    show_password: Annotated[bool, typer.Option("--show-password", help="Print the password instead of ***.")] = False,
) -> None:
    """Print the database's URL, its password masked; the embedded server is started when it does not run.

    Exports hold the password; they are printed to a terminal with --show-password alone.
    """
    import shlex

    from ldtm_cli.services import dagster_environment, prepare
    from ldtm_lib.database.connection import masked_url
    from ldtm_lib.errors import ConfigurationError

    project, _ = prepare(current_config())
    masked = masked_url(project.database.url)
    if export:
        if sys.stdout.isatty() and not show_password and masked != project.database.url:
            raise ConfigurationError(
                'exports would show the password on the terminal; use eval "$(ldtm db url --export)", or add '
                "--show-password"
            )
        for name, value in dagster_environment(project).items():
            print(f"export {name}={shlex.quote(value)}")
    else:
        print(project.database.url if show_password else masked)


@app.command("migrate")
def migrate() -> None:
    """Apply the schema files that the database lacks. `ldtm up` and `ldtm demo` do it as well."""
    from ldtm_cli.services import prepare

    _, applied = prepare(current_config())
    console.print(f"applied {', '.join(applied)}" if applied else "the schema is up to date")


@app.command("grant")
def grant(
    role: Annotated[str, typer.Argument(help="A role of the PostgreSQL server that exists already.")],
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Let the role read and do nothing else, as `ldtm dashboard` needs it.")
    ] = False,
) -> None:
    """Let a role add to the record and nothing else: no change, no deletion, no switching off of rules.

    Creates the tables of Dagster's storage as well, since the role may create none. Connect as the owner of the tables
    for this and for `db migrate`; run LDTM with LDTM_DATABASE_URL naming the role. With --read-only the role may add
    nothing either: name it in LDTM_READER_URL.
    """
    from ldtm_assets.dagster_tables import create_dagster_tables
    from ldtm_lib.database.privileges import (
        close_database,
        grant_reader_privileges,
        grant_writer_privileges,
        schema_exists,
        statement_to_close,
    )

    project = ready_project()
    dagster_schema = project.settings.database.dagster_schema
    with project.database.transaction() as conn:
        give = grant_reader_privileges if read_only else grant_writer_privileges
        give(conn, role, dagster_schema=dagster_schema)
        has_storage = schema_exists(conn, dagster_schema)
    if has_storage and not read_only:
        create_dagster_tables(project)
    with project.database.transaction() as conn:
        close_database(conn, dagster_schema=dagster_schema)
        statement = statement_to_close(conn, dagster_schema=dagster_schema)
    if statement is not None:
        console.print(
            "every role of the server may connect to the database and could take LDTM's locks; if nothing else uses "
            f"it, run as its owner: {statement}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    if read_only:
        console.print(f"{role} may read schema {project.settings.database.ldtm_schema}; name it in LDTM_READER_URL")
        return
    console.print(f"{role} may add to schema {project.settings.database.ldtm_schema}; `ldtm doctor` run as it confirms")
