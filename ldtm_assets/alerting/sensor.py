"""The alert sensor: every half minute it raises alerts from events, composes notifications and delivers them."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import dagster as dg

from ldtm_assets.alerting.events import WATCHED, WILL_RETRY_TAG, alert_changes
from ldtm_assets.alerting.health_checks import LastProject, check_configuration, check_ticks
from ldtm_assets.jobs import DAILY_JOB, RETRAINING_JOB
from ldtm_assets.run_tags import CONCURRENCY_GROUP_TAG, UNFINISHED
from ldtm_lib.alerts.alert import apply_resolutions, raise_alerts
from ldtm_lib.alerts.channels import configured_channels
from ldtm_lib.alerts.delivery import deliver
from ldtm_lib.alerts.notifications import compose_notifications
from ldtm_lib.project import Project
from ldtm_lib.wording import counted

POLL_SECONDS = 30
DELIVERY_SECONDS = 20.0
"""Time after which a tick starts no further delivery; the next tick continues."""
EVENTS_AT_ONCE = 1000
SETTLED_SECONDS = 60.0
"""Age after which no earlier event is still being written; younger events are read again, which changes nothing."""
UNDECIDED_SECONDS = 15.0
"""Longest time that Dagster may take to mark a failed run as one that it will try again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventBatch:
    """Events that were read, and the cursor of the next batch."""

    events: list[dg.EventLogRecord]
    cursor: int


def alert_sensor(project: Callable[[], Project]) -> dg.SensorDefinition:
    """The sensor that notifies people. It is on by default, and launches nothing."""

    last = LastProject(project)

    @dg.sensor(
        name="alert_sensor",
        minimum_interval_seconds=POLL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Notifies people of failures, news and resolved alerts: one notification per session.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        opened = last.open()
        try:
            context.update_cursor(str(raise_alerts_from_events(context.instance, opened, context.cursor)))
        finally:  # alerts on record are delivered even if the events of this tick cannot be read
            done = send_notifications(context.instance, opened, last.failure, context.repository_def)
        return dg.SkipReason(done)

    return sensor


def raise_alerts_from_events(instance: dg.DagsterInstance, project: Project, cursor: str | None) -> int:
    """Raise and resolve alerts by the events since a cursor, or since now without one; returns the next cursor."""
    if cursor is None:
        return instance.event_log_storage.get_maximum_record_id() or 0
    batch = _next_batch(instance, int(cursor))
    if batch.events:
        ids = list({event.run_id for event in batch.events})
        runs = {run.run_id: run for run in instance.get_runs(dg.RunsFilter(run_ids=ids))}
        undecided = {run_id for run_id, run in runs.items() if WILL_RETRY_TAG not in run.tags}
        changes = alert_changes(
            [event for event in batch.events if not _may_be_retried(instance, event, undecided)], runs
        )
        with project.database.transaction() as conn:
            raise_alerts(conn, changes.alerts)
            apply_resolutions(conn, changes.resolutions)
    return batch.cursor


def send_notifications(
    instance: dg.DagsterInstance,
    project: Project,
    not_opened: str | None = None,
    repository: dg.RepositoryDefinition | None = None,
) -> str:
    """Run the health checks, compose notifications and deliver those that are due; returns a summary in words.

    The health checks cover the configuration, the channel addresses, and the schedules and sensors of a code location.
    While every address is invalid, no notification is composed.
    """
    settings, configured = project.settings, configured_channels(os.environ)
    channels = configured.channels
    checked = [check_configuration(not_opened, configured.refused)]
    if repository is not None:
        checked.append(check_ticks(instance, repository.schedule_defs, repository.sensor_defs))
    with project.database.transaction() as conn:
        raise_alerts(conn, [alert for changes in checked for alert in changes.alerts])
        apply_resolutions(conn, [resolution for changes in checked for resolution in changes.resolutions])
        if configured.refused and not channels:
            return f"nobody is notified: {'; '.join(configured.refused)}"
        composed = compose_notifications(
            conn,
            channels,
            ui_url=settings.ui.url,
            environ=os.environ,
            is_busy=_is_busy(instance),
            hold_minutes=settings.alerts.hold_minutes,
        )
    sent = deliver(
        project.database,
        channels,
        give_up_after_hours=settings.alerts.give_up_after_hours,
        budget_seconds=DELIVERY_SECONDS,
    )
    failures = (*configured.refused, *sent.failures)
    failed = f"; not delivered: {'; '.join(failures)}" if failures else ""
    made, places = counted(len(composed), "notification"), counted(len(channels), "channel")
    return f"{made} composed, {sent.num_delivered} delivered to {places}{failed}"


def _next_batch(instance: dg.DagsterInstance, cursor: int) -> EventBatch:
    """The next events of every watched kind. The cursor stays at the last event before which none can be missing."""
    events: list[dg.EventLogRecord] = []
    ends: list[int] = []
    for kind in WATCHED:
        found = _events(instance, kind, cursor)
        events += found
        if len(found) == EVENTS_AT_ONCE:
            ends.append(found[-1].storage_id)
    settled_before = time.time() - SETTLED_SECONDS
    ends += [event.storage_id - 1 for event in events if event.timestamp > settled_before]
    passed = [event.storage_id for event in events if event.storage_id <= min(ends, default=event.storage_id)]
    return EventBatch(events=events, cursor=max(passed, default=cursor))


def _events(instance: dg.DagsterInstance, kind: dg.DagsterEventType, cursor: int) -> Sequence[dg.EventLogRecord]:
    return instance.event_log_storage.get_event_records(
        dg.EventRecordsFilter(kind, after_cursor=cursor), limit=EVENTS_AT_ONCE, ascending=True
    )


def _may_be_retried(instance: dg.DagsterInstance, event: dg.EventLogRecord, undecided: set[str]) -> bool:
    """True if a run failed just now and Dagster has not decided yet whether to retry it."""
    return (
        instance.run_retries_enabled
        and event.run_id in undecided
        and event.event_log_entry.get_dagster_event().event_type == dg.DagsterEventType.RUN_FAILURE
        and event.timestamp > time.time() - UNDECIDED_SECONDS
    )


def _is_busy(instance: dg.DagsterInstance) -> bool:
    """True if a daily run or a training is under way, which may raise more alerts."""
    unfinished = instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
    return any(run.job_name in {DAILY_JOB, RETRAINING_JOB} or CONCURRENCY_GROUP_TAG in run.tags for run in unfinished)
