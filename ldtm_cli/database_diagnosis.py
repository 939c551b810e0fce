"""Diagnosis of the database: server, folder, settings, Dagster's driver, schema, clock and role."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ldtm_cli.finding import Finding, guarded
from ldtm_lib.alerts.secrets import without_secrets
from ldtm_lib.audit.publications.configured import publications_of
from ldtm_lib.audit.publications.time_stamps import TimeStamps
from ldtm_lib.database import embedded
from ldtm_lib.database.clock import last_closed_session, now
from ldtm_lib.database.connection import Database, address
from ldtm_lib.database.definitions import altered_definitions
from ldtm_lib.database.identity import require_embedded
from ldtm_lib.database.migrate import pending_migrations
from ldtm_lib.database.privileges import (
    excess_privileges,
    missing_privileges,
    statement_to_close,
    storage_privileges,
)
from ldtm_lib.database.queries import query
from ldtm_lib.errors import ConfigurationError, PublicationFailed
from ldtm_lib.installation import FILES
from ldtm_lib.project import DATABASE_VARIABLE, Project, checked_url, home_of, open_project, require_own_database
from ldtm_lib.registry.configurations import require_listed
from ldtm_lib.sessions import exchange_calendar
from ldtm_lib.settings import Settings
from ldtm_lib.url import is_loopback

OLDEST_POSTGRES = 150000
SCHEMA_REMEDY = f"restore the files of this version in {FILES / 'sql'}"
LARGEST_CLOCK_DIFFERENCE = timedelta(seconds=30)
"""More than a query or the answer of a time-stamp authority takes, and far less than would matter for a deadline."""
WRONG_CLOCK_REMEDY = (
    "find out which clock is wrong and correct it (`timedatectl`, chrony or NTP): the database's clock decides which "
    "rows are live, and nothing is recorded while it is behind the newest seal"
)
DEFINITIONS_REMEDY = (
    f"find out who changed it and since when, create it again as in {FILES / 'sql' / 'migrations'}, and run "
    "`ldtm audit verify`, which recomputes the figures of the record"
)
UNIVERSE_REMEDY = "a ticker leaves with a date under [retired], and stays in `tickers`"
CLOCK_REMEDY = "install the same version of exchange-calendars on every machine, then run `ldtm db migrate`"
FOLDER_REMEDY = f"correct {DATABASE_VARIABLE}, or move the folder away to begin a new record"
SETTINGS_REMEDY = (
    "ask the administrator to change them: fsync and full_page_writes in postgresql.conf, other settings with `alter "
    "role` or `alter database`; for another encoding, create a new database"
)
ENCRYPTION_REMEDY = f"enable TLS on the server, and add sslmode=verify-full and sslrootcert=FILE to {DATABASE_VARIABLE}"
DRIVER_REMEDY = f"remove parameters unknown to psycopg2 from {DATABASE_VARIABLE}, or name the server, not a pooler"
ACCESS_REMEDY = "if nothing else uses the database, run as its owner"
ROLE_REMEDY = (
    "create a separate role, let `ldtm db grant ROLE` give it only the rights to add, and connect as that role; "
    "seals published outside of the database stay valid evidence in any case"
)


def database_findings(settings: Settings | None, config: Path, environ: Mapping[str, str]) -> list[Finding]:
    """Findings about the server and, if it answers, about folder, settings, driver, schema, clock and role."""
    if environ.get(DATABASE_VARIABLE):
        remedy = f"start that server, or correct {DATABASE_VARIABLE}; without it `ldtm up` starts an embedded server"
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
    findings += guarded("encryption", ENCRYPTION_REMEDY, lambda: _encryption_of(database))
    findings += guarded("settings", SETTINGS_REMEDY, lambda: [_settings(database)])
    findings += guarded("Dagster", DRIVER_REMEDY, lambda: [_driver_of_dagster(project.dagster_database)])
    findings += guarded(
        "schema",
        SCHEMA_REMEDY,
        lambda: [_schema(database)],
    )
    if findings[-1].level == "ok":
        findings += guarded("clock", CLOCK_REMEDY, lambda: [_clock(project)])
        findings += guarded("universe", UNIVERSE_REMEDY, lambda: [_universe(project)])
        findings += guarded("role", ROLE_REMEDY, lambda: [_role(project)])
        findings += guarded("access", ACCESS_REMEDY, lambda: [_access(project)])
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


def _universe(project: Project) -> Finding:
    """Check that no ticker in service was removed from the file."""
    with project.database.transaction() as conn:
        require_listed(conn, project.settings)
    return Finding(what="universe", level="ok", found="the configuration lists every ticker in service")


def _encryption_of(database: Database) -> list[Finding]:
    with database.transaction() as conn:
        return encryption_findings(conn.info.host, conn.info.hostaddr, is_encrypted=conn.pgconn.ssl_in_use)


def encryption_findings(host: str, host_address: str, *, is_encrypted: bool) -> list[Finding]:
    """Warn of an unencrypted connection to another host; no finding for sockets and loopback addresses."""
    if host.startswith(("/", "@")) or is_loopback(host_address or host):
        return []
    if is_encrypted:
        return [Finding(what="encryption", level="ok", found=f"the connection to {host} is encrypted")]
    found = (
        f"the connection to {host} is not encrypted: anyone on the network path can read every row, and may alter it"
    )
    return [Finding(what="encryption", level="warn", found=found, remedy=ENCRYPTION_REMEDY)]


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
    with database.transaction() as conn:
        altered = altered_definitions(conn)
    if altered:
        more = f", and {len(altered) - 1} more" if altered[1:] else ""
        found = f"{database.schema} is not as LDTM created it: {altered[0]}{more}"
        return Finding(what="schema", level="fail", found=found, remedy=DEFINITIONS_REMEDY)
    return Finding(what="schema", level="ok", found=f"{database.schema} is up to date, and as its migrations made it")


def _clock(project: Project) -> Finding:
    """Check the database's clock against this machine's, and an authority's where one stamps the seals."""
    with project.database.transaction() as conn:
        closed = last_closed_session(conn)
        before = datetime.now(UTC)
        of_database = now(conn)
        off = of_database - (before + (datetime.now(UTC) - before) / 2)
    if not exchange_calendar().is_session(closed):
        found = f"{closed} is a session for the database, but not for this process"
        return Finding(what="clock", level="warn", found=found, remedy=CLOCK_REMEDY)
    compared = [("this machine", off)]
    for place in publications_of(project.settings, project.home):
        if isinstance(place, TimeStamps):
            try:
                compared.append((place.url, datetime.now(UTC) + off - place.moment()))
            except PublicationFailed as error:
                remedy = "correct publish.timestamp_url, or try again"
                return Finding(
                    what="clock", level="warn", found=f"the time-stamp authority gave no time: {error}", remedy=remedy
                )
    if (wrong := wrong_clock(compared)) is not None:
        return wrong
    agreeing = " and ".join(name for name, _ in compared)
    found = f"the database's newest closed session is {closed}; its clock agrees with {agreeing}"
    return Finding(what="clock", level="ok", found=found)


def wrong_clock(compared: Sequence[tuple[str, timedelta]]) -> Finding | None:
    """The finding about the first clock that the database's is far ahead of or behind; None where all agree."""
    for name, difference in compared:
        if abs(difference) > LARGEST_CLOCK_DIFFERENCE:
            side = "ahead of" if difference > timedelta(0) else "behind"
            found = f"the clock of the database is {abs(difference).total_seconds():.0f} s {side} that of {name}"
            return Finding(what="clock", level="fail", found=found, remedy=WRONG_CLOCK_REMEDY)
    return None


def _access(project: Project) -> Finding:
    """Check that roles without rights on the tables cannot connect, and so cannot take LDTM's locks."""
    if embedded.serves(project.home, project.database.url):
        return Finding(what="access", level="ok", found="only the user of the embedded server and root can connect")
    with project.database.transaction() as conn:
        statement = statement_to_close(conn, dagster_schema=project.dagster_database.schema)
    if statement is None:
        return Finding(what="access", level="ok", found="no role without rights on the tables can connect")
    text = "every role of the server may connect to the database, and could take the locks that LDTM waits for"
    return Finding(what="access", level="warn", found=text, remedy=f"{ACCESS_REMEDY}: {statement}")


def _role(project: Project) -> Finding:
    """Check that the connected role has the rights that LDTM needs, and none that bypass the rules of the record."""
    with project.database.transaction() as conn:
        user, lacking, found = conn.info.user, missing_privileges(conn), excess_privileges(conn)
        storage = storage_privileges(conn, project.dagster_database.schema)
    if lacking:
        text = f"{user} {'; '.join([*lacking, *found])}: some operations of LDTM will fail"
        remedy = f"as the owner of the tables run `ldtm db grant {user}`"
        return Finding(what="role", level="fail", found=text, remedy=remedy)
    if storage:
        text = f"{user} {'; '.join([*found, *storage])}: code that it adds would run as any user of that storage"
        remedy = f"as the owner of the tables run `ldtm db grant {user}`"
        return Finding(what="role", level="warn", found=text, remedy=remedy)
    if found:
        text = f"{user} {'; '.join(found)}: it could bypass the rules of the record"
        return Finding(what="role", level="warn", found=text, remedy=ROLE_REMEDY)
    return Finding(what="role", level="ok", found=f"{user} can add to the record but not change it")
