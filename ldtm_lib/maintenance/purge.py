"""Purge of rows, of Dagster's runs and of their folders, in transactions of a bounded size.

The log of a run is deleted first, the run itself much later. Dagster's UI derives the state of a partition from its
newest events, and the state of a check from its newest evaluation: an old run with such an event or evaluation is kept,
without the rest of its events.
"""

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.maintenance.disk import folder_bytes

ROWS_PER_TRANSACTION = 5000
RUNS_AT_ONCE = 25
"""Number of runs whose events one statement searches."""
RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
PLACES = (".", "storage")
"""Folders in which Dagster's local log manager and its local value store make a folder for each run."""

Parameters = Mapping[str, datetime | Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """The amount of one kind of data that was purged, or would be in a dry run."""

    kind: str
    """In the plural, such as `folders of runs`."""
    num: int
    num_bytes: int | None = None
    """Size of files; the space of deleted rows is reused by PostgreSQL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgedRuns:
    """Numbers of deleted rows of Dagster's run storage."""

    num_log_events: int
    num_events: int
    num_check_executions: int
    num_runs: int
    num_backfills: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetNames:
    """The assets whose events are purged by special rules."""

    by_date: tuple[str, ...]
    """Partitioned by date: events of an old partition are purged with their run. Other assets keep the newest events of
    each partition."""
    for_good: tuple[str, ...]
    """Their events publish the record and are never purged."""

    def parameters(self) -> dict[str, list[str]]:
        """The keys as Dagster stores them."""
        return {"by_date": _stored(self.by_date), "for_good": _stored(self.for_good)}


def delete_in_batches(conn: Connection, statement: bytes, parameters: Parameters) -> int:
    """Repeat a query that deletes at most `limit` rows until it deletes fewer; returns the number of deleted rows.

    Each batch is a transaction: other connections wait for one batch at most, and an interrupted purge keeps its
    progress.
    """
    num_deleted = 0
    while True:
        with conn.transaction():
            num = conn.execute(statement, {**parameters, "limit": ROWS_PER_TRANSACTION}).rowcount
        num_deleted += num
        if num < ROWS_PER_TRANSACTION:
            return num_deleted


def purge_runs(conn: Connection, assets: AssetNames, *, logs_before: datetime, runs_before: datetime) -> PurgedRuns:
    """Delete the logs of runs that ended before `logs_before`, and runs that ended before the earlier `runs_before`.

    Every transaction leaves the UI consistent; the next call continues after an interrupted one.
    """
    kept = assets.parameters()
    num_log_events = num_events = num_checks = num_runs = 0
    for run_ids in _runs(conn, query("maintenance.runs_with_logs"), logs_before):
        num_log_events += delete_in_batches(
            conn, query("maintenance.delete_run_logs"), {"run_ids": run_ids, "for_good": kept["for_good"]}
        )
    for run_ids in _runs(conn, query("maintenance.old_runs"), runs_before):
        num_checks += delete_in_batches(
            conn, query("maintenance.delete_check_executions"), {"run_ids": run_ids, **kept}
        )
        num_events += delete_in_batches(conn, query("maintenance.delete_run_events"), {"run_ids": run_ids, **kept})
        with conn.transaction():
            num_runs += conn.execute(query("maintenance.delete_runs"), {"run_ids": run_ids}).rowcount
    return PurgedRuns(
        num_log_events=num_log_events,
        num_events=num_events,
        num_check_executions=num_checks,
        num_runs=num_runs,
        num_backfills=delete_in_batches(conn, query("maintenance.delete_backfills"), {"before": runs_before}),
    )


def purge_run_folders(conn: Connection, dagster_folder: Path, *, before: datetime, dry_run: bool) -> Purged:
    """Remove the folders of runs that ended before a moment or are no longer in Dagster's storage.

    The folders hold compute logs and values passed between steps. They are listed before the runs are queried: a run is
    on record before it has a folder.
    """
    folders = list(_run_folders(dagster_folder))
    names = sorted({folder.name for folder in folders})
    rows = conn.execute(query("maintenance.runs_with_folders"), {"run_ids": names, "before": before}).fetchall()
    kept = {run_id for (run_id,) in rows}
    purged = [folder for folder in folders if folder.name not in kept]
    num_bytes = sum(folder_bytes(folder) for folder in purged)
    if not dry_run:
        for folder in purged:
            with suppress(FileNotFoundError):
                shutil.rmtree(folder)
    return Purged(kind="folders of runs", num=len(purged), num_bytes=num_bytes)


def _runs(conn: Connection, statement: bytes, before: datetime) -> Iterator[list[str]]:
    """The ids of runs that a query finds, a few at a time."""
    found = [run_id for (run_id,) in conn.execute(statement, {"before": before}).fetchall()]
    for start in range(0, len(found), RUNS_AT_ONCE):
        yield found[start : start + RUNS_AT_ONCE]


def _run_folders(dagster_folder: Path) -> Iterator[Path]:
    for place in PLACES:
        if (dagster_folder / place).is_dir():
            yield from (
                path
                for path in (dagster_folder / place).iterdir()
                if RUN_ID.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
            )


def _stored(names: Sequence[str]) -> list[str]:
    return [json.dumps([name]) for name in names]
