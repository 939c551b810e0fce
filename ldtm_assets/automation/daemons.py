"""The parts of Dagster's daemon: each of them says every half minute that it is at work."""

import time

import dagster as dg

NEEDED = {"SENSOR": "sensors", "SCHEDULER": "schedules", "QUEUED_RUN_COORDINATOR": "the queue of runs"}
"""The parts without which nothing happens by itself, and what each of them looks after."""
HEARTBEAT_SECONDS = 60


def silent_daemons(instance: dg.DagsterInstance) -> list[str]:
    """What nobody looks after: those parts of the daemon that have not been heard of just now, by what they do."""
    beats = instance.get_daemon_heartbeats()
    oldest = time.time() - HEARTBEAT_SECONDS
    return [does for part, does in NEEDED.items() if part not in beats or beats[part].timestamp < oldest]


def is_heard_of(instance: dg.DagsterInstance) -> bool:
    """Whether any part of a daemon has been heard of just now, whoever started it, such as a service manager."""
    beats = instance.get_daemon_heartbeats().values()
    return any(time.time() - beat.timestamp < HEARTBEAT_SECONDS for beat in beats)
