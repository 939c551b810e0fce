"""What keeps the disk from filling up: once a week what is no record goes, and every minute somebody looks.

Neither waits for `automation.on`: a disk fills up in any case, and a full one stops the database.
"""

from collections.abc import Callable

import dagster as dg

from ldtm_assets.assets.seals import SEALS
from ldtm_assets.jobs import EVENING_ASSETS
from ldtm_assets.partitions import EXCHANGE_TIMEZONE
from ldtm_assets.resources import ProjectResource
from ldtm_lib.maintenance import retention
from ldtm_lib.maintenance.disk import watch_disk
from ldtm_lib.maintenance.log_files import hold_logs
from ldtm_lib.maintenance.purged import Swept
from ldtm_lib.maintenance.run_storage import AssetNames
from ldtm_lib.project import Project, home_of
from ldtm_lib.settings import Settings

RETENTION_CRON = "0 12 * * 0"
SECONDS_BETWEEN_LOOKS = 60
ASSETS = AssetNames(by_date=EVENING_ASSETS, for_good=(SEALS.to_user_string(),))


@dg.op(out=dg.Out(dg.Nothing))
def sweep(context: dg.OpExecutionContext, project: ProjectResource) -> None:
    """What the section `retention` of the configuration gives no more time to is taken away. The record stays."""
    done = retention.sweep(project.open(), ASSETS)
    context.log.info(in_words(done))
    if done.failures:
        raise dg.Failure(description="; ".join(done.failures), allow_retries=False)


@dg.job(description="Takes away what is no record and old: logs, runs, refused bars, alerts, unneeded files.")
def retention_job() -> None:
    """One op."""
    sweep()


def retention_schedule() -> dg.ScheduleDefinition:
    """On Sundays, when no evening and no retraining runs. It is on."""
    return dg.ScheduleDefinition(
        name="retention_schedule",
        job=retention_job,
        cron_schedule=RETENTION_CRON,
        execution_timezone=EXCHANGE_TIMEZONE,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Old logs, runs, refused bars, alerts and unneeded files go. The record stays.",
    )


def upkeep_sensor(project: Callable[[], Project], settings: Settings) -> dg.SensorDefinition:
    """The sensor that holds logs to their size and notices a disk that fills up. It is on, and launches nothing."""

    @dg.sensor(
        name="upkeep_sensor",
        minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Holds the log files to their size, and notices when the disk is nearly full.",
    )
    def sensor() -> dg.SkipReason:
        dropped = hold_logs(home_of(settings), settings.retention)  # first: a full disk stops the database
        opened = project()
        with opened.database.transaction() as conn:
            trouble = watch_disk(conn, opened.home)
        disk = trouble.summary if trouble else "there is room on the disk"
        return dg.SkipReason(f"{disk}; {sum(dropped) / 2**20:.1f} MiB of {len(dropped)} logs went")

    return sensor


def in_words(done: retention.Sweep) -> str:
    """What went, one kind after the other."""
    return "; ".join(_one(swept) for swept in done.swept if swept.num) or "nothing was old enough to go"


def _one(swept: Swept) -> str:
    size = "" if swept.num_bytes is None else f" ({swept.num_bytes / 2**20:.1f} MiB)"
    return f"{swept.num:,} {swept.what}{size}"
