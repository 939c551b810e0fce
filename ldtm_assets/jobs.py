"""What schedules, sensors and the command line launch, and the tags that keep runs from getting in each other's way."""

import dagster as dg

from ldtm_assets.asset_checks.freshness import freshness_checks

DAILY_ASSETS = ("prices", "features", "snapshots", "fillbacks")
RETRAINING_ASSETS = ("backtests", "checkpoints", "registry")
DAILY_JOB = "daily_job"
RETRAINING_JOB = "retraining_job"
LEADERBOARD_JOB = "leaderboard_job"
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

DAILY_RUN_TAG = "ldtm/daily_run"
"""The last session that a run makes; dagster.yaml lets one such run go at a time."""
CONCURRENCY_GROUP_TAG = "ldtm/concurrency_group"
"""Evenings and trainings carry it and take turns by dagster.yaml, so that no forecast is made amid new networks."""
PENDING_RETRY_TAG = "ldtm/partitions_pending_retry"
"""How many partitions of a run failed by themselves: the run is no trouble of its own."""
DAILY_RUN_MAX_SECONDS = 3600
"""Seconds after which a run of automation that hangs is ended, so that the next one can begin."""
NO_RETRIES = {"dagster/max_retries": "0"}
"""Evenings are started again by what the tables lack, and not by Dagster."""
AUTOMATION_TAGS = NO_RETRIES | {"dagster/max_runtime": str(DAILY_RUN_MAX_SECONDS), "dagster/priority": "1"}
"""What runs for errands carry: they leave the queue before the trainings that stand in it."""

JOBS = (
    dg.define_asset_job("price_history_job", selection=["price_history"]),
    dg.define_asset_job(
        DAILY_JOB,
        # what an evening or a retraining left behind is looked at on a morning after it, by a job of its own
        selection=dg.AssetSelection.assets(*DAILY_ASSETS) - dg.AssetSelection.checks(freshness_checks),
        tags=NO_RETRIES,
    ),
    dg.define_asset_job(
        RETRAINING_JOB,
        selection=dg.AssetSelection.assets(*RETRAINING_ASSETS) - dg.AssetSelection.checks(freshness_checks),
        tags={CONCURRENCY_GROUP_TAG: "retraining"},
    ),
    dg.define_asset_job(LEADERBOARD_JOB, selection=["leaderboard"]),
)
