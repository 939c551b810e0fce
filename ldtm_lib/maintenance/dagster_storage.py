"""Whose Dagster storage a schema is: two installations on one would share runs, cursors and the daemon's queue."""

import psycopg
from psycopg import sql

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.database.writer import schema_exists
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.project import Project


def claim_dagster_schema(project: Project) -> None:
    """Make the schema of Dagster's storage where it is missing, and put on record that it is this project's.

    Raises ConfigurationError where it is another one's.
    """
    schema, own = project.dagster_database.schema, project.database.schema
    with project.dagster_database.transaction() as conn:
        conn.execute(query("database.lock_schema"), {"schema": schema})
        if not schema_exists(conn, schema):
            conn.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
        owner = _owner(conn)
        if owner is None:
            _put_on_record(conn, own)
        elif owner != own:
            raise ConfigurationError(
                f"schema {schema} holds the Dagster storage of the installation in schema {owner}, not of this one in "
                f"{own}; two on one storage would start each other's runs. Name another schema under [database], such "
                f'as dagster_schema = "{own}_dagster"'
            )


def _owner(conn: Connection) -> str | None:
    """The schema of the installation that the storage belongs to; None where nobody's is on record, or one is gone."""
    if conn.execute(query("maintenance.has_storage_owner")).fetchone() != (True,):
        return None
    row = conn.execute(query("maintenance.storage_owner")).fetchone()
    return row[0] if row is not None and row[1] else None


def _put_on_record(conn: Connection, own: str) -> None:
    """Put the owner on record; a role without the right to leaves that to the one that owns the schema."""
    try:
        with conn.transaction():
            if conn.execute(query("maintenance.has_storage_owner")).fetchone() != (True,):
                conn.execute(query("maintenance.create_storage_owner"))
            conn.execute(query("maintenance.own_storage"), {"schema": own})
    except psycopg.errors.InsufficientPrivilege:
        return
