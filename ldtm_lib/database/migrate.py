"""Bring a schema up to date: the files of sql/migrations in their order, each once, none ever edited."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.queries import SQL_FOLDER, query
from ldtm_lib.errors import ConfigurationError, MigrationError
from ldtm_lib.sessions import Calendar

MIGRATIONS_FOLDER = SQL_FOLDER / "migrations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One file of the schema."""

    name: str
    sha256: str
    text: bytes


def migrations(folder: Path = MIGRATIONS_FOLDER) -> list[Migration]:
    """The migrations of a folder in the order of their names."""
    texts = {path.name: path.read_bytes() for path in sorted(folder.glob("*.sql"))}
    return [Migration(name=n, sha256=hashlib.sha256(t).hexdigest(), text=t) for n, t in texts.items()]


def migrate(database: Database, calendar: Calendar, folder: Path = MIGRATIONS_FOLDER) -> list[str]:
    """Apply the steps that a schema lacks, all or none, and extend its calendar. Returns the names of the steps.

    Simultaneous calls are safe: an advisory lock makes the second wait, and it then finds nothing to do. If no step is
    missing, the role needs no right to create anything.
    Raises MigrationError when an applied file was edited or is missing, when a new file comes before an applied one,
    and for a schema from before the first release.
    """
    with database.transaction() as conn:
        conn.execute(query("database.lock_schema"), {"schema": database.schema})
        applied = _applied(conn, database.schema)
        pending = _pending(migrations(folder), applied, database.schema)
        if not applied:
            conn.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(database.schema)))
            conn.execute(query("database.create_migration_table"))
        for step in pending:
            _apply(conn, step)
        extend_calendar(conn, calendar)
    return [step.name for step in pending]


def pending_migrations(database: Database, folder: Path = MIGRATIONS_FOLDER) -> list[str]:
    """The names of the steps that a schema lacks; all of them when the schema does not exist."""
    with database.transaction() as conn:
        applied = _applied(conn, database.schema)
    return [step.name for step in _pending(migrations(folder), applied, database.schema)]


def extend_calendar(conn: Connection, calendar: Calendar) -> None:
    """Store the sessions of the calendar in the database, and no others; sessions that have opened never change.

    A future session that the calendar no longer has is removed, unless a forecast names it.
    """
    days, opens, closes = zip(*calendar.schedule(), strict=True)
    conn.execute(
        query("database.extend_calendar"), {"sessions": list(days), "opens": list(opens), "closes": list(closes)}
    )


def _applied(conn: Connection, schema: str) -> dict[str, str]:
    """The SHA-256 of every applied step by its name; none for a schema that does not exist.

    The tables are found in the schema of the connection. Raises ConfigurationError for a role without rights on it.
    """
    if conn.execute(query("database.has_migration_table"), {"schema": schema}).fetchone() is None:
        return {}
    try:
        return dict(conn.execute(query("database.applied_migrations")).fetchall())
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable):
        user = conn.info.user
        raise ConfigurationError(
            f"{user} has no rights on schema {schema}; as the owner of its tables run `ldtm db grant {user}`"
        ) from None


def _pending(files: list[Migration], applied: dict[str, str], schema: str) -> list[Migration]:
    present = {step.name: step for step in files}
    if applied and files and files[0].name not in applied:
        raise MigrationError(
            f"schema {schema} is from before the first release of LDTM and cannot be upgraded: it has {min(applied)} "
            f"applied, where this version begins with {files[0].name}. Start with an empty one: set schema and "
            "dagster_schema under [database] to new names, or let LDTM_DATABASE_URL name another database, or, with "
            "the embedded server, run `ldtm down` and move the installation's folder below `.ldtm` away. The "
            "data of the old schema are not migrated"
        )
    for name, sha256 in applied.items():
        if name not in present:
            raise MigrationError(
                f"schema {schema} has {name} applied, which this version of LDTM does not have; "
                "the database is ahead of the code: update the code"
            )
        if present[name].sha256 != sha256:
            raise MigrationError(
                f"sql/migrations/{name} was edited after it was applied to schema {schema} "
                f"({sha256[:12]} then, {present[name].sha256[:12]} now); restore it and put the change into a new file"
            )
    pending = [step for step in files if step.name not in applied]
    if pending and applied and pending[0].name < max(applied):
        raise MigrationError(
            f"sql/migrations/{pending[0].name} is new but comes before {max(applied)}, "
            f"which schema {schema} has already; give it a higher number"
        )
    return pending


def _apply(conn: Connection, step: Migration) -> None:
    try:
        conn.execute(step.text)
    except psycopg.Error as error:
        raise MigrationError(f"sql/migrations/{step.name} cannot be applied: {error}") from error
    conn.execute(query("database.record_migration"), {"name": step.name, "sha256": step.sha256})
