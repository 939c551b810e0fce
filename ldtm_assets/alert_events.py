"""From Dagster's event log to troubles: checks that failed or pass again, and runs that failed or succeed again."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import dagster as dg
from dagster._core.events import JobFailureData
from dagster._core.execution.plan.objects import StepFailureData
from dagster_shared.error import SerializableErrorInfo

from ldtm_assets.checks import ARRIVED, COMPLETE, HOLD_UP, INTACT, PUBLISHED
from ldtm_assets.gate_checks import GATE, RULES, STRICT
from ldtm_assets.jobs import EVENING_TAG, WAITING_TAG
from ldtm_lib.alerts.links import check_page, partition_page, run_page
from ldtm_lib.alerts.troubles import Ending, Trouble

WATCHED = (
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    dg.DagsterEventType.RUN_FAILURE,
    dg.DagsterEventType.RUN_SUCCESS,
)
GATE_CHECKS = frozenset({GATE, STRICT, *RULES})
"""The gate's own news has their reasons and figures, ticker by ticker."""
OF_THE_RECORD = frozenset({ARRIVED, INTACT, PUBLISHED, HOLD_UP})
"""Checks that an evening makes of the record as a whole: when one passes, it is well again, on whatever evening."""
WILL_RETRY_TAG = "dagster/will_retry"
RANGE_START_TAG, RANGE_END_TAG = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
PARTITION_TAG = "dagster/partition"
SESSION = re.compile(r"\d{4}-\d{2}-\d{2}")
NUM_LINES, LONGEST_TEXT = 3, 600
"""How much of a failure's text a message has."""
PASSWORD = re.compile(r"(?<=://)[^\s/@]+@")
SECRETS = re.compile(r"URL|PASSWORD|TOKEN|SECRET|ACCOUNT")
"""Variables of the environment whose values are in no message."""
SHORTEST_SECRET = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What some events say."""

    troubles: list[Trouble]
    endings: list[Ending]


def read(events: Sequence[dg.EventLogRecord], runs: Mapping[str, dg.DagsterRun]) -> Seen:
    """What some events say, in the order of their storage ids; `runs` are those that they are of."""
    troubles: dict[str, Trouble] = {}
    endings: dict[str, Ending] = {}
    for event in sorted(events, key=lambda event: event.storage_id):
        run = runs.get(event.run_id)
        if run is None or event.event_log_entry.dagster_event is None:
            continue
        kind = event.event_log_entry.dagster_event.event_type
        if kind == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            found = _of_check(event, run)
        elif kind == dg.DagsterEventType.RUN_FAILURE:
            found = _of_failure(event, run)
        else:
            found = Ending(kind="run", subject=_work_of(run), seen_at=_moment(event))
        if isinstance(found, Trouble):
            troubles[found.key] = found
            endings.pop(found.key, None)
        elif found is not None:
            endings[found.key or f"{found.kind}/{found.subject}/{found.evening}"] = found
    return Seen(troubles=list(troubles.values()), endings=list(endings.values()))


def _of_check(event: dg.EventLogRecord, run: dg.DagsterRun) -> Trouble | Ending | None:
    """A check of a run as a whole, or of the single partition that the run is of; those of each ticker are not told."""
    evaluation = _evaluation(event)
    name, asset = evaluation.check_name, evaluation.asset_key.to_user_string()
    if name in GATE_CHECKS or (evaluation.partition is not None and RANGE_END_TAG in run.tags):
        return None
    subject, evening = f"{asset}/{name}", _evening(evaluation, run)
    is_of_the_record = name in OF_THE_RECORD or evening is None
    about = evaluation.partition if evaluation.partition and not is_of_the_record else evening
    key = f"check/{subject}" if is_of_the_record else f"check/{subject}/{about}"
    if evaluation.passed:
        if is_of_the_record or evaluation.partition is not None:
            return Ending(key=key, seen_at=_moment(event))
        return Ending(kind="check", subject=subject, evening=evening, seen_at=_moment(event))
    if name == COMPLETE and WAITING_TAG in run.tags:
        return None  # what it misses waits to be tried again, and is told by ticker when it was tried often enough
    return Trouble(
        key=key,
        kind="check",
        severity="error" if evaluation.severity == dg.AssetCheckSeverity.ERROR else "warning",
        subject=subject,
        summary=_shown(evaluation),
        evening=evening or _moment(event).date(),
        link=partition_page(asset, evaluation.partition) if evaluation.partition else check_page(asset, name),
        seen_at=_moment(event),
    )


def _of_failure(event: dg.EventLogRecord, run: dg.DagsterRun) -> Trouble | None:
    if WAITING_TAG in run.tags or run.tags.get(WILL_RETRY_TAG) == "true":
        return None
    partitions = _partitions(run)
    return Trouble(
        key=f"run/{run.run_id}",
        kind="run",
        severity="error",
        subject=_work_of(run),
        summary=f"failed{f' for {partitions}' if partitions else ''}: {_failure_text(event)}",
        evening=_session_of(run),
        link=run_page(run.run_id),
        seen_at=_moment(event),
    )


def without_secrets(text: str, environ: Mapping[str, str]) -> str:
    """A text without user and password of any address, and without what the environment keeps secret."""
    values = [value for name, value in environ.items() if SECRETS.search(name)]
    secrets = {word for value in values for word in (value, *value.split()) if len(word) >= SHORTEST_SECRET}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return PASSWORD.sub("***@", text)


def _evaluation(event: dg.EventLogRecord) -> dg.AssetCheckEvaluation:
    evaluation = event.event_log_entry.get_dagster_event().event_specific_data
    assert isinstance(evaluation, dg.AssetCheckEvaluation)
    return evaluation


def _moment(event: dg.EventLogRecord) -> datetime:
    return datetime.fromtimestamp(event.timestamp, UTC)


def _evening(evaluation: dg.AssetCheckEvaluation, run: dg.DagsterRun) -> date | None:
    """The session that a check is about: the one that it names itself, else the newest of its run."""
    named = evaluation.metadata.get("evening")
    return _session_in(str(named.value)) if named else _session_of(run)


def _session_of(run: dg.DagsterRun) -> date | None:
    for tag in (EVENING_TAG, RANGE_END_TAG, PARTITION_TAG):
        if tag in run.tags and (session := _session_in(run.tags[tag])):
            return session
    return None


def _session_in(text: str) -> date | None:
    found = SESSION.match(text)
    return date.fromisoformat(found[0]) if found else None


def _partitions(run: dg.DagsterRun) -> str:
    if RANGE_START_TAG in run.tags:
        return f"{run.tags[RANGE_START_TAG]} to {run.tags[RANGE_END_TAG]}"
    return run.tags.get(PARTITION_TAG, "")


def _work_of(run: dg.DagsterRun) -> str:
    """The job of a run; of one that was started for some assets, those."""
    if run.job_name.startswith("__") and run.asset_selection:
        return ", ".join(sorted(key.to_user_string() for key in run.asset_selection))
    return run.job_name


def _shown(evaluation: dg.AssetCheckEvaluation) -> str:
    """What a check found, in one line."""
    found = [f"{name}: {value.value}" for name, value in evaluation.metadata.items() if value.value not in ("", None)]
    return _cut(evaluation.description or "; ".join(found) or "failed")


def _failure_text(event: dg.EventLogRecord) -> str:
    """The first lines of what ended a run: its step's own error where there is one."""
    data = event.event_log_entry.get_dagster_event().event_specific_data
    if isinstance(data, JobFailureData):
        step = data.first_step_failure_event
        if step is not None and isinstance(step.event_specific_data, StepFailureData):
            given = step.event_specific_data.user_failure_data
            if given is not None and given.description:
                return _cut(given.description)
            if step.event_specific_data.error is not None:
                return _cut(_innermost(step.event_specific_data.error).message)
        if data.error is not None:
            return _cut(_innermost(data.error).message)
    return _cut(event.event_log_entry.get_dagster_event().message or "no reason is on record")


def _innermost(error: SerializableErrorInfo) -> SerializableErrorInfo:
    while error.cause is not None:
        error = error.cause
    return error


def _cut(text: str) -> str:
    lines = [line.strip() for line in without_secrets(text, os.environ).splitlines() if line.strip()]
    short = " ".join(lines[:NUM_LINES])
    return short if len(short) <= LONGEST_TEXT else f"{short[: LONGEST_TEXT - 3]}..."
