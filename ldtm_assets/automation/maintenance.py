"""Maintenance: a weekly purge of old data, and a sensor that watches disk space and log files every minute.

Both run regardless of `automation.enabled`: a disk fills up in any case, and a full one stops the database.
"""

from collections.abc import Callable

import dagster as dg

from ldtm_assets.assets.seals import SEALS
from ldtm_assets.jobs import DAILY_ASSETS
from ldtm_assets.partitions import EXCHANGE_TIMEZONE
from ldtm_assets.resources import ProjectResource
from ldtm_lib.maintenance import retention
from ldtm_lib.maintenance.disk import check_disk, truncate_logs
from ldtm_lib.maintenance.purge import AssetNames, Purged
from ldtm_lib.project import Project, home_of
from ldtm_lib.settings import Settings

RETENTION_CRON = "0 12 * * 0"
POLL_SECONDS = 60
ASSETS = AssetNames(by_date=DAILY_ASSETS, for_good=(SEALS.to_user_string(),))


@dg.op(out=dg.Out(dg.Nothing))
def purge(context: dg.OpExecutionContext, project: ProjectResource) -> None:
    """Purge of the data whose retention time is over. The record stays."""
    report = retention.purge_expired(project.open(), ASSETS)
    context.log.info(in_words(report))
    if report.failures:
        raise dg.Failure(description="; ".join(report.failures), allow_retries=False)


@dg.job(description="Purges old data outside of the record: logs, runs, refused bars, notifications, unneeded files.")
def retention_job() -> None:
    """One op."""
    purge()


def retention_schedule() -> dg.ScheduleDefinition:
    """On Sundays, when no daily run and no retraining runs. It is on by default."""
    return dg.ScheduleDefinition(
        name="retention_schedule",
        job=retention_job,
        cron_schedule=RETENTION_CRON,
        execution_timezone=EXCHANGE_TIMEZONE,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Purges old logs, runs, refused bars, notifications and unneeded files. The record stays.",
    )


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
        return dg.SkipReason(f"{disk}; {sum(removed) / 2**20:.1f} MiB of {len(removed)} logs removed")

    return sensor


def in_words(report: retention.RetentionReport) -> str:
    """The purged amounts, one kind after the other."""
    return "; ".join(_one(purged) for purged in report.purged if purged.num) or "nothing was old enough to purge"


def _one(purged: Purged) -> str:
    size = "" if purged.num_bytes is None else f" ({purged.num_bytes / 2**20:.1f} MiB)"
    return f"{purged.num:,} {purged.kind}{size}"
