"""From Dagster's event log to troubles: checks that failed or pass again, and runs that failed or succeed again.

What says that a trouble is over has looked at what failed: a check names the parts that it looked at, and a run counts
for the sessions or partitions that it was of.
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
from ldtm_assets.asset_checks.scope import verdict_of
from ldtm_assets.jobs import EVENING_TAG, WAITING_TAG
from ldtm_assets.partitions import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG
from ldtm_lib.alerts.alert import Ending, Trouble
from ldtm_lib.alerts.links import check_page, partition_page, run_page
from ldtm_lib.alerts.secrets import without_secrets

WATCHED = (
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    dg.DagsterEventType.RUN_FAILURE,
    dg.DagsterEventType.RUN_SUCCESS,
)
GATE_CHECKS = frozenset({GATE, STRICT, *RULES})
"""The gate's own news has their reasons and figures, ticker by ticker."""
WILL_RETRY_TAG = "dagster/will_retry"
SESSION = re.compile(r"\d{4}-\d{2}-\d{2}")
NUM_LINES, LONGEST_TEXT = 3, 600
"""How much of a failure's text a message has."""
MOST_DAYS = 400
"""Days, up to its last session, that a run that worked to its end can say are well; nobody waits longer for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What some events say."""

    troubles: list[Trouble]
    endings: list[Ending]


def read(events: Sequence[dg.EventLogRecord], runs: Mapping[str, dg.DagsterRun]) -> Seen:
    """What some events say, in the order of their storage ids; `runs` are those that they are of.

    One that cannot be read is a trouble of its own, and keeps nobody from the others.
    """
    troubles: dict[str, Trouble] = {}
    endings: dict[str, Ending] = {}
    for event in sorted(events, key=lambda event: event.storage_id):
        run = runs.get(event.run_id)
        if run is None or event.event_log_entry.dagster_event is None:
            continue
        for found in _of_event(event, run):
            if isinstance(found, Trouble):
                troubles[found.key] = found
                endings.pop(found.key, None)
            else:
                endings[found.key] = found
    return Seen(troubles=list(troubles.values()), endings=list(endings.values()))


def _of_event(event: dg.EventLogRecord, run: dg.DagsterRun) -> list[Trouble | Ending]:
    """What an event says; that it cannot be read, where anything in it is not as it should be."""
    kind = event.event_log_entry.get_dagster_event().event_type
    of_kind = _of_check if kind == dg.DagsterEventType.ASSET_CHECK_EVALUATION else _of_run
    try:
        return list(of_kind(event, run))
    except Exception as error:  # tags and metadata are whatever somebody wrote; what is told here is the error itself
        return [
            Trouble(
                key=f"event/{run.run_id}/{kind.value}",
                kind="event",
                severity="error",
                subject=run.job_name,
                summary=f"an event of run {run.run_id} could not be read: {_cut(repr(error))}",
                evening=_moment(event).date(),
                link=run_page(run.run_id),
                is_news=True,
                seen_at=_moment(event),
            )
        ]


def _of_check(event: dg.EventLogRecord, run: dg.DagsterRun) -> Iterator[Trouble | Ending]:
    """What a check says of each of its parts; of the whole where it names none. Evaluations of tickers are not told."""
    evaluation = _evaluation(event)
    name, asset = evaluation.check_name, evaluation.asset_key.to_user_string()
    is_one_of_many = evaluation.partition is not None and run.tags.get(RANGE_START_TAG) != run.tags.get(RANGE_END_TAG)
    if name in GATE_CHECKS or is_one_of_many:
        return
    subject, evening = f"{asset}/{name}", _evening(evaluation, run) or _moment(event).date()
    found = verdict_of(evaluation)
    if found is None:
        in_trouble = {} if evaluation.passed else {f"check/{subject}": (_shown(evaluation), evening)}
        well = [f"check/{subject}"] if evaluation.passed else []
    else:
        in_trouble = {
            f"check/{subject}/{part}": (_cut(what), _session_in(part) or evening)
            for part, what in found.in_trouble.items()
        }
        well = [f"check/{subject}/{part}" for part in found.well]
    for key, (summary, about) in in_trouble.items():
        yield Trouble(
            key=key,
            kind="check",
            severity="error" if evaluation.severity == dg.AssetCheckSeverity.ERROR else "warning",
            subject=subject,
            summary=summary,
            evening=about,
            link=partition_page(asset, evaluation.partition) if evaluation.partition else check_page(asset, name),
            seen_at=_moment(event),
        )
    yield from (Ending(key=key, seen_at=_moment(event)) for key in well)


def _of_run(event: dg.EventLogRecord, run: dg.DagsterRun) -> Iterator[Trouble | Ending]:
    """A run is well when it worked to its end, also where some of its partitions wait to be tried again."""
    failed = event.event_log_entry.get_dagster_event().event_type == dg.DagsterEventType.RUN_FAILURE
    if not failed or has_waiting_partitions(run):
        yield from (Ending(key=key, seen_at=_moment(event)) for key in _keys_of(run))
    elif run.tags.get(WILL_RETRY_TAG) != "true":
        partitions = _partitions(run)
        yield Trouble(
            key=_keys_of(run)[-1],
            kind="run",
            severity="error",
            subject=_work_of(run),
            summary=f"failed{f' for {partitions}' if partitions else ''}: {_cut(_failure_text(event))}",
            evening=_session_of(run) or _moment(event).date(),
            link=run_page(run.run_id),
            seen_at=_moment(event),
        )


def has_waiting_partitions(run: dg.DagsterRun) -> bool:
    """Whether a run says of itself that some of its partitions failed; a run that repeats another has its tags."""
    return run.tags.get(WAITING_TAG, "").split(" ")[0] == run.run_id


def _keys_of(run: dg.DagsterRun) -> list[str]:
    """What makes it the same trouble when a run fails again: its job, and its partitions or its last session.

    Evenings are begun again until they are whole, with sessions before theirs where these are not: such a run is also
    about each day from its first one on. Dagster checks no range: one that begins after its end is about its end.
    """
    work, last = _work_of(run), _session_in(run.tags.get(EVENING_TAG, ""))
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
    """The day that a text begins with; None where it is none, such as 2026-02-30."""
    found = SESSION.match(text)
    with suppress(ValueError):
        return date.fromisoformat(found[0]) if found else None
    return None


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
    """What ended a run: its step's own error where there is one."""
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
