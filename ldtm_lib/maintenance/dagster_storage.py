"""Dagster's storage: its schema, and the installation that owns it.

Two installations on one storage would share runs, cursors and the daemon's queue.
"""

from collections.abc import Collection

import psycopg
from psycopg import sql

from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.privileges import schema_exists
from ldtm_lib.database.queries import query
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.project import Project


def claim_dagster_schema(project: Project) -> None:
    """Create the schema of Dagster's storage where it is missing, and record this project as its owner.

    Raises ConfigurationError if another installation owns it.
    """
    schema, own = project.dagster_database.schema, project.database.schema
    with project.dagster_database.transaction() as conn:
        hold_schema(conn, schema)
        if not schema_exists(conn, schema):
            conn.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
        owner = _owner(conn)
        if owner is None:
            _record_owner(conn, own)
        elif owner != own:
            raise ConfigurationError(
                f"schema {schema} holds the Dagster storage of the installation in schema {owner}, not of this one in "
                f"{own}; two on one storage would start each other's runs. Name another schema under [database], such "
                f'as dagster_schema = "{own}_dagster"'
            )


def hold_schema(conn: Connection, schema: str) -> None:
    """Make other commands that prepare the schema wait until the end of the transaction."""
    conn.execute(query("database.lock_schema"), {"schema": schema})


def discard_incomplete_tables(conn: Connection, expected: Collection[str]) -> bool:
    """Drop the expected tables that exist if others are missing and no run is recorded.

    Returns whether nothing has to be created: all tables exist, or some are missing but runs are recorded, as in the
    storage of another version of Dagster, which is left as it is.
    """
    found = conn.execute(query("maintenance.existing_tables"), {"names": [*expected, "alembic_version"]})
    existing = {name for (name,) in found}
    if existing.issuperset(expected):
        return True
    if "runs" in existing and conn.execute(query("maintenance.has_runs")).fetchone() == (True,):
        return True
    for name in existing:
        conn.execute(sql.SQL("drop table {} cascade").format(sql.Identifier(name)))
    return False


def storage_owner(database: Database) -> str | None:
    """The schema of the installation that owns a storage; None where none is on record."""
    with database.transaction() as conn:
        row = _owner_row(conn)
    return None if row is None else row[0]


def has_run_storage(conn: Connection) -> bool:
    """True if Dagster has created its tables in the schema of the connection."""
    row = conn.execute(query("maintenance.has_run_storage")).fetchone()
    return row is not None and row[0]


def _owner(conn: Connection) -> str | None:
    """The schema of the owning installation; None where none is on record, or its schema no longer exists."""
    row = _owner_row(conn)
    return row[0] if row is not None and row[1] else None


def _owner_row(conn: Connection) -> tuple[str, bool] | None:
    """The owner on record, and whether its schema exists."""
    if conn.execute(query("maintenance.has_storage_owner")).fetchone() != (True,):
        return None
    return conn.execute(query("maintenance.storage_owner")).fetchone()


def _record_owner(conn: Connection, own: str) -> None:
    """Record the owner; a role without the right to do so leaves that to the owner of the schema."""
    try:
        with conn.transaction():
            if conn.execute(query("maintenance.has_storage_owner")).fetchone() != (True,):
                conn.execute(query("maintenance.create_storage_owner"))
            conn.execute(query("maintenance.own_storage"), {"schema": own})
    except psycopg.errors.InsufficientPrivilege:
        return
