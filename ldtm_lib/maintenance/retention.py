"""Retention: purge of old data that is not part of the record, so that an installation does not grow without bound.

Forecasts, actuals, bars, splits, windows, verdicts, rows of checkpoints, events and seals are the record, and no query
here names their tables.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg

from ldtm_lib.database.clock import now
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.queries import query
from ldtm_lib.errors import LdtmError
from ldtm_lib.maintenance.dagster_storage import has_run_storage
from ldtm_lib.maintenance.disk import truncate_logs
from ldtm_lib.maintenance.purge import AssetNames, Purged, delete_in_batches, purge_run_folders, purge_runs
from ldtm_lib.project import Project
from ldtm_lib.registry.retention import prune
from ldtm_lib.settings import RetentionConfig
from ldtm_lib.wording import counted

UNRESOLVED_FACTOR = 10
"""A refused bar without a valid successor is kept this many times as long as one with a successor."""


class RetentionAlreadyRunning(LdtmError):
    """Another process is purging the same installation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionReport:
    """Result of one purge."""

    moment: datetime
    """By the database's clock."""
    purged: tuple[Purged, ...]
    failures: tuple[str, ...]
    """Kinds that could not be purged, with the reason; the others were."""


def purge_expired(project: Project, assets: AssetNames, *, dry_run: bool = False) -> RetentionReport:
    """Purge the data that is older than the section `retention` of the configuration allows.

    A dry run does the same to the database and rolls it back. A failure of one kind is reported and stops no other
    one. Raises RetentionAlreadyRunning while another purge of the installation runs.
    """
    purged: list[Purged] = []
    failures: list[str] = []

    def attempt(what: str, part: Callable[[], Sequence[Purged]]) -> None:
        try:
            purged.extend(part())
        except (LdtmError, psycopg.Error, OSError) as error:
            reason, *_ = str(error).splitlines() or [type(error).__name__]
            failures.append(f"{what}: {reason}")

    config = project.settings.retention
    with _only_purge(project.database) as moment:
        attempt("Dagster's runs", lambda: _runs(project, assets, moment, dry_run=dry_run))
        attempt("operational tables", lambda: _tables(project.database, config, moment, dry_run=dry_run))
        attempt("log files", lambda: _logs(project, dry_run=dry_run))
        attempt("checkpoint files", lambda: _checkpoints(project, dry_run=dry_run))
    return RetentionReport(moment=moment, purged=tuple(purged), failures=tuple(failures))


@contextmanager
def _only_purge(database: Database) -> Generator[datetime]:
    """Hold the lock of purges as long as the connection lives; yields the moment by the database's clock."""
    with _connected(database) as conn:
        if (row := conn.execute(query("maintenance.lock")).fetchone()) is None or not row[0]:
            raise RetentionAlreadyRunning(
                f"schema {database.schema} is being purged by another process; wait until it ends"
            )
        yield now(conn)


@contextmanager
def _connected(database: Database, *, dry_run: bool = False) -> Generator[Connection]:
    """A connection in autocommit mode; in a dry run with a transaction that is rolled back."""
    with database.connect() as conn:
        conn.autocommit = True
        with conn.transaction(force_rollback=True) if dry_run else nullcontext():
            yield conn


def _runs(project: Project, assets: AssetNames, moment: datetime, *, dry_run: bool) -> list[Purged]:
    """Purge Dagster's rows, then the folders of runs that are no longer in its storage."""
    config = project.settings.retention
    logs_before = moment - timedelta(days=config.run_log_days)
    with _connected(project.dagster_database, dry_run=dry_run) as conn:
        if not has_run_storage(conn):
            return []
        rows = purge_runs(conn, assets, logs_before=logs_before, runs_before=moment - timedelta(days=config.run_days))
        if rows.num_log_events + rows.num_events > 0 and not dry_run:
            conn.execute(query("maintenance.vacuum"))
        folders = purge_run_folders(conn, project.home / "dagster", before=logs_before, dry_run=dry_run)
    return [
        Purged(
            kind=f"log entries of runs that ended {counted(config.run_log_days, 'day')} ago", num=rows.num_log_events
        ),
        Purged(kind=f"runs that ended {counted(config.run_days, 'day')} ago", num=rows.num_runs),
        Purged(kind="events of such runs", num=rows.num_events),
        Purged(kind="check results of such runs", num=rows.num_check_executions),
        Purged(kind="backfills without a run", num=rows.num_backfills),
        folders,
    ]


def _tables(database: Database, config: RetentionConfig, moment: datetime, *, dry_run: bool) -> list[Purged]:
    kept, operations = timedelta(days=config.quarantine_days), moment - timedelta(days=config.operations_days)
    refusals = {"resolved_before": moment - kept, "seen_before": moment - UNRESOLVED_FACTOR * kept}
    with _connected(database, dry_run=dry_run) as conn:
        return [
            Purged(
                kind="refused bars", num=delete_in_batches(conn, query("maintenance.delete_refused_bars"), refusals)
            ),
            *(
                Purged(kind=kind, num=delete_in_batches(conn, statement, {"before": operations}))
                for kind, statement in (
                    ("daily attempts", query("maintenance.delete_attempts")),
                    ("notifications", query("maintenance.delete_notifications")),
                    ("alerts", query("maintenance.delete_alerts")),
                )
            ),
        ]


def _logs(project: Project, *, dry_run: bool) -> list[Purged]:
    removed = truncate_logs(project.home, project.settings.retention, dry_run=dry_run)
    return [Purged(kind="oldest parts of log files", num=len(removed), num_bytes=sum(removed))]


def _checkpoints(project: Project, *, dry_run: bool) -> list[Purged]:
    files = prune(project.database, project.checkpoint_folder, config=project.settings.registry, dry_run=dry_run)
    num_bytes = sum(file.num_bytes for file in files)
    return [Purged(kind="unneeded checkpoint files", num=len(files), num_bytes=num_bytes)]
