"""The retraining: backtests, checkpoints and promotion of any tickers, in one step of one process.

Three assets, one step: the folds of all backtests and the final models of all tickers are trained in one call, and a
ticker that cannot be trained takes no other one with it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import dagster as dg

from ldtm_assets.asset_checks.gate import gate_check_specs, gate_checks
from ldtm_assets.asset_checks.training import training_check, training_check_specs
from ldtm_assets.assets.checkpoints import PARTS, outcome_of, train
from ldtm_assets.assets.materialization import Metadata, Outcome, fail_if_any_failed, record
from ldtm_assets.assets.registry import pass_the_gate, remove_unneeded_files
from ldtm_assets.automation.dead_runs import put_mark
from ldtm_assets.partitions import as_a_whole
from ldtm_assets.resources import ProjectResource
from ldtm_assets.training.gpus import GPU_POOL
from ldtm_assets.training.placement import HoldingReporter, training_place
from ldtm_assets.training.progress import TrainingReporter
from ldtm_lib.database.clock import last_closed_session
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar, exchange_calendar


class RetrainingConfig(dg.Config):
    """What the training may see."""

    trained_on: str | None = None
    """The last session whose bars the models may see, YYYY-MM-DD; the newest closed one when absent."""
    device: str = "auto"
    """`cpu`, `cuda` for the GPU with the most room, `cuda:N` for one, or `auto` for CUDA where there is one."""
    universe_alone: bool = False
    """Leave out the tickers of the range that have left the universe, as the weekly retraining does; a person gets
    what a person asks for."""


def retraining(tickers: dg.PartitionsDefinition[str], *, strict: bool) -> dg.AssetsDefinition:
    """The assets of a retraining, partitioned by ticker."""

    def spec(name: str, deps: Sequence[Any], description: str, kinds: set[str]) -> dg.AssetSpec:
        return dg.AssetSpec(
            name,
            deps=deps,
            description=description,
            partitions_def=tickers,
            group_name="models",
            kinds=kinds,
            skippable=True,
        )

    bars = [dg.AssetDep("price_history"), dg.AssetDep("prices", partition_mapping=as_a_whole())]

    @dg.multi_asset(
        name="retraining",
        specs=[
            spec(
                "backtests",
                bars,
                "What a model of this ticker's kind did on sessions it never saw: walk-forward, purged, fold by fold.",
                {"pytorch", "postgres"},
            ),
            spec("checkpoints", bars, "One trained network of the ticker, candidate for promotion.", {"pytorch"}),
            spec(
                "registry",
                ["backtests", "checkpoints"],
                "The gate's verdict on the ticker's newest candidate; when it passes, the active model.",
                {"postgres"},
            ),
        ],
        check_specs=[*training_check_specs(), *gate_check_specs(tickers, strict=strict)],
        partitions_def=tickers,
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=GPU_POOL,
    )
    def assets(
        context: dg.AssetExecutionContext,
        config: RetrainingConfig,
        project: ProjectResource,
        reporter: dg.ResourceParam[TrainingReporter],
    ) -> Any:
        put_mark(context)
        opened, calendar = project.open(), exchange_calendar()
        departed = _departed(opened, context.partition_keys) if config.universe_alone else {}
        tickers = [ticker for ticker in context.partition_keys if ticker not in departed]
        selected = {key.to_user_string() for key in context.selected_asset_keys}
        outcomes: dict[str, Outcome] = {}

        def conclude(name: str, outcome: Outcome) -> Iterator[dg.MaterializeResult]:
            outcomes[name] = replace(outcome, done=departed | outcome.done)
            yield from record(context, name, outcomes[name])

        if selected & set(PARTS):
            with training_place(opened, config.device, context.log.info, reporter) as place:
                report = train(
                    opened,
                    calendar,
                    tickers,
                    trained_on=_trained_on(opened, calendar, config),
                    parts=selected,
                    device=place.device,
                    gpu_index=place.gpu_index,
                    log=context.log.info,
                    reporter=HoldingReporter(reporter, place.lease),
                )
            for name, part in PARTS.items():
                if name in selected:
                    yield from conclude(name, outcome_of(report, part))
            yield from training_check(context, report)
        if "registry" in selected:
            passage = pass_the_gate(opened, tickers, context.run.run_id)
            yield from conclude("registry", passage.outcome)
            yield from gate_checks(context, passage.promotions, passage.universe, opened.settings.gate)
            for alert in passage.alerts:
                context.log.log(alert.severity.upper(), f"{alert.subject}: {alert.summary}")
            context.log.info(remove_unneeded_files(opened, context.partition_keys))
        fail_if_any_failed(outcomes)

    return assets


def _departed(project: Project, tickers: Sequence[str]) -> dict[str, Metadata]:
    """Those tickers that belong to the universe no more, with what their partitions show instead of a training."""
    with project.database.transaction() as conn:
        present = project.settings.tickers_on(last_closed_session(conn))
    retired = project.settings.retired
    return {ticker: {"left the universe": str(retired[ticker])} for ticker in tickers if ticker not in present}


def _trained_on(project: Project, calendar: Calendar, config: RetrainingConfig) -> date:
    with project.database.transaction() as conn:
        newest = last_closed_session(conn)
    if config.trained_on is None:
        return newest
    return min(calendar.require_session(date.fromisoformat(config.trained_on)), newest)
