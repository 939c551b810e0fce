"""An installation with a real Dagster storage on PostgreSQL, and runs in it that can be made older."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import dagster as dg
from dagster._core.storage.partition_status_cache import AssetPartitionStatus
from pydantic import Field

from ldtm_assets.assets.seals import DagsterEventLog
from ldtm_lib.project import Project

SESSIONS = ["2026-01-05", "2026-01-06", "2026-01-07"]
TICKERS = ["AAPL", "MSFT"]
PARTITIONS = dg.MultiPartitionsDefinition(
    {"date": dg.StaticPartitionsDefinition(SESSIONS), "ticker": dg.StaticPartitionsDefinition(TICKERS)}
)
BY_TICKER = dg.StaticPartitionsDefinition(TICKERS)
SCHEMA = "ldtm_dagster"


class Fails(dg.Config):
    """Which partitions fail."""

    partitions: list[str] = Field(default_factory=list)


@dg.multi_asset(
    specs=[dg.AssetSpec("snapshots", partitions_def=PARTITIONS, skippable=True)],
    check_specs=[dg.AssetCheckSpec("every_ticker_has_a_row", asset="snapshots")],
    partitions_def=PARTITIONS,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def daily_forecast(context: dg.AssetExecutionContext, config: Fails) -> Any:
    """Partitions by date and ticker, with a check of the run and one per partition."""
    for key in context.partition_keys:
        context.log.info(f"looks at {key}")
        if key not in config.partitions:
            context.log_event(dg.AssetMaterialization("snapshots", partition=key, metadata={"key": key}))
    yield dg.AssetCheckResult(asset_key="snapshots", check_name="every_ticker_has_a_row", passed=True)
    if config.partitions:
        raise dg.Failure("some partitions failed", allow_retries=False)


@dg.multi_asset(
    specs=[dg.AssetSpec("registry", partitions_def=BY_TICKER, skippable=True)],
    check_specs=[dg.AssetCheckSpec("folds", asset="registry")],
    partitions_def=BY_TICKER,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def retraining(context: dg.AssetExecutionContext) -> Any:
    """Tickers, with an evaluation of a check for each."""
    registry = dg.AssetKey("registry")
    for key in context.partition_keys:
        context.log_event(
            dg.AssetCheckEvaluation(
                asset_key=registry, check_name="folds", passed=key == "AAPL", partition=key, metadata={"of": key}
            )
        )
        context.add_asset_metadata(asset_key=registry, partition_key=key, metadata={"key": key})
    yield dg.MaterializeResult(asset_key=registry)
    yield dg.AssetCheckResult(asset_key=registry, check_name="folds", passed=True)


@dg.asset
def leaderboard() -> dg.MaterializeResult:
    """Unpartitioned."""
    return dg.MaterializeResult(metadata={"kind": "live"})


DEFINITIONS = dg.Definitions(
    assets=[daily_forecast, retraining, leaderboard, dg.AssetSpec("seals")],
    jobs=[
        dg.define_asset_job("daily_job", selection=["snapshots"]),
        dg.define_asset_job("retraining_job", selection=["registry"]),
        dg.define_asset_job("leaderboard_job", selection=["leaderboard"]),
    ],
    executor=dg.in_process_executor,
)


@dataclass(slots=True)
class DagsterInstallation:
    """An installation, and what a test does to it."""

    project: Project
    instance: dg.DagsterInstance
    runs: list[str] = field(default_factory=list[str])

    def daily_run(self, session: str, *, fails: tuple[str, ...] = (), days_ago: float = 0) -> str:
        config = {"ops": {"daily_forecast": {"config": {"partitions": list(fails)}}}}
        return self._run("daily_job", f"{session}|AAPL", f"{session}|MSFT", config, days_ago)

    def retraining(self, *tickers: str, days_ago: float = 0) -> str:
        return self._run("retraining_job", tickers[0], tickers[-1], {}, days_ago)

    def leaderboard(self, *, days_ago: float = 0) -> str:
        return self._run("leaderboard_job", None, None, {}, days_ago)

    def seal(self, number: int) -> None:
        """A seal published as `ldtm_assets/event_log.py` does it."""
        metadata = {"seal": number, "SHA-256": number.to_bytes(32, "big").hex()}
        self.instance.report_runless_asset_event(dg.AssetMaterialization("seals", metadata=metadata))

    def seals(self) -> list[int]:
        published = DagsterEventLog(self.instance).read()
        assert published.problems == ()
        return sorted(published.seals)

    def rows(self, query: str, schema: str = SCHEMA) -> list[tuple[Any, ...]]:
        with self.project.database.with_schema(schema).transaction() as conn:
            return conn.execute(query.encode()).fetchall()

    def num_events(self, run_id: str) -> int:
        return len(self.instance.all_logs(run_id))

    def page(self) -> dict[str, Any]:
        """What the UI shows of every asset, worked out again from the events."""
        shown: dict[str, Any] = {}
        for name, partitions_def in (("snapshots", PARTITIONS), ("registry", BY_TICKER), ("leaderboard", None)):
            key = dg.AssetKey(name)
            newest = self.instance.get_latest_materialization_event(key)
            history = self.instance.fetch_materializations(key, limit=1000).records
            checks = self._checks(key, "folds" if name == "registry" else "every_ticker_has_a_row")
            shown[name] = {
                "newest": newest and (newest.run_id, newest.timestamp),
                "history": [(r.storage_id, r.partition_key, _metadata(r)) for r in history],
                "checks": checks,
            }
            if partitions_def is not None:
                self.instance.wipe_asset_cached_status([key])
                status = (
                    self.instance.get_status_by_partition(key, partitions_def.get_partition_keys(), partitions_def)
                    or {}
                )
                shown[name]["status"] = {k: v.value for k, v in sorted(status.items()) if v is not None}
        return shown

    def status(self, asset: str) -> dict[str, str]:
        """State of the partitions of an asset that have one."""
        return self.page()[asset]["status"]

    def _checks(self, key: dg.AssetKey, name: str) -> list[tuple[Any, ...]]:
        found = self.instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(key, name), limit=1000
        )
        return [(c.id, c.run_id, c.status.value, c.partition, c.event is not None) for c in found]

    def _run(self, job: str, first: str | None, last: str | None, config: dict[str, Any], days_ago: float) -> str:
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        result = DEFINITIONS.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            tags={name: value for name, value in tags.items() if value},
            run_config={**config, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )
        self.runs.append(result.run_id)
        age = timedelta(days=days_ago)
        with self.project.dagster_database.transaction() as conn:
            conn.execute(
                "update runs set start_time = start_time - %(seconds)s, end_time = end_time - %(seconds)s,"
                " create_timestamp = create_timestamp - %(age)s, update_timestamp = update_timestamp - %(age)s"
                " where run_id = %(run_id)s",
                {"run_id": result.run_id, "age": age, "seconds": age.total_seconds()},
            )
        folder = self.project.home / "dagster" / result.run_id / "compute_logs"
        folder.mkdir(parents=True)
        (folder / "step.err").write_text("a line\n")
        return result.run_id


def _metadata(record: dg.EventLogRecord) -> dict[str, object]:
    assert record.asset_materialization is not None
    return {name: value.value for name, value in record.asset_materialization.metadata.items()}


MATERIALIZED, FAILED = AssetPartitionStatus.MATERIALIZED.value, AssetPartitionStatus.FAILED.value
