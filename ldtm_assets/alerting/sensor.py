"""What tells people by itself: every half minute from events to troubles, from troubles to messages, and out."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import dagster as dg

from ldtm_assets.alerting.events import WATCHED, WILL_RETRY_TAG, read
from ldtm_assets.alerting.health_checks import LastProject, of_installation, of_ticks
from ldtm_assets.jobs import EVENING_JOB, RETRAINING_JOB, TURN_TAG, UNFINISHED
from ldtm_lib.alerts.alert import end_as_seen, notice
from ldtm_lib.alerts.channels import configured
from ldtm_lib.alerts.delivery import deliver
from ldtm_lib.alerts.notifications import compose
from ldtm_lib.project import Project

SECONDS_BETWEEN_LOOKS = 30
DELIVERY_SECONDS = 20.0
"""After which a look begins no other delivery; the rest is for the next one."""
EVENTS_AT_ONCE = 1000
SETTLED_SECONDS = 60.0
"""Events this old have no elder one that is still being written; younger ones are read again, which changes nothing."""
UNDECIDED_SECONDS = 15.0
"""How long Dagster may take to mark a run that failed as one that it will try again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Events that were read, and where the next look begins."""

    events: list[dg.EventLogRecord]
    cursor: int


def alert_sensor(project: Callable[[], Project]) -> dg.SensorDefinition:
    """The sensor that tells people. It is on, and launches nothing."""

    last = LastProject(project)

    @dg.sensor(
        name="alert_sensor",
        minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells people what failed, what is news and what is well again: one message an evening.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        opened = last.open()
        try:
            context.update_cursor(str(notice_events(context.instance, opened, context.cursor)))
        finally:  # what is on record goes out although the events of this look cannot be read
            said = tell_people(context.instance, opened, last.failure, context.repository_def)
        return dg.SkipReason(said)

    return sensor


def notice_events(instance: dg.DagsterInstance, project: Project, cursor: str | None) -> int:
    """Put on record what the events since a cursor say; returns the next cursor. Without one it begins with now."""
    if cursor is None:
        return instance.event_log_storage.get_maximum_record_id() or 0
    look = _look(instance, int(cursor))
    if look.events:
        ids = list({event.run_id for event in look.events})
        runs = {run.run_id: run for run in instance.get_runs(dg.RunsFilter(run_ids=ids))}
        undecided = {run_id for run_id, run in runs.items() if WILL_RETRY_TAG not in run.tags}
        seen = read([event for event in look.events if not _may_be_retried(instance, event, undecided)], runs)
        with project.database.transaction() as conn:
            notice(conn, seen.troubles)
            end_as_seen(conn, seen.endings)
    return look.cursor


def tell_people(
    instance: dg.DagsterInstance,
    project: Project,
    not_opened: str | None = None,
    repository: dg.RepositoryDefinition | None = None,
) -> str:
    """Make messages of what nobody has heard of, and send what is due; returns what was done, in words.

    What keeps LDTM from working and has no event is looked at first: that its configuration does not open, addresses
    that are none, and what fails of the schedules and sensors of a code location. With no address but such that are
    none, what nobody has heard of waits.
    """
    settings, found = project.settings, configured(os.environ)
    ways = found.channels
    standing = [of_installation(not_opened, found.refused)]
    if repository is not None:
        standing.append(of_ticks(instance, repository.schedule_defs, repository.sensor_defs))
    with project.database.transaction() as conn:
        notice(conn, [trouble for seen in standing for trouble in seen.troubles])
        end_as_seen(conn, [ending for seen in standing for ending in seen.endings])
        if found.refused and not ways:
            return f"nobody is told anything: {'; '.join(found.refused)}"
        made = compose(
            conn,
            ways,
            pages_url=settings.pages.url,
            environ=os.environ,
            is_busy=_is_busy(instance),
            hold_minutes=settings.alerts.hold_minutes,
        )
    sent = deliver(
        project.database,
        ways,
        give_up_after_hours=settings.alerts.give_up_after_hours,
        budget_seconds=DELIVERY_SECONDS,
    )
    failed = f"; not delivered: {'; '.join((*found.refused, *sent.failures))}" if found.refused or sent.failures else ""
    return f"{len(made)} messages made, {sent.num_delivered} delivered to {len(ways)} channels{failed}"


def _look(instance: dg.DagsterInstance, cursor: int) -> Look:
    """The next events of every kind that is watched. The cursor stays at the last one before which all are there."""
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
    return Look(events=events, cursor=max(passed, default=cursor))


def _events(instance: dg.DagsterInstance, kind: dg.DagsterEventType, cursor: int) -> Sequence[dg.EventLogRecord]:
    return instance.event_log_storage.get_event_records(
        dg.EventRecordsFilter(kind, after_cursor=cursor), limit=EVENTS_AT_ONCE, ascending=True
    )


def _may_be_retried(instance: dg.DagsterInstance, event: dg.EventLogRecord, undecided: set[str]) -> bool:
    """Whether a run failed just now and Dagster has not said yet that it tries it again."""
    return (
        instance.run_retries_enabled
        and event.run_id in undecided
        and event.event_log_entry.get_dagster_event().event_type == dg.DagsterEventType.RUN_FAILURE
        and event.timestamp > time.time() - UNDECIDED_SECONDS
    )


def _is_busy(instance: dg.DagsterInstance) -> bool:
    """Whether an evening or a training is under way, which may have more to say."""
    unfinished = instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
    return any(run.job_name in {EVENING_JOB, RETRAINING_JOB} or TURN_TAG in run.tags for run in unfinished)
