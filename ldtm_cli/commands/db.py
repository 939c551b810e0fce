"""`ldtm db`: the URL, the schema and the writer role of the database."""

from typing import Annotated

import typer

from ldtm_cli.invocation import console, current_config, ready_project

app = typer.Typer(help="The PostgreSQL database.")


@app.command("url")
def print_url(
    export: Annotated[
        bool, typer.Option("--export", help="Print shell exports of all that a Dagster process of your own needs.")
    ] = False,
) -> None:
    """Print the database's URL; the embedded server is started when it does not run."""
    import shlex

    from ldtm_cli.services import dagster_environment, prepare

    project, _ = prepare(current_config())
    if export:
        for name, value in dagster_environment(project).items():
            print(f"export {name}={shlex.quote(value)}")
    else:
        print(project.database.url)


@app.command("migrate")
def migrate() -> None:
    """Apply the schema files that the database lacks. `ldtm up` and `ldtm demo` do it as well."""
    from ldtm_cli.services import prepare

    _, applied = prepare(current_config())
    console.print(f"applied {', '.join(applied)}" if applied else "the schema is up to date")


@app.command("grant")
def grant(role: Annotated[str, typer.Argument(help="A role of the PostgreSQL server that exists already.")]) -> None:
    """Let a role add to the record and nothing else: no change, no deletion, no switching off of rules.

    Connect as the owner of the tables for this and for `db migrate`; run LDTM with LDTM_DATABASE_URL naming the role.
    """
    from ldtm_lib.database.privileges import grant_writer_privileges

    project = ready_project()
    with project.database.transaction() as conn:
        grant_writer_privileges(conn, role, dagster_schema=project.settings.database.dagster_schema)
    console.print(f"{role} may add to schema {project.settings.database.ldtm_schema}; `ldtm doctor` run as it confirms")
