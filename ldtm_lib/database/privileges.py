"""Privileges of the writer role, which adds to the record, and of the reader role; checks of the connected role."""

import psycopg
from psycopg import sql

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.errors import ConfigurationError


def grant_writer_privileges(conn: Connection, role: str, *, dagster_schema: str) -> None:
    """Grant an existing role the privileges that LDTM needs: to add to the record, and to use Dagster's storage.

    Its other privileges in both schemas are revoked, and tables of Dagster that belong to any other role than the owner
    of their schema pass to that owner.
    Raises ConfigurationError when the role does not exist, when the connected role does not own the tables, or when
    somebody has put code of their own into Dagster's storage.
    """
    try:
        conn.execute(query("database.grant_writer_privileges"), {"role": role})
        if schema_exists(conn, dagster_schema):
            _grant_storage_privileges(conn, role, dagster_schema)
    except psycopg.errors.UndefinedObject:
        raise ConfigurationError(
            f"PostgreSQL has no role {role}; create it first: create role {role} login password '...'"
        ) from None
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigurationError(f"only the owner of the tables can grant privileges on them: {error}") from None


def _grant_storage_privileges(conn: Connection, role: str, schema: str) -> None:
    try:
        conn.execute(query("database.grant_storage_privileges"), {"schema": schema, "role": role})
    except psycopg.errors.InsufficientPrivilege as error:
        user = conn.info.user
        raise ConfigurationError(
            f"{user} cannot take over what {role} owns in schema {schema} ({_first_line(error)}); as an administrator "
            f"run `grant {role} to {user}`, then `ldtm db grant {role}` again"
        ) from None
    except psycopg.errors.IntegrityConstraintViolation as error:
        raise ConfigurationError(_first_line(error)) from None


def _first_line(error: psycopg.Error) -> str:
    return str(error).partition("\n")[0]


def grant_reader_privileges(conn: Connection, role: str, *, dagster_schema: str) -> None:
    """Let an existing role read the tables of LDTM and those of Dagster's tables that the dashboard needs.

    Its other privileges in both schemas are revoked. Raises ConfigurationError when the role does not exist, may write
    or is a superuser, and when the connected role does not own the tables.
    """
    try:
        conn.execute(query("database.grant_reader_privileges"), {"role": role})
        if schema_exists(conn, dagster_schema):
            conn.execute(query("database.grant_storage_reading"), {"schema": dagster_schema, "role": role})
    except psycopg.errors.UndefinedObject:
        raise ConfigurationError(
            f"PostgreSQL has no role {role}; create it first: create role {role} login password '...'"
        ) from None
    except psycopg.errors.IntegrityConstraintViolation as error:
        raise ConfigurationError(f"{_first_line(error)}: create role ldtm_reader login password '...'") from None
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigurationError(f"only the owner of the tables can grant privileges on them: {error}") from None


def create_reader(conn: Connection, role: str) -> None:
    """Create a role that may log in, if there is none of that name; the embedded server asks for no password."""
    if conn.execute(query("database.role_exists"), {"role": role}).fetchone() != (True,):
        conn.execute(sql.SQL("create role {} login").format(sql.Identifier(role)))


def writing_privileges(conn: Connection) -> list[str]:
    """Privileges by which the connected role could change something, such as `is a superuser`; none for a reader."""
    return [privilege for (privilege,) in conn.execute(query("database.writing_privileges"))]


def close_database(conn: Connection, *, dagster_schema: str) -> bool:
    """Restrict connections to the roles that have rights on the tables; returns whether others are excluded now.

    A database that holds more than this installation, or that belongs to another role, stays as it is.
    """
    row = conn.execute(query("database.close_database"), {"schema": dagster_schema}).fetchone()
    return row is not None and row[0]


def statement_to_close(conn: Connection, *, dagster_schema: str) -> str | None:
    """The SQL that restricts connections to the roles with rights on the tables; None if others cannot connect."""
    asked = {"schema": dagster_schema}
    is_open, statement = conn.execute(query("database.is_open_to_public"), asked).fetchone() or (False, "")
    return statement if is_open else None


def storage_privileges(conn: Connection, dagster_schema: str) -> list[str]:
    """Privileges by which the connected role could put code of its own into Dagster's storage."""
    return [
        privilege for (privilege,) in conn.execute(query("database.storage_privileges"), {"schema": dagster_schema})
    ]


def excess_privileges(conn: Connection) -> list[str]:
    """Privileges by which the connected role could bypass the rules of the record, such as `is a superuser`."""
    return [privilege for (privilege,) in conn.execute(query("database.excess_privileges"))]


def missing_privileges(conn: Connection) -> list[str]:
    """Privileges that LDTM needs and the connected role lacks, such as `may not add to snapshot`.

    A role has none on a table that was created after its grant, unless the migration granted them.
    """
    return [privilege for (privilege,) in conn.execute(query("database.missing_privileges"))]


def schema_exists(conn: Connection, schema: str) -> bool:
    """True if the database has a schema."""
    row = conn.execute(query("database.schema_exists"), {"schema": schema}).fetchone()
    return row is not None and row[0]
