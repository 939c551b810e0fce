"""The state of operation: daily runs, pending partitions, alerts, freshness, GPU slots and next runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl
import psycopg

from ldtm_dashboard.frames.tables import UTC_TIME, read_frame
from ldtm_lib.alerts.alert import partition_link, run_link
from ldtm_lib.alerts.history import RecordedAlert, recorded_alerts
from ldtm_lib.daily_run.freshness import Freshness
from ldtm_lib.daily_run.pending_partitions import PendingPartition
from ldtm_lib.database.clock import stored_calendar
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.errors import DatabaseUnavailable
from ldtm_lib.maintenance.dagster_status import DagsterStatus, dagster_status
from ldtm_lib.maintenance.status import needs, status
from ldtm_lib.project import Project
from ldtm_lib.settings import Settings

NUM_DAYS = 21
"""Days of daily runs that the page lists."""
NUM_RUNS = 15

ATTEMPTS = pl.Schema(
    {
        "session": pl.Date,
        "num_tickers": pl.Int64,
        "num_done": pl.Int64,
        "num_attempts": pl.Int64,
        "first_attempt_at": UTC_TIME,
        "last_attempt_at": UTC_TIME,
        "done_at": UTC_TIME,
        "reasons": pl.List(pl.String),
    }
)
PENDING = pl.Schema(
    {
        "session": pl.Date,
        "ticker": pl.String,
        "lacks": pl.String,
        "num_attempts": pl.Int64,
        "deadline": UTC_TIME,
        "reason": pl.String,
        "link": pl.String,
    }
)
ALERTS = pl.Schema(
    {
        "state": pl.String,
        "severity": pl.String,
        "session": pl.Date,
        "subject": pl.String,
        "summary": pl.String,
        "since": UTC_TIME,
        "link": pl.String,
    }
)
RUNS = pl.Schema(
    {"job": pl.String, "status": pl.String, "started_at": UTC_TIME, "ended_at": UTC_TIME, "link": pl.String}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationsView:
    """Data of the tables that the page shows."""

    newest: Freshness
    needs: tuple[str, ...]
    """Conditions that need a person, in sentences."""
    daily_runs: pl.DataFrame
    pending: pl.DataFrame
    alerts: pl.DataFrame
    num_without_model: int
    num_in_universe: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DagsterView:
    """Data of Dagster's storage that the page shows."""

    status: DagsterStatus
    runs: pl.DataFrame


def operations_view(conn: Connection, project: Project) -> OperationsView:
    """The state of operation by the tables of LDTM."""
    settings = project.settings
    found = status(conn, settings, stored_calendar(conn))
    ui = settings.ui.url.rstrip("/")
    return OperationsView(
        newest=found.newest,
        needs=tuple(needs(found, settings)),
        daily_runs=read_frame(conn, query("dashboard.daily_attempts"), {"num_days": NUM_DAYS}, ATTEMPTS),
        pending=_pending(found.pending, settings),
        alerts=_alerts(recorded_alerts(conn), ui),
        num_without_model=len(found.without_active_model),
        num_in_universe=len(found.universe),
    )


def dagster_view(project: Project) -> DagsterView | None:
    """Schedules, pools and newest runs; None where Dagster never ran or its storage does not answer."""
    try:
        with project.dagster_database.connect() as conn:
            rows = conn.execute(query("dashboard.newest_runs"), {"num_rows": NUM_RUNS}).fetchall()
        found = dagster_status(project)
    except (psycopg.Error, DatabaseUnavailable):
        return None
    ui = project.settings.ui.url.rstrip("/")
    runs = [(job, state, _moment(start), _moment(end), ui + run_link(run)) for run, job, state, start, end in rows]
    return DagsterView(status=found, runs=pl.DataFrame(runs, schema=RUNS, orient="row"))


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _pending(partitions: Sequence[PendingPartition], settings: Settings) -> pl.DataFrame:
    ui, key = settings.ui.url.rstrip("/"), settings.partitions.key
    rows = [
        (
            *(each.session, each.ticker, "a row" if each.lacks_row else "an actual", each.num_attempts, each.deadline),
            *(each.reason, ui + partition_link("snapshots", key(each.session, each.ticker))),
        )
        for each in partitions
    ]
    return pl.DataFrame(rows, schema=PENDING, orient="row")


def _alerts(alerts: Sequence[RecordedAlert], ui: str) -> pl.DataFrame:
    rows = [
        (
            "open" if alert.is_open else "news" if alert.is_news else "resolved",
            *(alert.severity, alert.session, alert.subject, alert.summary, alert.raised_at),
            None if alert.link is None else ui + alert.link,
        )
        for alert in alerts
    ]
    return pl.DataFrame(rows, schema=ALERTS, orient="row")
