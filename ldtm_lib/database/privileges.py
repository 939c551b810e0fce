"""Privileges of the writer role, which adds to the record and cannot change it, and checks of the connected role."""

import psycopg

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.errors import ConfigurationError


def grant_writer_privileges(conn: Connection, role: str, *, dagster_schema: str) -> None:
    """Grant an existing role the privileges that LDTM needs: to add to the record, and to use Dagster's storage.

    Raises ConfigurationError when the role does not exist, or when the connected role does not own the tables.
    """
    try:
        conn.execute(query("database.grant_writer_privileges"), {"role": role})
        if schema_exists(conn, dagster_schema):
            conn.execute(query("database.grant_storage_privileges"), {"schema": dagster_schema, "role": role})
    except psycopg.errors.UndefinedObject:
        raise ConfigurationError(
            f"PostgreSQL has no role {role}; make one first: create role {role} login password '...'"
        ) from None
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigurationError(f"only the owner of the tables can grant privileges on them: {error}") from None


def excess_privileges(conn: Connection) -> list[str]:
    """Privileges by which the connected role could get around the rules of the record, such as `is a superuser`."""
    return [privilege for (privilege,) in conn.execute(query("database.excess_privileges"))]


def missing_privileges(conn: Connection) -> list[str]:
    """Privileges that LDTM needs and the connected role lacks, such as `may not add to snapshot`.

    A role has none on a table that was created after its grant, unless the migration granted them.
    """
    return [privilege for (privilege,) in conn.execute(query("database.missing_privileges"))]


def schema_exists(conn: Connection, schema: str) -> bool:
    """Whether the database has a schema."""
    row = conn.execute(query("database.schema_exists"), {"schema": schema}).fetchone()
    return row is not None and row[0]
