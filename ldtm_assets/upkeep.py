"""Once a week what is no record goes: old logs, old runs, refused bars, files that nobody needs."""

import dagster as dg

from ldtm_assets.automation import schedule_status
from ldtm_assets.event_log import SEALS
from ldtm_assets.jobs import EVENING_ASSETS
from ldtm_assets.partitions import EXCHANGE_TIMEZONE
from ldtm_assets.resources import ProjectResource
from ldtm_lib.config import Settings
from ldtm_lib.upkeep import retention
from ldtm_lib.upkeep.run_storage import AssetNames
from ldtm_lib.upkeep.swept import Swept

RETENTION_CRON = "0 12 * * 0"
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


def retention_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """On Sundays, when no evening and no retraining runs."""
    return dg.ScheduleDefinition(
        name="retention_schedule",
        job=retention_job,
        cron_schedule=RETENTION_CRON,
        execution_timezone=EXCHANGE_TIMEZONE,
        default_status=schedule_status(settings),
        description="Old logs, runs, refused bars, alerts and unneeded files go. The record stays.",
    )


def in_words(done: retention.Sweep) -> str:
    """What went, one kind after the other."""
    return "; ".join(_one(swept) for swept in done.swept if swept.num) or "nothing was old enough to go"


def _one(swept: Swept) -> str:
    size = "" if swept.num_bytes is None else f" ({swept.num_bytes / 2**20:.1f} MiB)"
    return f"{swept.num:,} {swept.what}{size}"
