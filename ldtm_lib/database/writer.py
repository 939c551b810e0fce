"""Roles: who may add to the record without being able to change it, and what the connected one can do less or more."""

import psycopg

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.errors import ConfigurationError


def allow_to_write(conn: Connection, role: str, *, dagster_schema: str) -> None:
    """Give a role that exists the rights that LDTM runs with: to add to the record, and to use Dagster's storage.

    Raises ConfigurationError when there is no such role, or when the connected one owns not what it would give.
    """
    try:
        conn.execute(query("database.allow_to_write"), {"role": role})
        if schema_exists(conn, dagster_schema):
            conn.execute(query("database.allow_to_use"), {"schema": dagster_schema, "role": role})
    except psycopg.errors.UndefinedObject:
        raise ConfigurationError(
            f"PostgreSQL has no role {role}; make one first: create role {role} login password '...'"
        ) from None
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigurationError(f"only the owner of the tables can give rights on them: {error}") from None


def powers(conn: Connection) -> list[str]:
    """What the connected role could do to the record past its rules, such as `is a superuser`; best nothing."""
    return [power for (power,) in conn.execute(query("database.excess_rights"))]


def lacking_rights(conn: Connection) -> list[str]:
    """What LDTM does and the connected role may not, such as `may not add to snapshot`; best nothing.

    A role that was given its rights before a table came has none on that table, unless the migration gave them.
    """
    return [lack for (lack,) in conn.execute(query("database.lacking_rights"))]


def schema_exists(conn: Connection, schema: str) -> bool:
    """Whether the database has a schema."""
    row = conn.execute(query("database.schema_exists"), {"schema": schema}).fetchone()
    return row is not None and row[0]
