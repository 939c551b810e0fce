"""The maintenance sensor: it watches disk space and log files every minute.

It runs regardless of `automation.enabled`: a disk fills up in any case, and a full one stops the database.
"""

from collections.abc import Callable

import dagster as dg

from ldtm_lib.maintenance.disk import check_disk, truncate_logs
from ldtm_lib.project import Project, home_of
from ldtm_lib.settings import Settings
from ldtm_lib.wording import counted, mib_of

POLL_SECONDS = 60


def maintenance_sensor(project: Callable[[], Project], settings: Settings) -> dg.SensorDefinition:
    """The sensor that truncates logs and raises an alert when the disk is nearly full. On by default."""

    @dg.sensor(
        name="maintenance_sensor",
        minimum_interval_seconds=POLL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Truncates log files to their maximum size, and raises an alert when the disk is nearly full.",
    )
    def sensor() -> dg.SkipReason:
        removed = truncate_logs(home_of(settings), settings.retention)  # first: a full disk stops the database
        opened = project()
        with opened.database.transaction() as conn:
            alert = check_disk(conn, opened.home)
        disk = alert.summary if alert else "enough disk space is free"
        return dg.SkipReason(f"{disk}; {mib_of(sum(removed)):,} MiB of {counted(len(removed), 'log')} removed")

    return sensor
