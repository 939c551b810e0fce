"""The sign of life that `LDTM_HEARTBEAT_URL` waits for: when it stays away, somebody outside tells people."""

import os
import time
from collections.abc import Callable

import dagster as dg

from ldtm_assets.automation.daemons import silent_daemons
from ldtm_lib.database.clock import now
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.maintenance.heartbeat import VARIABLE, HeartbeatNotTaken, heartbeat_url, send_heartbeat
from ldtm_lib.project import Project

SECONDS_BETWEEN_LOOKS = 60
SECONDS_BETWEEN_BEATS = 300


def heartbeat_sensor(project: Callable[[], Project]) -> dg.SensorDefinition:
    """The sensor that shows that it looks, the database answers, and nothing of the daemon is dead. It is on."""

    @dg.sensor(
        name="heartbeat_sensor",
        minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Pings the address in {VARIABLE} every five minutes as long as all that runs by itself is well.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        try:
            url = heartbeat_url(os.environ)
        except ConfigurationError as error:
            return dg.SkipReason(f"no heartbeat: {error}")
        if url is None:
            return dg.SkipReason(f"{VARIABLE} names no address")
        if context.cursor and 0 <= time.time() - float(context.cursor) < SECONDS_BETWEEN_BEATS:
            return dg.SkipReason("the last heartbeat is younger than five minutes")
        with project().database.transaction() as conn:
            now(conn)
        if silent := silent_daemons(context.instance):
            return dg.SkipReason(f"no heartbeat: nobody looks after {' and '.join(silent)}")
        context.update_cursor(str(time.time()))
        try:
            send_heartbeat(url)
        except HeartbeatNotTaken as error:
            return dg.SkipReason(f"no heartbeat: {error}")
        return dg.SkipReason("heartbeat sent")

    return sensor
