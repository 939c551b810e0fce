"""Heartbeats of Dagster's daemons, and the pings of `LDTM_HEARTBEAT_URL`.

The service behind that URL notifies people when the pings stop.
"""

import os
import time
from collections.abc import Callable

import dagster as dg

from ldtm_lib.database.clock import now
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.maintenance.dagster_status import DAEMON_SECONDS, REQUIRED_DAEMONS
from ldtm_lib.maintenance.heartbeat import HEARTBEAT_VARIABLE, HeartbeatNotAccepted, heartbeat_url, send_heartbeat
from ldtm_lib.project import Project

POLL_SECONDS = 60
HEARTBEAT_SECONDS = 300


def silent_daemons(instance: dg.DagsterInstance) -> list[str]:
    """Work that no daemon does at present: the tasks of required daemons without a recent heartbeat."""
    beats = instance.get_daemon_heartbeats()
    oldest = time.time() - DAEMON_SECONDS
    return [work for kind, work in REQUIRED_DAEMONS.items() if kind not in beats or beats[kind].timestamp < oldest]


def has_live_daemon(instance: dg.DagsterInstance) -> bool:
    """True if any daemon has a recent heartbeat, whoever started it, such as a service manager."""
    beats = instance.get_daemon_heartbeats().values()
    return any(time.time() - beat.timestamp < DAEMON_SECONDS for beat in beats)


def heartbeat_sensor(project: Callable[[], Project]) -> dg.SensorDefinition:
    """The sensor that proves that sensors run, the database answers and every daemon is alive. It is on by default."""

    @dg.sensor(
        name="heartbeat_sensor",
        minimum_interval_seconds=POLL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Pings the address in {HEARTBEAT_VARIABLE} every five minutes while all daemons and the database "
        "work.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        try:
            url = heartbeat_url(os.environ)
        except ConfigurationError as error:
            return dg.SkipReason(f"no heartbeat: {error}")
        if url is None:
            return dg.SkipReason(f"{HEARTBEAT_VARIABLE} names no address")
        if context.cursor and 0 <= time.time() - float(context.cursor) < HEARTBEAT_SECONDS:
            return dg.SkipReason("the last heartbeat is younger than five minutes")
        with project().database.transaction() as conn:
            now(conn)
        if silent := silent_daemons(context.instance):
            return dg.SkipReason(f"no heartbeat: Dagster runs without {' and '.join(silent)}")
        context.update_cursor(str(time.time()))
        try:
            send_heartbeat(url)
        except HeartbeatNotAccepted as error:
            return dg.SkipReason(f"no heartbeat: {error}")
        return dg.SkipReason("heartbeat sent")

    return sensor
