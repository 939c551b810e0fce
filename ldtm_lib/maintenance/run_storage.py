"""What Dagster keeps of its runs: what they said goes first, and much later the runs themselves.

The pages know the state of every partition from its newest events, and a check from its newest evaluation. An old
run that one of these belongs to stays, without the rest of its events.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.maintenance.batches import delete_in_batches

RUNS_AT_ONCE = 25
"""Runs whose events are looked for in one statement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetNames:
    """The assets whose events are not all alike to retention."""

    by_date: tuple[str, ...]
    """Partitioned by date: an old partition goes like a run; of all others the newest event of each stays."""
    for_good: tuple[str, ...]
    """Their events are a publication of the record."""

    def parameters(self) -> dict[str, list[str]]:
        """The keys as Dagster stores them."""
        return {"by_date": _stored(self.by_date), "for_good": _stored(self.for_good)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgottenRuns:
    """What went of the runs."""

    num_log_events: int
    num_events: int
    num_check_executions: int
    num_runs: int
    num_backfills: int


def has_run_storage(conn: Connection) -> bool:
    """Whether Dagster has made its tables in the schema of the connection."""
    row = conn.execute(query("maintenance.has_run_storage")).fetchone()
    return row is not None and row[0]


def forget_runs(conn: Connection, assets: AssetNames, *, logs_before: datetime, runs_before: datetime) -> ForgottenRuns:
    """Delete the logs of runs that ended before one moment, and runs that ended before an earlier one.

    Bounded transactions, each of which leaves the pages whole; a call that is killed is taken up by the next.
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
    return ForgottenRuns(
        num_log_events=num_log_events,
        num_events=num_events,
        num_check_executions=num_checks,
        num_runs=num_runs,
        num_backfills=delete_in_batches(conn, query("maintenance.delete_backfills"), {"before": runs_before}),
    )


def _runs(conn: Connection, statement: bytes, before: datetime) -> Iterator[list[str]]:
    """The ids of runs that a statement finds, a few at a time."""
    found = [run_id for (run_id,) in conn.execute(statement, {"before": before}).fetchall()]
    for start in range(0, len(found), RUNS_AT_ONCE):
        yield found[start : start + RUNS_AT_ONCE]


def _stored(names: Sequence[str]) -> list[str]:
    return [json.dumps([name]) for name in names]
