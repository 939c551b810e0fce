"""Diagnosis of the database: server, folder, settings, Dagster's driver, schema, clock and role."""

from collections.abc import Mapping
from pathlib import Path

from ldtm_cli.finding import Finding, guarded
from ldtm_lib.alerts.secrets import without_secrets
from ldtm_lib.database import embedded
from ldtm_lib.database.clock import last_closed_session
from ldtm_lib.database.connection import Database, address
from ldtm_lib.database.identity import require_embedded
from ldtm_lib.database.migrate import pending_migrations
from ldtm_lib.database.privileges import excess_privileges, missing_privileges
from ldtm_lib.database.queries import query
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.installation import FILES
from ldtm_lib.project import DATABASE_VARIABLE, Project, checked_url, home_of, open_project, require_own_database
from ldtm_lib.sessions import exchange_calendar
from ldtm_lib.settings import Settings

OLDEST_POSTGRES = 150000
SCHEMA_REMEDY = f"restore the files of this version in {FILES / 'sql'}"
CLOCK_REMEDY = "install the same version of exchange-calendars on every machine, then run `ldtm db migrate`"
FOLDER_REMEDY = f"correct {DATABASE_VARIABLE}, or move the folder away to begin a new record"
SETTINGS_REMEDY = "ask the administrator of the server to change them for the role or the database of LDTM"
DRIVER_REMEDY = f"remove parameters unknown to psycopg2 from {DATABASE_VARIABLE}, or name the server, not a pooler"
ROLE_REMEDY = (
    "create a separate role, let `ldtm db grant ROLE` give it only the rights to add, and connect as that role; "
    "seals published outside of the database stay valid evidence in any case"
)


def database_findings(settings: Settings | None, config: Path, environ: Mapping[str, str]) -> list[Finding]:
    """Findings about the server and, if it answers, about folder, settings, driver, schema, clock and role."""
    if environ.get(DATABASE_VARIABLE):
        remedy = f"start the server or correct {DATABASE_VARIABLE}; without it `ldtm up` starts an embedded server"
        findings = guarded("database", remedy, lambda: [_server(_given(settings, config, environ), environ)])
    elif settings is None:
        found = "not checked: the location of the embedded PostgreSQL depends on the configuration"
        remedy = f"correct the configuration first, or set {DATABASE_VARIABLE}"
        findings = [Finding(what="database", level="warn", found=found, remedy=remedy)]
    elif not embedded.is_running(home := home_of(settings)):
        if problem := _not_embedded(home):
            return [Finding(what="database", level="fail", found=problem, remedy=f"set {DATABASE_VARIABLE}")]
        found = f"no {DATABASE_VARIABLE}, and the embedded PostgreSQL of {home_of(settings)} is not running"
        findings = [
            Finding(what="database", level="warn", found=found, remedy="`ldtm bootstrap` and `ldtm up` start it")
        ]
    else:
        remedy = f"see the end of its log in {home_of(settings)}, or restart it with `ldtm down` and `ldtm up`"
        findings = guarded("database", remedy, lambda: [_server(open_project(config, environ).database, environ)])
    if settings is None or any(finding.level != "ok" for finding in findings):
        return findings
    project = open_project(config, environ)
    database = project.database
    findings += guarded("folder", FOLDER_REMEDY, lambda: [_folder(project)])
    findings += guarded("settings", SETTINGS_REMEDY, lambda: [_settings(database)])
    findings += guarded("Dagster", DRIVER_REMEDY, lambda: [_driver_of_dagster(project.dagster_database)])
    findings += guarded(
        "schema",
        SCHEMA_REMEDY,
        lambda: [_schema(database)],
    )
    if findings[-1].level == "ok":
        findings += guarded("clock", CLOCK_REMEDY, lambda: [_clock(database)])
        findings += guarded("role", ROLE_REMEDY, lambda: [_role(database)])
    return findings


def _not_embedded(home: Path) -> str | None:
    """The reason why no embedded server may be started for a folder; None if one may."""
    try:
        require_embedded(home)
    except ConfigurationError as error:
        return str(error)
    return None


def _folder(project: Project) -> Finding:
    """Check that the folder of the installation belongs to this database."""
    with project.database.transaction() as conn:
        require_own_database(project, conn)
    return Finding(what="folder", level="ok", found=f"{project.home} belongs to the database at {project.address}")


def _settings(database: Database) -> Finding:
    """Report the settings that every connection pins, and risky ones that it cannot pin."""
    with database.transaction() as conn:
        risks = [finding for (finding,) in conn.execute(query("database.risky_settings"))]
    if risks:
        return Finding(what="settings", level="warn", found="; ".join(risks), remedy=SETTINGS_REMEDY)
    pinned = ", ".join(sorted(database.pinned))
    return Finding(what="settings", level="ok", found=f"every connection pins {pinned}")


def _driver_of_dagster(database: Database) -> Finding:
    """Check that Dagster's driver reaches its schema with the same URL, as in `ldtm up`."""
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    try:
        with create_engine(database.sqlalchemy_url(), poolclass=NullPool).connect() as connection:
            path = connection.execute(text("select current_setting('search_path')")).scalar_one()
    except SQLAlchemyError as error:
        reason = without_secrets(" ".join(str(error).split()), {DATABASE_VARIABLE: database.url})
        return Finding(what="Dagster", level="fail", found=f"its driver cannot connect: {reason}", remedy=DRIVER_REMEDY)
    if path != database.schema:
        found = f"its driver reads and writes the schema {path}, not {database.schema}"
        return Finding(what="Dagster", level="fail", found=found, remedy=DRIVER_REMEDY)
    return Finding(what="Dagster", level="ok", found=f"its storage is schema {database.schema} of the same database")


def _given(settings: Settings | None, config: Path, environ: Mapping[str, str]) -> Database:
    """The database that the environment names; without settings, any schema serves to test the server."""
    if settings is None:
        return Database(url=checked_url(environ[DATABASE_VARIABLE]), schema="public")
    return open_project(config, environ).database


def _server(database: Database, environ: Mapping[str, str]) -> Finding:
    with database.transaction() as conn:
        number = conn.info.server_version
    kind = f"given by {DATABASE_VARIABLE}" if environ.get(DATABASE_VARIABLE) else "embedded"
    at = f"PostgreSQL {number // 10000}.{number % 10000} at {address(database.url)}, {kind}"
    if number < OLDEST_POSTGRES:
        return Finding(what="database", level="fail", found=at, remedy="use PostgreSQL 15 or newer")
    return Finding(what="database", level="ok", found=at)


def _schema(database: Database) -> Finding:
    if pending := pending_migrations(database):
        lacks = f"{database.schema} lacks {', '.join(pending)}"
        return Finding(what="schema", level="fail", found=lacks, remedy="run `ldtm db migrate`")
    return Finding(what="schema", level="ok", found=f"{database.schema} is up to date")


def _clock(database: Database) -> Finding:
    with database.transaction() as conn:
        closed = last_closed_session(conn)
    if not exchange_calendar().is_session(closed):
        found = f"{closed} is a session for the database, but not for this process"
        return Finding(what="clock", level="warn", found=found, remedy=CLOCK_REMEDY)
    return Finding(what="clock", level="ok", found=f"newest closed session by the database: {closed}")


def _role(database: Database) -> Finding:
    """Check that the connected role has the rights that LDTM needs, and none that bypass the rules of the record."""
    with database.transaction() as conn:
        user, lacking, found = conn.info.user, missing_privileges(conn), excess_privileges(conn)
    if lacking:
        text = f"{user} {'; '.join([*lacking, *found])}: some operations of LDTM will fail"
        remedy = f"as the owner of the tables run `ldtm db grant {user}`"
        return Finding(what="role", level="fail", found=text, remedy=remedy)
    if found:
        text = f"{user} {'; '.join(found)}: it could bypass the rules of the record"
        return Finding(what="role", level="warn", found=text, remedy=ROLE_REMEDY)
    return Finding(what="role", level="ok", found=f"{user} can add to the record but not change it")
