"""Health checks of what Dagster's event log does not show: an invalid configuration or address, and ticks that fail.

Each condition is one alert while it lasts. Every check evaluates the conditions again; it keeps no state.
"""

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorState, InstigatorTick, TickStatus

from ldtm_assets.alerting.events import AlertChanges
from ldtm_lib.alerts.alert import Alert, Resolution, automation_link
from ldtm_lib.alerts.secrets import ALERT_VARIABLE, without_secrets
from ldtm_lib.errors import LdtmError
from ldtm_lib.project import Project

CONFIGURATION, ADDRESSES = "configuration", "addresses"
NUM_TICKS_OF_SENSOR = 2
"""Consecutive failed ticks of a sensor that raise its alert, and good ones that resolve it: every tick is a retry. A
sensor with fewer ticks needs only those."""
FINISHED = (TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.FAILURE)
NUM_UNDER_WAY = 3
"""Ticks of one schedule or sensor that may be unfinished: the present one, and those of killed daemons."""


@dataclass(slots=True)
class LastProject:
    """The project as it was last opened, so that an error in the configuration does not stop notifications."""

    opens: Callable[[], Project]
    failure: str | None = None
    """Reason why the present configuration cannot be opened."""
    _project: Project | None = None

    def open(self) -> Project:
        """The project as it is now, or as it was last opened. Raises LdtmError if it was never opened."""
        try:
            self._project, self.failure = self.opens(), None
        except LdtmError as error:
            if self._project is None:
                raise
            self.failure = str(error)
        return self._project


def check_configuration(not_opened: str | None, refused: Sequence[str]) -> AlertChanges:
    """Check the configuration and the channel addresses."""
    found = [
        (CONFIGURATION, "the configuration", not_opened and f"{not_opened}; alerts use the last valid configuration"),
        (ADDRESSES, ALERT_VARIABLE, "; ".join(refused)),
    ]
    return AlertChanges(
        alerts=[_alert(key, "settings", subject, what, None) for key, subject, what in found if what],
        resolutions=[Resolution(key=key) for key, _, what in found if not what],
    )


def check_ticks(
    instance: dg.DagsterInstance, schedules: Iterable[dg.ScheduleDefinition], sensors: Iterable[dg.SensorDefinition]
) -> AlertChanges:
    """Check the newest ticks of schedules and sensors, in a constant number of statements."""
    needed = {each.name: 1 for each in schedules} | {each.name: NUM_TICKS_OF_SENSOR for each in sensors}
    states = instance.all_instigator_state()
    off = stopped(states, (*schedules, *sensors))
    alerts, healthy = list[Alert](), list(off)
    for name, ticks in newest_ticks(instance, states, needed.keys() - {*off}, NUM_TICKS_OF_SENSOR).items():
        reasons = [failure_of(tick) for tick in ticks[: needed[name]]]
        if not any(reasons):
            healthy.append(name)
        elif reasons[0] and all(reasons):
            what = f"its ticks fail: {reasons[0]}"
            alerts.append(_alert(f"tick/{name}", "automation", name, what, automation_link()))
    return AlertChanges(alerts=alerts, resolutions=[Resolution(key=f"tick/{name}") for name in healthy])


def stopped(
    states: Iterable[InstigatorState], known: Iterable[dg.ScheduleDefinition | dg.SensorDefinition]
) -> list[str]:
    """The names of schedules and sensors that are off: by a person in the UI, or by default."""
    said = {state.instigator_name: state.status.value for state in states}
    defaults = {each.name: each.default_status.value for each in known}
    return [name for name, default in defaults.items() if _effective_status(said.get(name), default) == "STOPPED"]


def newest_ticks(
    instance: dg.DagsterInstance, states: Iterable[InstigatorState], names: Collection[str], num: int = 1
) -> Mapping[str, list[InstigatorTick]]:
    """The newest finished ticks of some schedules and sensors, newest first, in one statement for all."""
    selectors = {state.selector_id: state.instigator_name for state in states if state.instigator_name in names}
    found: dict[str, list[InstigatorTick]] = {}
    if selectors:
        # ticks of all statuses: Dagster's query for several schedules or sensors raises if it filters by status
        for selector, ticks in instance.get_batch_ticks([*selectors], limit=num + NUM_UNDER_WAY).items():
            found.setdefault(selectors[selector], []).extend(tick for tick in ticks if tick.status in FINISHED)
    return {
        name: sorted(ticks, key=lambda tick: (tick.timestamp, tick.tick_id), reverse=True)[:num]
        for name, ticks in found.items()
    }


def failure_of(tick: InstigatorTick) -> str | None:
    """The reason of a failed tick in one line; None for any other tick."""
    if tick.status != TickStatus.FAILURE:
        return None
    error = tick.error
    while error is not None and error.cause is not None:
        error = error.cause
    lines = error.message.strip().splitlines() if error else []
    return lines[0] if lines else "no reason is on record"


def _alert(key: str, kind: str, subject: str, summary: str, link: str | None) -> Alert:
    safe = without_secrets(summary, os.environ)
    return Alert(key=key, kind=kind, severity="error", subject=subject, summary=safe, link=link)


def _effective_status(said: str | None, default: str) -> str:
    """The status that a person has set in the UI, otherwise the default; Dagster then stores a third status or none."""
    return said if said in ("RUNNING", "STOPPED") else default
