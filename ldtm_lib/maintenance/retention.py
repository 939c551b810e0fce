"""Retention: what is no record goes when it is old, so that an installation does not grow without bound.

Forecasts, actuals, bars, splits, windows, verdicts, checkpoints' rows, events and seals are the record, and no
statement here names their tables.
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
from ldtm_lib.maintenance.batches import delete_in_batches
from ldtm_lib.maintenance.log_files import hold_logs
from ldtm_lib.maintenance.purged import Swept
from ldtm_lib.maintenance.run_folders import remove_run_folders
from ldtm_lib.maintenance.run_storage import AssetNames, forget_runs, has_run_storage
from ldtm_lib.project import Project
from ldtm_lib.registry.retention import prune
from ldtm_lib.settings import RetentionConfig

UNSEEN_FACTOR = 10
"""Times as long as an answered refusal, one is kept that no valid bar has answered."""


class RetentionAtWork(LdtmError):
    """Another process is sweeping the same installation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What one call took away."""

    moment: datetime
    """By the database's clock."""
    swept: tuple[Swept, ...]
    failures: tuple[str, ...]
    """What could not be swept, and why; the rest was."""


def sweep(project: Project, assets: AssetNames, *, dry_run: bool = False) -> Sweep:
    """Take away what is older than the section `retention` of the configuration allows.

    A dry run does the same to the database and takes it back. What fails is told and stops nothing else. Raises
    RetentionAtWork when another sweep of the installation runs.
    """
    swept: list[Swept] = []
    failures: list[str] = []

    def attempt(what: str, part: Callable[[], Sequence[Swept]]) -> None:
        try:
            swept.extend(part())
        except (LdtmError, psycopg.Error, OSError) as error:
            failures.append(f"{what}: {' '.join(str(error).split())}")

    config = project.settings.retention
    with _turn(project.database) as moment:
        attempt("Dagster's runs", lambda: _runs(project, assets, moment, dry_run=dry_run))
        attempt("tables of what runs by itself", lambda: _tables(project.database, config, moment, dry_run=dry_run))
        attempt("log files", lambda: _logs(project, dry_run=dry_run))
        attempt("checkpoint files", lambda: _checkpoints(project, dry_run=dry_run))
    return Sweep(moment=moment, swept=tuple(swept), failures=tuple(failures))


@contextmanager
def _turn(database: Database) -> Generator[datetime]:
    """Be the only one who sweeps, as long as the connection lives; the moment by the database's clock."""
    with _connected(database) as conn:
        if (row := conn.execute(query("maintenance.lock")).fetchone()) is None or not row[0]:
            raise RetentionAtWork(f"schema {database.schema} is being swept by another process; wait until it ends")
        yield now(conn)


@contextmanager
def _connected(database: Database, *, dry_run: bool = False) -> Generator[Connection]:
    """A connection without a transaction of its own; in a dry run with one that is taken back."""
    with database.connect() as conn:
        conn.autocommit = True
        with conn.transaction(force_rollback=True) if dry_run else nullcontext():
            yield conn


def _runs(project: Project, assets: AssetNames, moment: datetime, *, dry_run: bool) -> list[Swept]:
    """Dagster's rows, then the folders of runs, whose names are compared with the rows that are left."""
    config = project.settings.retention
    logs_before = moment - timedelta(days=config.run_log_days)
    with _connected(project.dagster_database, dry_run=dry_run) as conn:
        if not has_run_storage(conn):
            return []
        gone = forget_runs(conn, assets, logs_before=logs_before, runs_before=moment - timedelta(days=config.run_days))
        if gone.num_log_events + gone.num_events > 0 and not dry_run:
            conn.execute(query("maintenance.vacuum"))
        folders = remove_run_folders(conn, project.home / "dagster", before=logs_before, dry_run=dry_run)
    return [
        Swept(what=f"log entries of runs that ended {config.run_log_days} days ago", num=gone.num_log_events),
        Swept(what=f"runs that ended {config.run_days} days ago", num=gone.num_runs),
        Swept(what="events of such runs", num=gone.num_events),
        Swept(what="check results of such runs", num=gone.num_check_executions),
        Swept(what="backfills without a run", num=gone.num_backfills),
        folders,
    ]


def _tables(database: Database, config: RetentionConfig, moment: datetime, *, dry_run: bool) -> list[Swept]:
    kept, operations = timedelta(days=config.quarantine_days), moment - timedelta(days=config.operations_days)
    refusals = {"resolved_before": moment - kept, "seen_before": moment - UNSEEN_FACTOR * kept}
    with _connected(database, dry_run=dry_run) as conn:
        return [
            Swept(what="refused bars", num=delete_in_batches(conn, query("maintenance.delete_refused_bars"), refusals)),
            *(
                Swept(what=what, num=delete_in_batches(conn, statement, {"before": operations}))
                for what, statement in (
                    ("attempts of evenings", query("maintenance.delete_attempts")),
                    ("alerts", query("maintenance.delete_alerts")),
                    ("troubles", query("maintenance.delete_troubles")),
                )
            ),
        ]


def _logs(project: Project, *, dry_run: bool) -> list[Swept]:
    dropped = hold_logs(project.home, project.settings.retention, dry_run=dry_run)
    return [Swept(what="oldest parts of log files", num=len(dropped), num_bytes=sum(dropped))]


def _checkpoints(project: Project, *, dry_run: bool) -> list[Swept]:
    files = prune(project.database, project.checkpoint_folder, config=project.settings.registry, dry_run=dry_run)
    num_bytes = sum(file.num_bytes for file in files)
    return [Swept(what="checkpoint files that nobody needs", num=len(files), num_bytes=num_bytes)]
