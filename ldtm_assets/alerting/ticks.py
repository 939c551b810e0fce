"""How schedules and sensors are doing: which of them are off, and what their newest ticks came to."""

from collections.abc import Collection, Iterable, Mapping

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorState, InstigatorTick, TickStatus

OVER = (TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.FAILURE)
NUM_UNDER_WAY = 3
"""Ticks of one schedule or sensor that may have begun and not ended: the present one, and those of killed daemons."""


def stopped(
    states: Iterable[InstigatorState], known: Iterable[dg.ScheduleDefinition | dg.SensorDefinition]
) -> list[str]:
    """The names of what is off: by a person in the pages, or where nobody said anything by default."""
    said = {state.instigator_name: state.status.value for state in states}
    defaults = {each.name: each.default_status.value for each in known}
    return [name for name, default in defaults.items() if _decided(said.get(name), default) == "STOPPED"]


def newest_ticks(
    instance: dg.DagsterInstance, states: Iterable[InstigatorState], names: Collection[str], num: int = 1
) -> Mapping[str, list[InstigatorTick]]:
    """The newest ticks that are over of some schedules and sensors, newest first, in one statement for all."""
    selectors = {state.selector_id: state.instigator_name for state in states if state.instigator_name in names}
    found: dict[str, list[InstigatorTick]] = {}
    if selectors:
        # of all statuses, since Dagster's query for many at once raises where it is to filter by them
        for selector, ticks in instance.get_batch_ticks([*selectors], limit=num + NUM_UNDER_WAY).items():
            found.setdefault(selectors[selector], []).extend(tick for tick in ticks if tick.status in OVER)
    return {
        name: sorted(ticks, key=lambda tick: (tick.timestamp, tick.tick_id), reverse=True)[:num]
        for name, ticks in found.items()
    }


def failure_of(tick: InstigatorTick) -> str | None:
    """Why a tick failed, in one line; None for one that did not."""
    if tick.status != TickStatus.FAILURE:
        return None
    error = tick.error
    while error is not None and error.cause is not None:
        error = error.cause
    lines = error.message.strip().splitlines() if error else []
    return lines[0] if lines else "no reason is on record"


def _decided(said: str | None, default: str) -> str:
    """What a person said in the pages counts; what Dagster noted of the default itself is no word of a person."""
    return said if said in ("RUNNING", "STOPPED") else default
