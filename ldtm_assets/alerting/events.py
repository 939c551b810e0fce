"""Alerts and resolutions from Dagster's event log: checks that fail or pass again, runs that fail or succeed again.

Only an event that covers the failed part resolves an alert: a check names the parts that it examined, and a run covers
its sessions or partitions.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import dagster as dg
from dagster._core.events import JobFailureData
from dagster._core.execution.plan.objects import StepFailureData
from dagster_shared.error import SerializableErrorInfo

from ldtm_assets.asset_checks.gate import GATE, RULES, STRICT
from ldtm_assets.asset_checks.scope import CheckScope
from ldtm_assets.partitions import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG
from ldtm_assets.run_tags import DAILY_RUN_TAG, PENDING_RETRY_TAG
from ldtm_lib.alerts.alert import Alert, Resolution, check_link, partition_link, run_link
from ldtm_lib.alerts.secrets import without_secrets

WATCHED = (
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    dg.DagsterEventType.RUN_FAILURE,
    dg.DagsterEventType.RUN_SUCCESS,
)
GATE_CHECKS = frozenset({GATE, STRICT, *RULES})
"""Checks without an alert: the gate raises its own, ticker by ticker, with reasons and figures."""
WILL_RETRY_TAG = "dagster/will_retry"
SESSION = re.compile(r"\d{4}-\d{2}-\d{2}")
NUM_LINES, LONGEST_TEXT = 3, 600
"""Largest number of lines and characters of a failure's text in a summary."""
MOST_DAYS = 400
"""Days, up to its last session, for which a successful run resolves alerts; no alert stays open longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertChanges:
    """Alerts to raise, and resolutions to apply."""

    alerts: list[Alert]
    resolutions: list[Resolution]


def alert_changes(events: Sequence[dg.EventLogRecord], runs: Mapping[str, dg.DagsterRun]) -> AlertChanges:
    """Alerts and resolutions of some events, in the order of their storage ids; `runs` are the runs of these events.

    An event that cannot be read becomes an alert, and does not affect the others.
    """
    alerts: dict[str, Alert] = {}
    resolutions: dict[str, Resolution] = {}
    for event in sorted(events, key=lambda event: event.storage_id):
        run = runs.get(event.run_id)
        if run is None or event.event_log_entry.dagster_event is None:
            continue
        for found in _of_event(event, run):
            if isinstance(found, Alert):
                alerts[found.key] = found
                resolutions.pop(found.key, None)
            else:
                resolutions[found.key] = found
    return AlertChanges(alerts=list(alerts.values()), resolutions=list(resolutions.values()))


def _of_event(event: dg.EventLogRecord, run: dg.DagsterRun) -> list[Alert | Resolution]:
    """Alerts and resolutions of one event; a single alert about the event if its content is malformed."""
    kind = event.event_log_entry.get_dagster_event().event_type
    of_kind = _of_check if kind == dg.DagsterEventType.ASSET_CHECK_EVALUATION else _of_run
    try:
        return list(of_kind(event, run))
    except Exception as error:  # tags and metadata may hold anything; the error itself is reported
        return [
            Alert(
                key=f"event/{run.run_id}/{kind.value}",
                kind="event",
                severity="error",
                subject=run.job_name,
                summary=f"an event of run {run.run_id} could not be read: {_cut(repr(error))}",
                session=_moment(event).date(),
                link=run_link(run.run_id),
                is_news=True,
                seen_at=_moment(event),
            )
        ]


def _of_check(event: dg.EventLogRecord, run: dg.DagsterRun) -> Iterator[Alert | Resolution]:
    """Changes for each part that a check names, or for the whole check; evaluations of single tickers are skipped."""
    evaluation = _evaluation(event)
    name, asset = evaluation.check_name, evaluation.asset_key.to_user_string()
    is_one_of_many = evaluation.partition is not None and run.tags.get(RANGE_START_TAG) != run.tags.get(RANGE_END_TAG)
    if name in GATE_CHECKS or is_one_of_many:
        return
    subject, session = f"{asset}/{name}", _session_of_check(evaluation, run) or _moment(event).date()
    found = CheckScope.parse(evaluation)
    if found is None:
        failing = {} if evaluation.passed else {f"check/{subject}": (_shown(evaluation), session)}
        well = [f"check/{subject}"] if evaluation.passed else []
    else:
        failing = {
            f"check/{subject}/{part}": (_cut(what), _session_in(part) or session)
            for part, what in found.failing.items()
        }
        well = [f"check/{subject}/{part}" for part in found.passing]
    for key, (summary, about) in failing.items():
        yield Alert(
            key=key,
            kind="check",
            severity="error" if evaluation.severity == dg.AssetCheckSeverity.ERROR else "warning",
            subject=subject,
            summary=summary,
            session=about,
            link=partition_link(asset, evaluation.partition) if evaluation.partition else check_link(asset, name),
            seen_at=_moment(event),
        )
    yield from (Resolution(key=key, resolved_at=_moment(event)) for key in well)


def _of_run(event: dg.EventLogRecord, run: dg.DagsterRun) -> Iterator[Alert | Resolution]:
    """A finished run resolves its alert, even if some of its partitions wait for a retry."""
    failed = event.event_log_entry.get_dagster_event().event_type == dg.DagsterEventType.RUN_FAILURE
    if not failed or has_waiting_partitions(run):
        yield from (Resolution(key=key, resolved_at=_moment(event)) for key in _keys_of(run))
    elif run.tags.get(WILL_RETRY_TAG) != "true":
        partitions = _partitions(run)
        yield Alert(
            key=_keys_of(run)[-1],
            kind="run",
            severity="error",
            subject=_work_of(run),
            summary=f"failed{f' for {partitions}' if partitions else ''}: {_cut(_failure_text(event))}",
            session=_session_of(run) or _moment(event).date(),
            link=run_link(run.run_id),
            seen_at=_moment(event),
        )


def has_waiting_partitions(run: dg.DagsterRun) -> bool:
    """True if a run has tagged itself with failed partitions; a re-execution inherits the tags of its parent."""
    return run.tags.get(PENDING_RETRY_TAG, "").split(" ")[0] == run.run_id


def _keys_of(run: dg.DagsterRun) -> list[str]:
    """Alert keys of a run: its job, and its partitions or each of its days.

    The daily run is repeated until its session is complete, together with earlier sessions that are not: such a run
    covers each day from its first one on. Dagster does not validate ranges: one that begins after its end covers its
    end.
    """
    work, last = _work_of(run), _session_in(run.tags.get(DAILY_RUN_TAG, ""))
    if last is None:
        return [f"run/{work}/{_partitions(run)}"]
    first = _session_in(run.tags.get(RANGE_START_TAG, "")) or last
    num_before = min(max((last - first).days, 0), MOST_DAYS)
    return [f"run/{work}/{last - timedelta(days=n)}" for n in range(num_before, -1, -1)]


def _evaluation(event: dg.EventLogRecord) -> dg.AssetCheckEvaluation:
    evaluation = event.event_log_entry.get_dagster_event().event_specific_data
    assert isinstance(evaluation, dg.AssetCheckEvaluation)
    return evaluation


def _moment(event: dg.EventLogRecord) -> datetime:
    return datetime.fromtimestamp(event.timestamp, UTC)


def _session_of_check(evaluation: dg.AssetCheckEvaluation, run: dg.DagsterRun) -> date | None:
    """The session that a check names itself, or else the newest one of its run."""
    named = evaluation.metadata.get("session")
    return _session_in(str(named.value)) if named else _session_of(run)


def _session_of(run: dg.DagsterRun) -> date | None:
    for tag in (DAILY_RUN_TAG, RANGE_END_TAG, PARTITION_TAG):
        if tag in run.tags and (session := _session_in(run.tags[tag])):
            return session
    return None


def _session_in(text: str) -> date | None:
    """The date that a text begins with; None if it is invalid, such as 2026-02-30."""
    found = SESSION.match(text)
    with suppress(ValueError):
        return date.fromisoformat(found[0]) if found else None
    return None


def _partitions(run: dg.DagsterRun) -> str:
    if RANGE_START_TAG in run.tags:
        return f"{run.tags[RANGE_START_TAG]} to {run.tags[RANGE_END_TAG]}"
    return run.tags.get(PARTITION_TAG, "")


def _work_of(run: dg.DagsterRun) -> str:
    """The job of a run, or the assets that it was launched for."""
    if run.job_name.startswith("__") and run.asset_selection:
        return ", ".join(sorted(key.to_user_string() for key in run.asset_selection))
    return run.job_name


def _shown(evaluation: dg.AssetCheckEvaluation) -> str:
    """The result of a check in one line."""
    found = [f"{name}: {value.value}" for name, value in evaluation.metadata.items() if value.value not in ("", None)]
    return _cut(evaluation.description or "; ".join(found) or "failed")


def _failure_text(event: dg.EventLogRecord) -> str:
    """The error of a failed run, or of its failed step if there is one."""
    data = event.event_log_entry.get_dagster_event().event_specific_data
    if isinstance(data, JobFailureData):
        step = data.first_step_failure_event
        if step is not None and isinstance(step.event_specific_data, StepFailureData):
            given = step.event_specific_data.user_failure_data
            if given is not None and given.description:
                return given.description
            if step.event_specific_data.error is not None:
                return _innermost(step.event_specific_data.error).message
        if data.error is not None:
            return _innermost(data.error).message
    return event.event_log_entry.get_dagster_event().message or "no reason is on record"


def _innermost(error: SerializableErrorInfo) -> SerializableErrorInfo:
    while error.cause is not None:
        error = error.cause
    return error


def _cut(text: str) -> str:
    lines = [line.strip() for line in without_secrets(text, os.environ).splitlines() if line.strip()]
    short = " ".join(lines[:NUM_LINES])
    return short if len(short) <= LONGEST_TEXT else f"{short[: LONGEST_TEXT - 3]}..."
