"""`ldtm db`: the URL, the schema, and the writer and reader roles of the database."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console

from ldtm_cli.invocation import console, current_config, ready_project
from ldtm_lib.wording import counted

app = typer.Typer(help="The PostgreSQL database.")


@app.command("url")
def print_url(
    export: Annotated[
        bool, typer.Option("--export", help="Print shell exports of all variables that a Dagster process needs.")
    ] = False,
    show_password: Annotated[bool, typer.Option("--show-password", help="Print the password instead of ***.")] = False,
) -> None:
    """Print the database's URL with the password masked; starts the embedded server if it is not running.

    Exports contain the password; they are printed to a terminal only with --show-password.
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
    """Apply the migrations that the database lacks. `ldtm up` and `ldtm demo` do this too."""
    from ldtm_cli.services import prepare

    _, applied = prepare(current_config())
    print_migrations(console, applied)


def print_migrations(console: Console, applied: Sequence[str]) -> None:
    """Print the migrations that were applied, one per line."""
    if not applied:
        console.print("the schema is up to date")
        return
    console.print(f"applied {counted(len(applied), 'migration')}:", highlight=False)
    for name in applied:
        console.print(f"  {name}", highlight=False, markup=False)


@app.command("grant")
def grant(
    role: Annotated[str, typer.Argument(help="An existing role of the PostgreSQL server.")],
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Grant only the rights to read that `ldtm dashboard` needs.")
    ] = False,
) -> None:
    """Grant a role only the rights to add to the record; it cannot change or delete rows, or disable rules.

    Also creates the tables of Dagster's storage, since the role may create none. Run this command and `db migrate` as
    the owner of the tables; run LDTM with an LDTM_DATABASE_URL that names the role. With --read-only the role may not
    add rows either; name it in LDTM_READER_URL.
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
    print_grant(console, role, project.settings.database.ldtm_schema, statement, read_only=read_only)


def print_grant(console: Console, role: str, schema: str, statement: str | None, *, read_only: bool) -> None:
    """Print what a role may do now, and the statement that closes the database to other roles if one is needed."""
    if statement is not None:
        console.print(
            "every role of the server may connect to the database and could take LDTM's locks; if nothing else uses "
            "the database, run as its owner:",
            highlight=False,
        )
        console.print(f"  {statement}", highlight=False, markup=False, soft_wrap=True)
    may = (
        f"{role} may read schema {schema}; name this role in LDTM_READER_URL"
        if read_only
        else f"{role} may only add rows to the tables of schema {schema}; to confirm it, run `ldtm doctor` as that role"
    )
    console.print(may, highlight=False, markup=False)
