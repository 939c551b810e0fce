"""The jobs that schedules, sensors and the command line launch."""

import dagster as dg

from ldtm_assets.asset_checks.freshness import freshness_checks
from ldtm_assets.assets.exports import EXPORT_JOB
from ldtm_assets.assets.seals import SEALS
from ldtm_assets.bootstrap import bootstrap
from ldtm_assets.partitions import DAILY_ASSETS
from ldtm_assets.resources import ProjectResource
from ldtm_assets.run_tags import CONCURRENCY_GROUP_TAG, RETRAINING_ASSETS, RETRAINING_GROUP
from ldtm_lib.maintenance import retention
from ldtm_lib.maintenance.purge import AssetNames, Purged
from ldtm_lib.wording import mib_of

PRICE_HISTORY_JOB = "price_history_job"
DAILY_JOB = "daily_job"
RETRAINING_JOB = "retraining_job"
LEADERBOARD_JOB = "leaderboard_job"
FRESHNESS_JOB = "freshness_job"
RETENTION_ASSETS = AssetNames(by_date=DAILY_ASSETS, for_good=(SEALS.to_user_string(),))

NO_RETRIES = {"dagster/max_retries": "0"}
"""Dagster does not retry daily runs: the catch-up repeats them according to what the tables lack."""


@dg.op(out=dg.Out(dg.Nothing))
def purge(context: dg.OpExecutionContext, project: ProjectResource) -> None:
    """Purge data whose retention time is over. The record stays."""
    report = retention.purge_expired(project.open(), RETENTION_ASSETS)
    context.log.info(summary_of(report))
    if report.failures:
        raise dg.Failure(description="; ".join(report.failures), allow_retries=False)


@dg.job(description="Purges old data outside of the record: logs, runs, refused bars, notifications, unneeded files.")
def retention_job() -> None:
    """One op."""
    purge()


@dg.job(
    description="Builds a record: loads price histories, simulates past sessions with models trained before each of "
    "them, trains models on all bars, and computes the leaderboard. It does only what is missing, so it may be "
    "launched again.",
    tags={CONCURRENCY_GROUP_TAG: RETRAINING_GROUP},
)
def bootstrap_job() -> None:
    """One op."""
    bootstrap()


freshness_job = dg.define_asset_job(
    FRESHNESS_JOB,
    selection=dg.AssetSelection.checks(freshness_checks),
    description="Checks after an open that the previous session has its bars, rows and actuals, and that every ticker "
    "was trained and judged in time.",
)

price_history_job = dg.define_asset_job(
    PRICE_HISTORY_JOB,
    selection=["price_history"],
    description="Loads all bars that the source has for the selected tickers.",
)
retraining_job = dg.define_asset_job(
    RETRAINING_JOB,
    selection=dg.AssetSelection.assets(*RETRAINING_ASSETS) - dg.AssetSelection.checks(freshness_checks),
    tags={CONCURRENCY_GROUP_TAG: RETRAINING_GROUP},
    description="Backtests, trains and judges networks for the selected tickers, all of them in one run.",
)

JOBS = (
    price_history_job,
    dg.define_asset_job(
        DAILY_JOB,
        # freshness is evaluated on the next morning, by a separate job
        selection=dg.AssetSelection.assets(*DAILY_ASSETS) - dg.AssetSelection.checks(freshness_checks),
        tags=NO_RETRIES,
        description="The daily run of the selected sessions and tickers: bars, windows, forecasts, actuals. New rows "
        "of past sessions are late, and the live leaderboard does not count them; set `simulated` for a simulation.",
    ),
    retraining_job,
    dg.define_asset_job(
        LEADERBOARD_JOB,
        selection=["leaderboard"],
        description="The leaderboard over the last 30 filled sessions, with its pictures.",
    ),
    dg.define_asset_job(
        EXPORT_JOB,
        selection=["onnx_model", "tensorrt_engine"],
        description="Exports the active models of the selected tickers as ONNX files, the file of the universe, and "
        "engines if the configuration selects TensorRT.",
    ),
    bootstrap_job,
    freshness_job,
    retention_job,
)


def summary_of(report: retention.RetentionReport) -> str:
    """The purged amounts by kind, in one line."""
    return "; ".join(_amount(purged) for purged in report.purged if purged.num) or "nothing was old enough to purge"


def _amount(purged: Purged) -> str:
    size = "" if purged.num_bytes is None else f" ({mib_of(purged.num_bytes):,} MiB)"
    return f"{purged.kind}: {purged.num:,}{size}"
