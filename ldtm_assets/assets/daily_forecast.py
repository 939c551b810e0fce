"""The evening: prices, features, snapshots and fillbacks of any sessions and tickers, in one step of one process.

Four assets, one step: each ticker goes as far as it can. Were they four steps, one ticker without a bar would fail
the first of them, and Dagster would skip the other three for all tickers. The step ends with the evening's seal, for
the same reason: an asset of its own would be skipped on the evenings on which a ticker fails.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import dagster as dg

from ldtm_assets.asset_checks.daily_run import daily_run_check_specs, daily_run_checks, watch_check
from ldtm_assets.asset_checks.leakage import leakage_check_specs, leakage_checks
from ldtm_assets.asset_checks.record import record_check_specs, record_checks
from ldtm_assets.assets.daily_partitions import (
    attempts_by_partition,
    begin,
    finish,
    pending_retries,
    restrict,
    sort_out,
)
from ldtm_assets.assets.features import build_features
from ldtm_assets.assets.fillbacks import fill_actuals
from ldtm_assets.assets.materialization import Metadata, Outcome, fail_if_any_failed, record
from ldtm_assets.assets.prices import bring_prices
from ldtm_assets.assets.publications import all_publications
from ldtm_assets.assets.snapshots import take_daily_snapshots
from ldtm_assets.automation.dead_runs import tag_with_process
from ldtm_assets.jobs import DAILY_ASSETS, PENDING_RETRY_TAG
from ldtm_assets.partitions import DailyPartition, earlier_sessions, same_ticker
from ldtm_assets.resources import ProjectResource
from ldtm_lib.audit.sealing import seal_and_publish
from ldtm_lib.database.clock import now
from ldtm_lib.database.migrate import extend_calendar
from ldtm_lib.ledger.fillbacks import tickers_with_open_fills
from ldtm_lib.ledger.monitoring import monitor_active_models
from ldtm_lib.ledger.snapshots import SnapshotReport
from ldtm_lib.sessions import ONE_MONTH_SESSIONS, exchange_calendar


class DailyForecastConfig(dg.Config):
    """How an evening is to be recorded."""

    simulated: bool = False
    """Mark the forecasts as simulated: made for past sessions by a backfill or a demo. Whether one that is not
    simulated counts as live is for the database's clock to decide."""
    only: list[str] = []  # noqa: RUF012 a default as Dagster takes it
    """The tickers to work on; all that were asked for when empty. The others of the range are left as they are."""


def daily_forecast(partitions: dg.MultiPartitionsDefinition) -> dg.AssetsDefinition:
    """The assets of an evening, partitioned by session and ticker."""

    def spec(
        name: str, deps: Sequence[Any], description: str, kinds: set[str], group: str = "forecasts"
    ) -> dg.AssetSpec:
        return dg.AssetSpec(
            name,
            deps=deps,
            description=description,
            partitions_def=partitions,
            group_name=group,
            kinds=kinds,
            skippable=True,
        )

    history = dg.AssetDep("price_history", partition_mapping=same_ticker())
    registry = dg.AssetDep("registry", partition_mapping=same_ticker())
    snapshots_so_far = dg.AssetDep("snapshots", partition_mapping=earlier_sessions(ONE_MONTH_SESSIONS))

    @dg.multi_asset(
        name="daily_forecast",
        specs=[
            spec(
                "prices",
                [history],
                "The bar of one session, split-adjusted, every vintage kept.",
                {"postgres"},
                "prices",
            ),
            spec(
                "features",
                ["prices", history],
                "The 30 x 11 window that a model is shown after the close, or why there is none.",
                {"postgres", "polars"},
            ),
            spec(
                "snapshots",
                ["features", registry],
                "The forecast on record after the close: three prices and a direction, or why it abstained.",
                {"postgres", "pytorch"},
            ),
            spec(
                "fillbacks",
                ["prices", snapshots_so_far],
                "The actuals that this session's close brought to earlier forecasts of the ticker.",
                {"postgres"},
            ),
        ],
        check_specs=[*daily_run_check_specs(), *record_check_specs(), *leakage_check_specs()],
        partitions_def=partitions,
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def assets(context: dg.AssetExecutionContext, config: DailyForecastConfig, project: ProjectResource) -> Any:
        tag_with_process(context)
        opened, calendar = project.open(), exchange_calendar()
        partitions = restrict([DailyPartition.parse(key) for key in context.partition_keys], config.only)
        with opened.database.transaction() as conn:
            extend_calendar(conn, calendar)
            moment = now(conn)
            asked = sort_out(partitions, opened.settings, calendar, moment)
            open_tickers = tickers_with_open_fills(conn, {partition.ticker for partition in asked.departed})
        followed = [partition for partition in asked.departed if partition.ticker in open_tickers]
        departed: dict[str, Metadata] = {
            partition.key: {"left the universe": str(opened.settings.retired[partition.ticker])}
            for partition in asked.departed
        }
        ready, waiting = asked.ready, dict(asked.refused)
        outcomes: dict[str, Outcome] = {}
        reports: list[SnapshotReport] = []
        selected = {key.to_user_string() for key in context.selected_asset_keys}
        is_attempt = selected.issuperset(DAILY_ASSETS) and not config.simulated
        attempted = [*asked.ready, *asked.departed] if is_attempt else []
        begin(opened, attempted)

        def conclude(name: str, outcome: Outcome) -> Iterator[dg.MaterializeResult]:
            failed = {key: reason for key, reason in outcome.failed.items() if key not in departed} | waiting
            outcomes[name] = replace(outcome, done=departed | outcome.done, failed=failed)
            yield from record(context, name, outcomes[name], whole_range=not config.only)

        def hold_back(outcome: Outcome, num_attempts: Mapping[str, int]) -> list[DailyPartition]:
            failed = [partition for partition in ready if partition.key in outcome.failed]
            late = pending_retries(failed, calendar, moment, opened.settings.automation, num_attempts)
            waiting.update(late)
            return [partition for partition in ready if partition.key not in late]

        if "prices" in selected:
            prices = bring_prices(opened, calendar, [*ready, *followed])
            yield from conclude("prices", prices)
            ready = hold_back(prices, attempts_by_partition(opened, calendar, moment) if attempted else {})
        if "features" in selected:
            features = build_features(opened, calendar, ready)
            yield from conclude("features", features)
            ready = hold_back(features, {})
        if "snapshots" in selected:
            snapshots, reports = take_daily_snapshots(opened, calendar, ready, config.simulated)
            yield from conclude("snapshots", snapshots)
        if "fillbacks" in selected:
            yield from conclude("fillbacks", fill_actuals(opened, [*ready, *followed]))
            with opened.database.transaction() as conn:
                watch = monitor_active_models(conn, opened.settings)
            yield from watch_check(context, opened, watch)
            for alert in watch.alerts:
                context.log.log(alert.severity.upper(), f"{alert.subject}: {alert.summary}")
        failed = {key for outcome in outcomes.values() for key in outcome.failed}
        yield from daily_run_checks(context, opened, asked.ready, reports, waiting=failed)
        yield from leakage_checks(context, opened, calendar, asked.ready)
        if {"snapshots", "fillbacks"} & outcomes.keys():
            publications = all_publications(opened, context.instance)
            closing = seal_and_publish(opened.database, publications)
            context.log.info(closing.summary)
            yield from record_checks(context, opened, calendar, publications, closing)
        finish(opened, attempted, outcomes)
        if failed:
            context.instance.add_run_tags(
                context.run.run_id, {PENDING_RETRY_TAG: f"{context.run.run_id} {len(failed)}"}
            )
        fail_if_any_failed(outcomes)

    return assets
