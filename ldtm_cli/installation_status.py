"""Status of the installation: tables, Dagster and disk, and the conditions that need a person."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ldtm_cli.dagster_process import running_dagster
from ldtm_lib.alerts.secrets import ALERT_VARIABLE, alert_urls, without_secrets
from ldtm_lib.audit.publications.seal_file import seal_file_of
from ldtm_lib.audit.sealing import fork_of
from ldtm_lib.database import embedded
from ldtm_lib.database.clock import stored_calendar
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.identity import require_embedded
from ldtm_lib.database.migrate import pending_migrations
from ldtm_lib.errors import DatabaseUnavailable, LdtmError, PublicationFailed
from ldtm_lib.installation import in_stack, reload_command, start_command
from ldtm_lib.maintenance.dagster_status import DagsterStatus, dagster_status
from ldtm_lib.maintenance.dagster_storage import has_run_storage
from ldtm_lib.maintenance.disk import folder_bytes, free_bytes, low_disk_alert
from ldtm_lib.maintenance.status import Status, needs, status
from ldtm_lib.project import DATABASE_VARIABLE, Project, home_of, open_project, require_own_database
from ldtm_lib.settings import Settings, load_settings
from ldtm_lib.wording import counted, named

MAKES_ROWS = ("daily_schedule", "catch_up_sensor")
"""The schedule and the sensor that request daily runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallationStatus:
    """Status of every part. A part that could not be read is None, and `needs` gives the reason."""

    tables: Status | None
    dagster: DagsterStatus | None
    ui_url: str | None
    """Address of the UI of this configuration; None when `ldtm up` did not start it."""
    folder_bytes: Mapping[str, int]
    """Sizes of the folders next to the configuration."""
    free_bytes: int
    needs: tuple[str, ...]
    """Conditions that need a person, in sentences."""

    @property
    def awaited(self) -> Sequence[str]:
        """Tickers whose row of the newest session is missing and may still come in time."""
        return self.tables.newest.without_row if self.tables is not None else ()

    def as_dict(self) -> dict[str, object]:
        """The status for JSON."""
        return {"is_well": not self.needs and not self.awaited, **asdict(self)}


def installation_status(config: Path, environ: Mapping[str, str]) -> InstallationStatus:
    """Read every part that can be read, without starting anything. Raises ConfigurationError for an invalid file."""
    settings = load_settings(config)
    home = home_of(settings)
    tables, dagster, running, lines = None, None, None, list[str]()
    try:
        project = _project(settings, config, environ)
        running = running_dagster(project)
        with project.database.transaction() as conn:
            require_own_database(project, conn)
        if pending := pending_migrations(project.database):
            lines.append(
                f"schema {project.database.schema} lacks {counted(len(pending), 'migration')}: run `ldtm db migrate`"
            )
        else:
            with project.database.transaction() as conn:
                tables = status(conn, settings, stored_calendar(conn))
                lines += _contradiction(conn, project)
            lines += needs(tables, settings)
        dagster = _dagster(project)
        lines += _needs_of(dagster, tables, settings)
    except LdtmError as error:
        lines.append(str(error))
    if settings.automation.enabled and not alert_urls(environ):
        lines.append(
            f"automation is on and {ALERT_VARIABLE} names no channel, so nobody is notified: set it, and test it with "
            "`ldtm alerts test`"
        )
    disk = low_disk_alert(home)
    if disk is not None and not (tables and any(alert.key == disk.key for alert in tables.alerts)):
        lines.append(f"{disk.subject}: {disk.summary}")
    return InstallationStatus(
        tables=tables,
        dagster=dagster,
        ui_url=running.address if running else None,
        folder_bytes={name: folder_bytes(home / name) for name in ("checkpoints", "dagster", "logs")},
        free_bytes=free_bytes(home),
        needs=tuple(without_secrets(line, environ) for line in lines),
    )


def _project(settings: Settings, config: Path, environ: Mapping[str, str]) -> Project:
    """The project, if its database runs; the status never starts a server."""
    if not environ.get(DATABASE_VARIABLE):
        require_embedded(home_of(settings))
    if not environ.get(DATABASE_VARIABLE) and not embedded.is_running(home_of(settings)):
        raise DatabaseUnavailable(f"the embedded PostgreSQL of {home_of(settings)} is not running: `ldtm up` starts it")
    return open_project(config, environ)


def _contradiction(conn: Connection, project: Project) -> list[str]:
    """A published seal that the database does not have, as after the restore of an older backup."""
    file = seal_file_of(project.settings, project.home)
    try:
        found = fork_of(conn, file)
    except PublicationFailed as error:
        found = str(error)
    return [f"{file.name}: {found}"] if found is not None else []


def _dagster(project: Project) -> DagsterStatus | None:
    """Status from Dagster's storage; None before it exists."""
    with project.dagster_database.transaction() as conn:
        if not has_run_storage(conn):
            return None
    return dagster_status(project)


def _needs_of(found: DagsterStatus | None, tables: Status | None, settings: Settings) -> list[str]:
    """Problems of Dagster. It may be stopped where no later session has partitions and automation is off."""
    may_stand_still = tables is not None and tables.is_last and not settings.automation.enabled
    if found is None:
        return [] if may_stand_still else [f"Dagster was never started here: run `{start_command()}`"]
    lines = list[str]()
    if found.runs_in_part:
        restart = "`docker compose restart daemon`" if in_stack() else "`ldtm down`, then `ldtm up`"
        lines.append(f"Dagster runs without {' and '.join(found.silent)}: {restart}")
    elif not (found.is_alive or may_stand_still):
        lines.append(f"Dagster is not running, so nothing happens automatically: run `{start_command()}`")
    if found.changes:
        lines.append(
            f"{' and '.join(found.changes)} changed since Dagster was started: `{reload_command()}` applies the change"
        )
    if settings.automation.enabled and found.stopped_by_hand:
        were = "was" if len(found.stopped_by_hand) == 1 else "were"
        lines.append(f"automation is on, but {', '.join(found.stopped_by_hand)} {were} stopped in the UI")
    if tables is not None and not tables.is_new and _nobody_makes_rows(found, tables):
        lines.append(
            f"no row of {tables.newest.session} for {named(tables.newest.without_row)}, and {' and '.join(MAKES_ROWS)} "
            f"are off: run `ldtm run {tables.newest.session}`, or set automation.enabled"
        )
    lines += [f"the ticks of {name} fail: {why}" for name, why in found.failing]
    return lines


def _nobody_makes_rows(found: DagsterStatus, tables: Status) -> bool:
    """True if rows may still come in time, but no schedule or sensor that requests them is on."""
    newest = tables.newest
    if not newest.without_row or newest.is_overdue or not found.has_reported:
        return False
    return not any(found.is_on(name) for name in MAKES_ROWS)
