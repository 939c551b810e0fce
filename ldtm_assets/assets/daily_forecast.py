"""The daily forecast: prices, features, snapshots and fillbacks of any sessions and tickers, in one step.

The four assets are one step of one process, so that each ticker goes as far as it can. As four steps, one ticker
without a bar would fail the first step, and Dagster would skip the other three for all tickers. The seal is made by
the same step for the same reason: Dagster would skip a separate step whenever a ticker fails.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import dagster as dg
from pydantic import Field

from ldtm_assets.asset_checks.daily_run import (
    coverage_check,
    daily_run_check_specs,
    daily_run_checks,
    degradation_check,
)
from ldtm_assets.asset_checks.leakage import leakage_check_specs, leakage_checks
from ldtm_assets.asset_checks.record import record_check_specs, record_checks
from ldtm_assets.assets.features import build_features, features_spec
from ldtm_assets.assets.fillbacks import fill_actuals, fillbacks_spec
from ldtm_assets.assets.prices import fetch_prices, prices_spec
from ldtm_assets.assets.seals import all_publications
from ldtm_assets.assets.snapshots import newest_session, snapshots_spec, take_daily_snapshots
from ldtm_assets.materialization import Metadata, Outcome, fail_if_any_failed, record
from ldtm_assets.partitions import DAILY_ASSETS, DailyLayout, DailyPartition, daily_partitions, require_range
from ldtm_assets.resources import ProjectResource
from ldtm_assets.run_tags import BACKFILL_TAG, PENDING_RETRY_TAG, tag_with_process
from ldtm_assets.session_outcomes import LEFT_UNIVERSE, gathered_by_session
from ldtm_lib.audit.sealing import seal_and_publish
from ldtm_lib.daily_run.attempts import begin_attempt, finish_attempt
from ldtm_lib.daily_run.pending_partitions import attempts_without_row
from ldtm_lib.database.clock import now
from ldtm_lib.database.migrate import extend_calendar
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.ledger.fillbacks import tickers_with_open_fills
from ldtm_lib.ledger.interval_coverage import coverage_records
from ldtm_lib.ledger.monitoring import monitor_active_models
from ldtm_lib.ledger.service import first_sessions, without_row
from ldtm_lib.ledger.simulations import NO_SIMULATION, SimulationPlan, begin_simulation
from ldtm_lib.ledger.snapshots import SnapshotReport
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar, exchange_calendar
from ldtm_lib.settings import AutomationConfig, Settings
from ldtm_lib.wording import counted

Results = Iterator[dg.MaterializeResult | dg.AssetCheckResult]


class DailyForecastConfig(dg.Config):
    """Options for the recording of the forecasts."""

    simulated: bool = Field(
        default=False,
        description="Record the forecasts as a simulation of past sessions, by models that were trained before each "
        "session. All runs of one backfill are one simulation. Rows that are not simulated are live if they are "
        "recorded before the next session opens, by the database's clock. A backfill of past sessions without this "
        "option records late rows, which only `ldtm leaderboard --late` counts.",
    )
    only: list[str] = Field(
        default=[],
        description="Tickers of the range to process; all of them if empty. The other tickers of the range do not "
        "change.",
    )


def daily_forecast(layout: DailyLayout) -> dg.AssetsDefinition:
    """The assets of a daily run, partitioned as `layout` says."""

    @dg.multi_asset(
        name="daily_forecast",
        description="Bars, windows, forecasts and actuals of the selected sessions and tickers, then checks and the "
        "seal.",
        specs=[
            prices_spec(layout),
            features_spec(layout),
            snapshots_spec(layout),
            fillbacks_spec(layout),
        ],
        check_specs=[*daily_run_check_specs(), *record_check_specs(), *leakage_check_specs()],
        partitions_def=layout.definition,
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def assets(context: dg.AssetExecutionContext, config: DailyForecastConfig, project: ProjectResource) -> Any:
        tag_with_process(context)
        run = DailyRun(context, config, project.open(), exchange_calendar())
        run.prepare()
        yield from run.prices()
        yield from run.features()
        yield from run.snapshots()
        yield from run.fillbacks()
        yield from run.close()

    return assets


class DailyRun:
    """The stages of one daily run; each yields the results of its asset and checks, where they were selected.

    The partitions that are ready shrink from stage to stage: one that failed and is worth a retry leaves the run.
    """

    def __init__(
        self, context: dg.AssetExecutionContext, config: DailyForecastConfig, project: Project, calendar: Calendar
    ) -> None:
        self._context, self._config, self._project, self._calendar = context, config, project, calendar
        self._selected = {key.to_user_string() for key in context.selected_asset_keys}
        self._outcomes: dict[str, Outcome] = {}
        self._reports: list[SnapshotReport] = []
        self._simulation_id = NO_SIMULATION
        self._attempted: list[DailyPartition] = []
        self._is_by_session = project.settings.partitions.by == "date"

    def prepare(self) -> None:
        """Classify the partitions, and record an attempt at them before the work begins."""
        require_range(self._context.run.tags, self._context.partition_keys)
        keys = daily_partitions(self._context.partition_keys, self._project.settings.tickers)
        with self._project.database.transaction() as conn:
            extend_calendar(conn, self._calendar)
            self._moment = now(conn)
            partitions = partitions_of_tickers(keys, self._config.only)
            self._requested = classify(partitions, self._project.settings, self._calendar, self._moment)
            removed = self._requested.removed
            open_tickers = tickers_with_open_fills(conn, {partition.ticker for partition in removed})
        self._ready = self._requested.ready
        self._waiting = dict(self._requested.refused)
        self._only_filled = [partition for partition in removed if partition.ticker in open_tickers]
        retired = self._project.settings.retired
        self._removed: dict[str, Metadata] = {
            partition.key: {LEFT_UNIVERSE: str(retired[partition.ticker])} for partition in removed
        }
        if "snapshots" in self._selected and not self._config.simulated:
            self._leave_tickers_not_in_service()
            self._announce_late_rows()
        if self._selected.issuperset(DAILY_ASSETS) and not self._config.simulated:
            self._attempted = [*self._ready, *removed]
        with self._project.database.transaction() as conn:
            if self._config.simulated:
                self._simulation_id = begin_simulation(conn, SimulationPlan(origin=origin_of(self._context.run)))
            begin_attempt(conn, [(partition.session, partition.ticker) for partition in self._attempted])

    def _leave_tickers_not_in_service(self) -> None:
        """Leave out the partitions whose tickers get no row yet; other runs train these tickers first."""
        tickers_of: dict[date, list[str]] = defaultdict(list)
        for partition in self._ready:
            tickers_of[partition.session].append(partition.ticker)
        with self._project.database.transaction() as conn:
            entered = first_sessions(conn, {partition.ticker for partition in self._ready})
        waiting = {
            DailyPartition(session, ticker)
            for session, tickers in tickers_of.items()
            for ticker in without_row(tickers, session, entered, calendar=self._calendar, moment=self._moment)
        }
        self._ready = [partition for partition in self._ready if partition not in waiting]
        self._removed |= {
            partition.key: {"not in service": "enters service with the gate's first verdict on it"}
            for partition in waiting
        }

    def _announce_late_rows(self) -> None:
        """Log that rows of this run will be late, before they are written."""
        opened = [
            session
            for session in sorted({partition.session for partition in self._ready})
            if self._calendar.opens_at(self._calendar.offset(session, 1)) <= self._moment
        ]
        if opened:
            self._context.log.warning(
                f"new rows of {counted(len(opened), 'session')} ({opened[0]} to {opened[-1]}) will be late, since the "
                "next session has opened; only `ldtm leaderboard --late` counts them. Set `simulated` for a simulation"
            )

    def prices(self) -> Results:
        """Fetch and store the bars."""
        if "prices" not in self._selected:
            return
        outcome = fetch_prices(self._project, self._calendar, [*self._ready, *self._only_filled])
        yield from self._conclude("prices", outcome)
        num_attempts: dict[str, int] = {}
        if self._attempted:
            with self._project.database.transaction() as conn:
                found = attempts_without_row(conn, self._project.settings, self._calendar, self._moment)
            num_attempts = {DailyPartition(*key).key: num for key, num in found.items()}
        self._drop_pending_retries(outcome, num_attempts)

    def features(self) -> Results:
        """Compute and store the input windows."""
        if "features" not in self._selected:
            return
        outcome = build_features(self._project, self._calendar, self._ready)
        yield from self._conclude("features", outcome)
        self._drop_pending_retries(outcome, {})

    def snapshots(self) -> Results:
        """Put the forecasts on record."""
        if "snapshots" not in self._selected:
            return
        outcome, self._reports = take_daily_snapshots(self._project, self._calendar, self._ready, self._simulation_id)
        yield from self._conclude("snapshots", outcome)
        if self._reports and self._reports[-1].rows and not self._is_by_session:
            self._context.log_event(newest_session(self._reports[-1]))

    def fillbacks(self) -> Results:
        """Fill the actuals that are due, and check the active models and the intervals by their new track record."""
        if "fillbacks" not in self._selected:
            return
        settings = self._project.settings
        yield from self._conclude("fillbacks", fill_actuals(self._project, [*self._ready, *self._only_filled]))
        with self._project.database.transaction() as conn:
            report = monitor_active_models(conn, settings)
            coverage = coverage_records(conn, settings.intervals, num_tickers=len(settings.tickers))
        yield from degradation_check(self._context, self._project, report)
        yield from coverage_check(self._context, coverage)
        for alert in report.alerts:
            self._context.log.log(alert.severity.upper(), f"{alert.subject}: {alert.summary}")

    def close(self) -> Results:
        """Evaluate the checks, seal the record, finish the attempt, and fail the step if a partition failed."""
        context, project = self._context, self._project
        failed = {key for outcome in self._outcomes.values() for key in outcome.failed}
        yield from daily_run_checks(
            context, project, self._requested.ready, self._reports, waiting=failed, simulation_id=self._simulation_id
        )
        yield from leakage_checks(context, project, self._calendar, self._requested.ready, self._simulation_id)
        if {"snapshots", "fillbacks"} & self._outcomes.keys():
            publications = all_publications(project, context.instance)
            sealing = seal_and_publish(project.database, publications)
            context.log.info(sealing.summary)
            yield from record_checks(context, project, self._calendar, publications, sealing)
        self._finish_attempt()
        if failed:
            tag = {PENDING_RETRY_TAG: f"{context.run.run_id} {len(failed)}"}
            context.instance.add_run_tags(context.run.run_id, tag)
        fail_if_any_failed(self._outcomes)

    def _conclude(self, asset: str, outcome: Outcome) -> Iterator[dg.MaterializeResult]:
        failed = {key: reason for key, reason in outcome.failed.items() if key not in self._removed} | self._waiting
        self._outcomes[asset] = replace(outcome, done=self._removed | outcome.done, failed=failed)
        shown = gathered_by_session(self._outcomes[asset]) if self._is_by_session else self._outcomes[asset]
        yield from record(self._context, asset, shown, whole_range=not self._config.only)

    def _drop_pending_retries(self, outcome: Outcome, num_attempts: Mapping[str, int]) -> None:
        failed = [partition for partition in self._ready if partition.key in outcome.failed]
        automation = self._project.settings.automation
        retries = pending_retries(failed, self._calendar, self._moment, automation, num_attempts)
        self._waiting.update(retries)
        self._ready = [partition for partition in self._ready if partition.key not in retries]

    def _finish_attempt(self) -> None:
        """Record the result of the attempt: a partition is done if no stage failed it, and keeps the first reason."""
        reasons: dict[str, str] = {}
        for outcome in self._outcomes.values():
            reasons = outcome.failed | reasons
        keys = {partition.key: (partition.session, partition.ticker) for partition in self._attempted}
        with self._project.database.transaction() as conn:
            finish_attempt(
                conn,
                done=[partition for key, partition in keys.items() if key not in reasons],
                failed={partition: reasons[key] for key, partition in keys.items() if key in reasons},
            )


def origin_of(run: dg.DagsterRun) -> str:
    """Identity of a simulation of daily runs: the backfill, or the run with all its re-executions."""
    backfill = run.tags.get(BACKFILL_TAG)
    return f"backfill {backfill}" if backfill else f"run {run.root_run_id or run.run_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedPartitions:
    """The partitions of a run, classified by what the run can do with them."""

    ready: list[DailyPartition]
    refused: dict[str, str]
    """Partitions of sessions that have not closed; the reason by partition key."""
    removed: list[DailyPartition]
    """Partitions of tickers that had left the universe by their session."""


def partitions_of_tickers(partitions: Sequence[DailyPartition], only: Sequence[str]) -> list[DailyPartition]:
    """The partitions of some tickers, or all of them when none is named.

    Raises ConfigurationError for a ticker that has no partition among them.
    """
    if absent := sorted(set(only) - {partition.ticker for partition in partitions}):
        raise ConfigurationError(
            f"`only` names {', '.join(absent)}, for which the run has no partition; launch it with a range that "
            "contains all tickers of `only`"
        )
    chosen = set(only)
    return [partition for partition in partitions if not chosen or partition.ticker in chosen]


def classify(
    partitions: Sequence[DailyPartition], settings: Settings, calendar: Calendar, moment: datetime
) -> RequestedPartitions:
    """Classify partitions at a moment; Dagster does not validate the ranges of partitions that a run requests."""
    newest = calendar.last_closed(moment)
    requested = RequestedPartitions(ready=[], refused={}, removed=[])
    present = {session: set(settings.tickers_on(session)) for session in {each.session for each in partitions}}
    for partition in partitions:
        if partition.session > newest:
            requested.refused[partition.key] = (
                f"session {partition.session} has not closed; the newest closed one is {newest}"
            )
        elif partition.ticker not in present[partition.session]:
            requested.removed.append(partition)
        else:
            requested.ready.append(partition)
    return requested


def pending_retries(
    partitions: Sequence[DailyPartition],
    calendar: Calendar,
    moment: datetime,
    config: AutomationConfig,
    num_attempts: Mapping[str, int],
) -> dict[str, str]:
    """The failed partitions that wait for a retry instead of an abstention; the reason by partition key.

    An abstention is final. It is not written while a retry may still bring the bar before the target session of the
    forecast opens. After the open it is written only after `report_after_attempts` attempts, since the source may need
    some more minutes when an outage ends. `num_attempts` holds the attempts, by partition key, of the partitions that
    automation retries (see `attempts_without_row`).
    """
    opens = {
        session: calendar.opens_at(calendar.offset(session, 1))
        for session in {partition.session for partition in partitions}
    }
    waiting: dict[str, str] = {}
    for partition in partitions:
        opens_at, attempts = opens[partition.session], num_attempts.get(partition.key, config.report_after_attempts)
        if moment < opens_at:
            waiting[partition.key] = f"waits for its bar; retries are possible until {opens_at:%Y-%m-%d %H:%M} UTC"
        elif attempts < config.report_after_attempts:
            waiting[partition.key] = (
                f"waits for its bar; this was attempt {attempts}, and the ticker abstains after attempt "
                f"{config.report_after_attempts}"
            )
    return waiting
