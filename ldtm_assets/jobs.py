"""What schedules, sensors and the command line launch, and the tags that keep runs from getting in each other's way."""

import dagster as dg

from ldtm_assets.asset_checks.freshness import freshness_checks

EVENING_ASSETS = ("prices", "features", "snapshots", "fillbacks")
RETRAINING_ASSETS = ("backtests", "checkpoints", "registry")
EVENING_JOB = "evening_job"
RETRAINING_JOB = "retraining_job"
LEADERBOARD_JOB = "leaderboard_job"
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

EVENING_TAG = "ldtm/evening"
"""The last session that a run makes; dagster.yaml lets one such run go at a time."""
TURN_TAG = "ldtm/turn"
"""Evenings and trainings carry it and take turns by dagster.yaml, so that no forecast is made amid new networks."""
WAITING_TAG = "ldtm/partitions_waiting"
"""How many partitions of a run failed by themselves: the run is no trouble of its own."""
EVENING_TAKES_AT_MOST = 3600
"""Seconds after which a run of automation that hangs is ended, so that the next one can begin."""
NEVER_AGAIN = {"dagster/max_retries": "0"}
"""Evenings are started again by what the tables lack, and not by Dagster."""
OF_AUTOMATION = NEVER_AGAIN | {"dagster/max_runtime": str(EVENING_TAKES_AT_MOST), "dagster/priority": "1"}
"""What runs for errands carry: they leave the queue before the trainings that stand in it."""

JOBS = (
    dg.define_asset_job("price_history_job", selection=["price_history"]),
    dg.define_asset_job(
        EVENING_JOB,
        # what an evening or a retraining left behind is looked at on a morning after it, by a job of its own
        selection=dg.AssetSelection.assets(*EVENING_ASSETS) - dg.AssetSelection.checks(freshness_checks),
        tags=NEVER_AGAIN,
    ),
    dg.define_asset_job(
        RETRAINING_JOB,
        selection=dg.AssetSelection.assets(*RETRAINING_ASSETS) - dg.AssetSelection.checks(freshness_checks),
        tags={TURN_TAG: "retraining"},
    ),
    dg.define_asset_job(LEADERBOARD_JOB, selection=["leaderboard"]),
)
