"""Status of the installation: tables, Dagster and disk, and the conditions that need a person."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ldtm_lib.alerts.secrets import ALERT_VARIABLE, alert_urls, without_secrets
from ldtm_lib.database import embedded
from ldtm_lib.database.clock import now
from ldtm_lib.database.migrate import pending_migrations
from ldtm_lib.errors import DatabaseUnavailable, LdtmError
from ldtm_lib.maintenance.dagster_storage import has_run_storage
from ldtm_lib.maintenance.disk import folder_bytes, free_bytes, low_disk_alert
from ldtm_lib.maintenance.status import Status, needs, status
from ldtm_lib.project import DATABASE_VARIABLE, Project, home_of, open_project
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings, load_settings

if TYPE_CHECKING:
    from ldtm_cli.dagster_status import DagsterStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallationStatus:
    """Status of every part. A part that could not be read is None, and `needs` gives the reason."""

    tables: Status | None
    dagster: "DagsterStatus | None"
    folder_bytes: Mapping[str, int]
    """Sizes of the folders beside the configuration."""
    free_bytes: int
    needs: tuple[str, ...]
    """Conditions that need a person, in sentences."""

    def as_dict(self) -> dict[str, object]:
        """The status for JSON."""
        return {"is_well": not self.needs, **asdict(self)}


def installation_status(config: Path, environ: Mapping[str, str], calendar: Calendar) -> InstallationStatus:
    """Read every part that can be read, without starting anything. Raises ConfigurationError for an invalid file."""
    settings = load_settings(config)
    home = home_of(settings)
    tables, dagster, lines = None, None, list[str]()
    try:
        project = _project(settings, config, environ)
        if pending := pending_migrations(project.database):
            lines.append(f"schema {project.database.schema} lacks {len(pending)} steps: `ldtm db migrate`")
        else:
            with project.database.transaction() as conn:
                tables = status(conn, settings, calendar)
            lines += needs(tables, settings)
        dagster = _dagster(project, calendar)
        lines += _needs_of(dagster, tables, settings)
    except LdtmError as error:
        lines.append(str(error))
    if settings.automation.enabled and not alert_urls(environ):
        lines.append(
            f"automation is on and {ALERT_VARIABLE} names no channel, so nobody is notified: `ldtm alerts test`"
        )
    disk = low_disk_alert(home)
    if disk is not None and not (tables and any(alert.key == disk.key for alert in tables.alerts)):
        lines.append(f"{disk.subject}: {disk.summary}")
    return InstallationStatus(
        tables=tables,
        dagster=dagster,
        folder_bytes={name: folder_bytes(home / name) for name in ("checkpoints", "dagster", "logs")},
        free_bytes=free_bytes(home),
        needs=tuple(without_secrets(line, environ) for line in lines),
    )


def _project(settings: Settings, config: Path, environ: Mapping[str, str]) -> Project:
    """The project, if its database runs; the status never starts a server."""
    if not environ.get(DATABASE_VARIABLE) and not embedded.is_running(home_of(settings)):
        raise DatabaseUnavailable(f"the embedded PostgreSQL of {home_of(settings)} does not run: `ldtm up`")
    return open_project(config, environ)


def _dagster(project: Project, calendar: Calendar) -> "DagsterStatus | None":
    """Status from Dagster's storage; None before it exists, since reading it would create it."""
    with project.dagster_database.transaction() as conn:
        if not has_run_storage(conn):
            return None
        moment = now(conn)
    from ldtm_cli.dagster_status import dagster_status

    return dagster_status(project, calendar, moment)


def _needs_of(found: "DagsterStatus | None", tables: Status | None, settings: Settings) -> list[str]:
    """Problems of Dagster. It may be stopped where no later session has partitions and automation is off."""
    may_stand_still = tables is not None and tables.is_last and not settings.automation.enabled
    if found is None:
        return [] if may_stand_still else ["Dagster was never started here: `ldtm up`"]
    lines = list[str]()
    if found.runs_in_part:
        lines.append(f"Dagster runs without {' and '.join(found.silent)}: `ldtm down`, then `ldtm up`")
    elif not (found.is_alive or may_stand_still):
        lines.append("Dagster does not run, so nothing happens by itself: `ldtm up`")
    if settings.automation.enabled and found.stopped:
        lines.append(f"automation is on, but {', '.join(found.stopped)} was stopped in the UI")
    lines += [f"the ticks of {name} fail: {why}" for name, why in found.failing]
    return lines
