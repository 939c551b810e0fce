"""Status of Dagster, read from the tables of its storage, which takes milliseconds; importing Dagster takes seconds.

Schedules and sensors are those that the daemon has loaded (`loaded_code`). As in Dagster, a status that a person set in
the UI overrides the default of the loaded code.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from ldtm_lib.database.clock import now
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.errors import DatabaseUnavailable
from ldtm_lib.maintenance.loaded_code import loaded_code
from ldtm_lib.project import Project

GPU_POOL = "gpu"
REQUIRED_DAEMONS = {"SENSOR": "sensors", "SCHEDULER": "schedules", "QUEUED_RUN_COORDINATOR": "the run queue"}
"""The daemons that automation needs, with their tasks. Each one sends a heartbeat every 30 seconds."""
DAEMON_SECONDS = 60
"""Age of its last heartbeat after which a daemon counts as dead."""
BY_HAND = ("RUNNING", "STOPPED")
"""Statuses that Dagster stores when a person starts or stops a schedule or sensor; any other means the default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NextTick:
    """The next time at which a schedule launches something."""

    schedule: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DagsterStatus:
    """Status of Dagster at a moment, according to its own storage."""

    is_alive: bool
    """True if every required daemon has sent a heartbeat within DAEMON_SECONDS."""
    silent: tuple[str, ...]
    """Tasks of the daemons without a recent heartbeat."""
    has_reported: bool
    """True once a sensor has reported the loaded code; until then schedules and sensors are unknown."""
    changes: tuple[str, ...]
    """Code and settings that differ from those that Dagster has loaded."""
    next_ticks: tuple[NextTick, ...]
    """Next ticks of the schedules that are on, the soonest first."""
    stopped: tuple[str, ...]
    """Schedules and sensors that are off."""
    started_by_hand: tuple[str, ...]
    """Schedules and sensors that a person has started and that are off by default."""
    stopped_by_hand: tuple[str, ...]
    """Schedules and sensors that a person has stopped and that are on by default."""
    failing: tuple[tuple[str, str], ...]
    """Schedules and sensors that are on and whose last tick failed, with the reason."""
    running: tuple[str, ...]
    """Jobs of runs in progress."""
    num_queued: int
    gpu_slots: int | None
    """Trainings that may run at once; None before the limit of the pool was first set."""
    gpu_slots_held: int
    num_waiting_for_gpu: int

    @property
    def runs_in_part(self) -> bool:
        """True if some required daemons run and others do not."""
        return 0 < len(self.silent) < len(REQUIRED_DAEMONS)

    def is_on(self, name: str) -> bool:
        """Return whether a schedule or sensor is known and on."""
        return self.has_reported and name not in self.stopped


def dagster_status(project: Project) -> DagsterStatus:
    """Read the storage. Raises DatabaseUnavailable if it lacks a table or does not answer."""
    try:
        with project.dagster_database.transaction() as conn:
            return _read(conn, project)
    except (psycopg.Error, ValueError, KeyError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DatabaseUnavailable(f"Dagster's storage cannot be read: {reason}; `ldtm doctor` checks it") from error


def running_jobs(conn: Connection) -> list[str]:
    """The jobs of runs that have a process; `conn` must use the schema of Dagster's storage."""
    return [job for (job,) in conn.execute(query("maintenance.running_jobs"))]


def live_daemons(conn: Connection) -> set[str]:
    """The daemons with a recent heartbeat; `conn` must use the schema of Dagster's storage."""
    return {kind for (kind,) in conn.execute(query("maintenance.live_daemons"), {"seconds": DAEMON_SECONDS})}


def _read(conn: Connection, project: Project) -> DagsterStatus:
    moment, loaded = now(conn), loaded_code(conn)
    alive = live_daemons(conn)
    silent = tuple(work for kind, work in REQUIRED_DAEMONS.items() if kind not in alive)
    states: dict[str, tuple[str, str]] = {
        name: (status, selector) for name, status, selector in conn.execute(query("maintenance.automation_states"))
    }
    known = loaded.automation if loaded else ()
    by_hand = {each.name: status for each in known if (status := states.get(each.name, ("",))[0]) in BY_HAND}
    on = [each for each in known if by_hand.get(each.name, each.default_status) == "RUNNING"]
    off = [each for each in known if each not in on]
    ticks = [NextTick(schedule=each.name, at=at) for each in on if (at := each.next_tick(moment)) is not None]
    selectors = {states[each.name][1]: each.name for each in on if each.name in states}
    failed = conn.execute(query("maintenance.failed_ticks"), {"selectors": [*selectors]}).fetchall()
    queue = conn.execute(query("maintenance.queue"), {"pool": GPU_POOL}).fetchone()
    assert queue is not None
    num_queued, gpu_slots, gpu_slots_held, num_waiting_for_gpu = queue
    return DagsterStatus(
        is_alive=not silent,
        silent=silent,
        has_reported=loaded is not None,
        changes=tuple(loaded.changes(project.settings)) if loaded else (),
        next_ticks=tuple(sorted(ticks, key=lambda tick: tick.at)),
        stopped=tuple(each.name for each in off),
        started_by_hand=tuple(each.name for each in on if each.name in by_hand and not each.is_on_by_default),
        stopped_by_hand=tuple(each.name for each in off if each.name in by_hand and each.is_on_by_default),
        failing=tuple(sorted((selectors[selector], _reason(body)) for selector, body in failed)),
        running=tuple(running_jobs(conn)),
        num_queued=num_queued,
        gpu_slots=gpu_slots,
        gpu_slots_held=gpu_slots_held,
        num_waiting_for_gpu=num_waiting_for_gpu,
    )


def _reason(tick_body: str) -> str:
    """The first line of the innermost error of a stored tick."""
    error: dict[str, Any] | None = json.loads(tick_body).get("error")
    while error and error.get("cause"):
        error = error["cause"]
    lines: list[str] = str(error["message"]).strip().splitlines() if error else []
    return lines[0] if lines else "no reason is on record"
