"""Status of an installation from its tables: the newest session, pending work, active models, alerts, notifications."""

from dataclasses import dataclass
from datetime import date, datetime

from psycopg.rows import class_row

from ldtm_lib.alerts.alert import Alert, open_alerts
from ldtm_lib.daily_run.deadlines import failing_tickers, missed_deadlines
from ldtm_lib.daily_run.freshness import Freshness, freshness
from ldtm_lib.daily_run.pending_partitions import (
    SEARCHED_SESSIONS,
    PendingPartition,
    daily_run_start,
    pending_partitions,
)
from ldtm_lib.database.clock import now
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.ledger.degradation import degraded_models
from ldtm_lib.ledger.interval_coverage import coverage_records
from ldtm_lib.ledger.service import NewTicker, new_tickers
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings
from ldtm_lib.wording import named

NUM_NEWEST = 3
"""Notifications that are shown even if every channel has accepted them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusCounts:
    """Counts of one query over the tables."""

    moment: datetime
    num_tried: int
    """Number of tickers of the session that were attempted."""
    num_done: int
    """Number of them that are complete."""
    num_attempts: int | None
    """The largest number of attempts at one ticker; None before the first."""
    first_attempt_at: datetime | None
    last_attempt_at: datetime | None
    num_without_bar: int
    """Due actuals whose bar is missing."""
    oldest_without_bar: date | None
    num_refused_bars: int
    with_active_model: list[str] | None
    """Tickers of the universe that have an active model; None for none."""
    newest_promotion: str | None
    promoted_at: datetime | None
    database_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationStatus:
    """One notification, and the channels that have not accepted it."""

    notification_id: int
    made_at: datetime
    session: date | None
    severity: str
    title: str
    undelivered: list[str]
    """Channels to which its delivery is pending."""
    failed: list[str]
    """Channels whose delivery failed, with the reason: it is retried, or was given up in the last week."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """An installation at a moment."""

    newest: Freshness
    """Freshness of the newest session whose daily run is due, among those that have partitions."""
    is_last: bool
    """True if there are no partitions of later sessions."""
    counts: StatusCounts
    since: date
    """The oldest session that the catch-up covers and whose alerts are shown."""
    pending: tuple[PendingPartition, ...]
    """Pending partitions of the sessions since then."""
    universe: tuple[str, ...]
    """The tickers of the universe on the newest closed session, or on the last session that has partitions."""
    new_tickers: tuple[NewTicker, ...]
    """Tickers without a judged training: they are not in service and have no rows."""
    degraded: tuple[str, ...]
    """The track record of each active model that fell significantly below the gate, in words."""
    broken_intervals: tuple[str, ...]
    """The record of each kind of prediction intervals that contain significantly fewer actuals than their level."""
    notifications: tuple[NotificationStatus, ...]
    alerts: tuple[Alert, ...]
    """The open alerts."""

    @property
    def without_active_model(self) -> list[str]:
        """Tickers that have no active model, and abstain."""
        return [ticker for ticker in self.universe if ticker not in (self.counts.with_active_model or ())]

    @property
    def is_new(self) -> bool:
        """True if nothing was ever attempted, trained or recorded, as far as the newest session shows."""
        nothing = not (self.newest.num_rows or self.counts.num_tried or self.counts.newest_promotion)
        return nothing and len(self.new_tickers) == len(self.universe)


def status(conn: Connection, settings: Settings, calendar: Calendar) -> Status:
    """Collect the status with a constant number of statements; the schema must be up to date."""
    moment = now(conn)
    closed = calendar.last_closed(moment)
    session = closed if daily_run_start(closed) <= moment else calendar.offset(closed, -1)
    last = settings.partitions.last_session
    partitioned = calendar.between(settings.partitions.first_session, min(last or session, session))
    session = partitioned[-1] if partitioned else session
    is_last = last is not None and calendar.offset(session, 1) > last
    universe = settings.tickers_on(session if is_last else closed)
    with conn.cursor(row_factory=class_row(StatusCounts)) as cursor:
        counts = cursor.execute(
            query("maintenance.status_counts"), {"session": session, "tickers": list(universe)}
        ).fetchone()
    assert counts is not None
    with conn.cursor(row_factory=class_row(NotificationStatus)) as cursor:
        notifications = cursor.execute(query("maintenance.notification_status"), {"num_newest": NUM_NEWEST}).fetchall()
    records = degraded_models(conn, settings.gate, significance=settings.registry.degradation_significance)
    coverage = coverage_records(conn, settings.intervals, num_tickers=len(settings.tickers))
    return Status(
        newest=freshness(conn, settings, session),
        is_last=is_last,
        counts=counts,
        since=calendar.offset(closed, 1 - SEARCHED_SESSIONS),
        pending=tuple(pending_partitions(conn, settings, calendar, moment)),
        universe=universe,
        new_tickers=tuple(new_tickers(conn, settings, calendar, moment)),
        degraded=tuple(record.reason for record in records if record.is_degraded),
        broken_intervals=tuple(record.reason for record in coverage if record.has_broken_down),
        notifications=tuple(notifications),
        alerts=tuple(open_alerts(conn)),
    )


def needs(found: Status, settings: Settings) -> list[str]:
    """Conditions that need a person, in sentences; work that may still complete by itself is left out."""
    if found.is_new:
        return ["nothing was forecast yet: `ldtm bootstrap` loads bars, trains and simulates"]
    newest = found.newest
    lines: list[str] = []
    if newest.is_overdue and newest.without_row:
        lines.append(
            f"no row of {newest.session} for {named(newest.without_row)}: run `ldtm run {newest.session} --late`"
        )
    if newest.is_overdue and newest.without_bar:
        lines.append(f"no bar of {newest.session} for {named(newest.without_bar)}: check the source")
    if newest.is_overdue and newest.unfilled:
        lines.append(f"actuals not filled although their bars exist: {named(newest.unfilled)}; run `ldtm fillback`")
    if found.new_tickers and not settings.automation.enabled and not found.is_last:
        tickers = named([ticker.name for ticker in found.new_tickers])
        lines.append(
            f"automatic training is off, and these tickers are not in service: {tickers}; run `ldtm bootstrap`"
        )
    if not found.counts.with_active_model:
        lines.append("no model is active, so every ticker abstains: `ldtm registry list` shows why")
    lines += [f"{reason}: see `ldtm registry rollback`" for reason in found.degraded]
    lines += [f"{reason}: do not rely on these intervals" for reason in found.broken_intervals]
    lines += [f"{alert.subject}: {alert.summary}" for alert in _alerts_of(found, settings)]
    lines += [
        f"notification {each.notification_id} was not delivered to {channel}"
        for each in found.notifications
        for channel in each.failed
    ]
    return lines


def _alerts_of(found: Status, settings: Settings) -> list[Alert]:
    """Open alerts, and those that are not raised yet: the sensor that raises them may not be running."""
    moment = found.counts.moment
    known = {alert.key for alert in found.alerts}
    recorded = [
        alert
        for alert in found.alerts
        if alert.severity != "info"
        and alert.kind != "automation"  # read from Dagster's own storage, which may be newer
        and (alert.session is None or alert.session >= found.since)
    ]
    unrecorded = [
        *failing_tickers(found.pending, settings, moment),
        *missed_deadlines(found.pending, settings, moment),
    ]
    return [*recorded, *(alert for alert in unrecorded if alert.key not in known)]
