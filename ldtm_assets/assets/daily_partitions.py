"""The partitions of an evening's run: what can be done about each, who waits, and the attempts on record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ldtm_assets.assets.materialization import Outcome
from ldtm_assets.partitions import DailyPartition
from ldtm_lib.daily_run import attempts
from ldtm_lib.daily_run.pending_partitions import pending_partitions
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import AutomationConfig, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The partitions of a run, sorted by what can be done about them."""

    ready: list[DailyPartition]
    refused: dict[str, str]
    """Their session has not closed; the reason by partition key."""
    departed: list[DailyPartition]
    """Their ticker had left the universe by then."""


def restrict(partitions: Sequence[DailyPartition], only: Sequence[str]) -> list[DailyPartition]:
    """Keep the partitions of some tickers, or all of them when none is named.

    Raises ConfigurationError for a ticker that has no partition among them.
    """
    if absent := sorted(set(only) - {partition.ticker for partition in partitions}):
        raise ConfigurationError(
            f"`only` names {', '.join(absent)}, of which the run has no partition; ask for a range that holds them"
        )
    return [partition for partition in partitions if not only or partition.ticker in only]


def sort_out(partitions: Sequence[DailyPartition], settings: Settings, calendar: Calendar, moment: datetime) -> Asked:
    """Sort partitions by what can be done at a moment; Dagster does not validate a range of partitions."""
    newest = calendar.last_closed(moment)
    asked = Asked(ready=[], refused={}, departed=[])
    for partition in partitions:
        if partition.session > newest:
            asked.refused[partition.key] = (
                f"session {partition.session} has not closed; the newest closed one is {newest}"
            )
        elif partition.ticker not in settings.tickers_on(partition.session):
            asked.departed.append(partition)
        else:
            asked.ready.append(partition)
    return asked


def pending_retries(
    partitions: Sequence[DailyPartition],
    calendar: Calendar,
    moment: datetime,
    config: AutomationConfig,
    num_attempts: Mapping[str, int],
) -> dict[str, str]:
    """Of partitions that failed, those that are better tried again than given up, with the reason to wait.

    An abstention is on record for good. It is not written while a retry may still bring the bar before the session
    that the forecast would speak about opens. Later it is written only after `report_after_attempts` attempts: the
    source may be away for some minutes more when an outage ends. `num_attempts` tells these by partition key, of the
    partitions that are tried again by themselves (see `attempts_by_partition`).
    """
    opens = {
        session: calendar.opens_at(calendar.offset(session, 1))
        for session in {partition.session for partition in partitions}
    }
    waiting: dict[str, str] = {}
    for partition in partitions:
        opens_at, num_tried = opens[partition.session], num_attempts.get(partition.key, config.report_after_attempts)
        if moment < opens_at:
            waiting[partition.key] = (
                f"waits for its bar; there is time until {opens_at:%Y-%m-%d %H:%M} UTC to try again"
            )
        elif num_tried < config.report_after_attempts:
            waiting[partition.key] = (
                f"waits for its bar; that was attempt {num_tried}, it abstains after {config.report_after_attempts}"
            )
    return waiting


def attempts_by_partition(project: Project, calendar: Calendar, moment: datetime) -> dict[str, int]:
    """The number of attempts of each partition without a row that automation retries, by partition key."""
    with project.database.transaction() as conn:
        found = pending_partitions(conn, project.settings, calendar, moment)
    return {
        DailyPartition(partition.session, partition.ticker).key: partition.num_attempts
        for partition in found
        if partition.lacks_row
    }


def begin(project: Project, partitions: Sequence[DailyPartition]) -> None:
    """Note an attempt at partitions before the work begins."""
    with project.database.transaction() as conn:
        attempts.begin(conn, [(partition.session, partition.ticker) for partition in partitions])


def finish(project: Project, partitions: Sequence[DailyPartition], outcomes: Mapping[str, Outcome]) -> None:
    """Note what became of an attempt: a partition is done when no stage failed it."""
    reasons: dict[str, str] = {}
    for outcome in outcomes.values():
        reasons = outcome.failed | reasons
    keys = {partition.key: (partition.session, partition.ticker) for partition in partitions}
    with project.database.transaction() as conn:
        attempts.finish(
            conn,
            done=[partition for key, partition in keys.items() if key not in reasons],
            failed={partition: reasons[key] for key, partition in keys.items() if key in reasons},
        )
