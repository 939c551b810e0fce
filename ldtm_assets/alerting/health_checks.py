"""Troubles that no event tells of: a configuration that does not open, addresses that are none, ticks that fail.

Each is one trouble for as long as it lasts, and is looked at anew each time: whoever looks needs to remember nothing.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import dagster as dg

from ldtm_assets.alerting.events import Seen
from ldtm_assets.alerting.ticks import failure_of, newest_ticks, stopped
from ldtm_lib.alerts.alert import Ending, Trouble
from ldtm_lib.alerts.channels import VARIABLE
from ldtm_lib.alerts.links import automation_page
from ldtm_lib.alerts.secrets import without_secrets
from ldtm_lib.errors import LdtmError
from ldtm_lib.project import Project

CONFIGURATION, ADDRESSES = "configuration", "addresses"
NUM_TICKS_OF_SENSOR = 2
"""Ticks in a row by which a sensor is in trouble, or well: it looks again by itself, and may fail every other time."""


@dataclass(slots=True)
class LastProject:
    """The project as it opened last, so that a slip in its file silences nobody."""

    opens: Callable[[], Project]
    failure: str | None = None
    """Why it is an elder one."""
    _project: Project | None = None

    def open(self) -> Project:
        """The project as it is now, or as it was. Raises LdtmError where none has opened yet."""
        try:
            self._project, self.failure = self.opens(), None
        except LdtmError as error:
            if self._project is None:
                raise
            self.failure = str(error)
        return self._project


def of_installation(not_opened: str | None, refused: Sequence[str]) -> Seen:
    """What a configuration and the addresses of alerts are in trouble with."""
    found = [
        (CONFIGURATION, "the configuration", not_opened and f"{not_opened}; alerts go on by what it was before"),
        (ADDRESSES, VARIABLE, "; ".join(refused)),
    ]
    return Seen(
        troubles=[_trouble(key, "settings", subject, what, None) for key, subject, what in found if what],
        endings=[Ending(key=key) for key, _, what in found if not what],
    )


def of_ticks(
    instance: dg.DagsterInstance, schedules: Iterable[dg.ScheduleDefinition], sensors: Iterable[dg.SensorDefinition]
) -> Seen:
    """Which schedules and sensors fail, and which work or are off, in a number of statements that does not grow."""
    needed = {each.name: 1 for each in schedules} | {each.name: NUM_TICKS_OF_SENSOR for each in sensors}
    states = instance.all_instigator_state()
    off = stopped(states, (*schedules, *sensors))
    troubles, well = list[Trouble](), list(off)
    for name, ticks in newest_ticks(instance, states, needed.keys() - {*off}, NUM_TICKS_OF_SENSOR).items():
        reasons = [failure_of(tick) for tick in ticks[: needed[name]]]
        if not any(reasons):
            well.append(name)
        elif reasons[0] and all(reasons):
            what = f"fails when it looks: {reasons[0]}"
            troubles.append(_trouble(f"tick/{name}", "automation", name, what, automation_page()))
    return Seen(troubles=troubles, endings=[Ending(key=f"tick/{name}") for name in well])


def _trouble(key: str, kind: str, subject: str, summary: str, link: str | None) -> Trouble:
    told = without_secrets(summary, os.environ)
    return Trouble(key=key, kind=kind, severity="error", subject=subject, summary=told, link=link)
