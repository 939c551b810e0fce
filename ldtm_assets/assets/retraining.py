"""Retraining: backtests, checkpoints and promotion of any tickers, in one step of one process.

One step makes all three assets: the folds of all backtests and the final models of all tickers are trained in one
call, and a ticker that cannot be trained does not affect the others.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import dagster as dg
from pydantic import Field

from ldtm_assets.asset_checks.gate import gate_check_specs, gate_checks
from ldtm_assets.asset_checks.training import training_check, training_check_specs
from ldtm_assets.assets.backtests import backtests_spec, trained_backtests
from ldtm_assets.assets.checkpoints import checkpoints_spec, trained_checkpoints
from ldtm_assets.assets.registry import outcome_of_gate, registry_spec, remove_unneeded_files
from ldtm_assets.materialization import Metadata, Outcome, fail_if_any_failed, record
from ldtm_assets.partitions import require_range
from ldtm_assets.resources import ProjectResource
from ldtm_assets.run_tags import tag_with_process
from ldtm_assets.training.placement import training_place
from ldtm_assets.training.progress import TrainingReporter
from ldtm_assets.training.stage import train
from ldtm_lib.database.clock import last_closed_session
from ldtm_lib.ledger.monitoring import degraded_checkpoints
from ldtm_lib.maintenance.dagster_status import GPU_POOL
from ldtm_lib.project import Project
from ldtm_lib.registry.gate_run import run_gate
from ldtm_lib.registry.trained_network import Part
from ldtm_lib.sessions import Calendar, exchange_calendar

TRAINED_PARTS: dict[str, Part] = {"backtests": "backtest", "checkpoints": "checkpoint"}
"""The parts of a training by asset."""


class RetrainingConfig(dg.Config):
    """Data and device of the training."""

    trained_on: str | None = Field(
        default=None,
        description="The last session whose bars the models may see, YYYY-MM-DD. Default: the newest closed session.",
    )
    device: str = Field(
        default="auto",
        description="`cpu`, `cuda` for the GPU with the most free memory, `cuda:N` for one GPU, or `auto` for CUDA if "
        "available.",
    )
    universe_alone: bool = Field(
        default=False,
        description="Leave out the tickers of the range that have left the universe. The weekly retraining sets this.",
    )


def retraining(tickers: dg.PartitionsDefinition[str], *, strict: bool) -> dg.AssetsDefinition:
    """The assets of a retraining, partitioned by ticker."""

    @dg.multi_asset(
        name="retraining",
        description="Backtests, trains and judges networks for the selected tickers, and promotes those that pass the "
        "gate.",
        specs=[backtests_spec(tickers), checkpoints_spec(tickers), registry_spec(tickers)],
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
        tag_with_process(context)
        require_range(context.run.tags, context.partition_keys)
        step = _Retraining(context, config, project.open(), exchange_calendar())
        yield from step.train(reporter)
        yield from step.promote()
        step.close()

    return assets


class _Retraining:
    """The stages of one retraining, each of which yields the results of its assets that were selected."""

    def __init__(
        self, context: dg.AssetExecutionContext, config: RetrainingConfig, project: Project, calendar: Calendar
    ) -> None:
        self._context, self._config, self._project, self._calendar = context, config, project, calendar
        self._removed = self._removed_tickers() if config.universe_alone else {}
        self._tickers = [ticker for ticker in context.partition_keys if ticker not in self._removed]
        self._selected = {key.to_user_string() for key in context.selected_asset_keys}
        self._outcomes: dict[str, Outcome] = {}

    def train(self, reporter: TrainingReporter) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        """Train and test networks in a leased slot."""
        parts: list[Part] = [part for asset, part in TRAINED_PARTS.items() if asset in self._selected]
        if not parts:
            return
        log = self._context.log.info
        with training_place(self._project, self._config.device, log, reporter, num_tickers=len(self._tickers)) as place:
            report = train(
                self._project,
                self._calendar,
                self._tickers,
                place,
                trained_on=self._trained_on(),
                parts=parts,
                log=log,
                reporter=reporter,
            )
        if "backtests" in self._selected:
            yield from self._conclude("backtests", trained_backtests(report))
        if "checkpoints" in self._selected:
            yield from self._conclude("checkpoints", trained_checkpoints(report))
        yield from training_check(self._context, report)

    def promote(self) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        """Judge the newest candidates at the gate and promote those that pass."""
        if "registry" not in self._selected:
            return
        context, project = self._context, self._project
        with project.database.transaction() as conn:
            result = run_gate(
                conn,
                project.checkpoint_folder,
                self._tickers,
                project.settings,
                degraded=degraded_checkpoints(conn, project.settings),
                run_id=context.run.run_id,
            )
        yield from self._conclude("registry", outcome_of_gate(result))
        yield from gate_checks(context, result.promotions, result.universe, project.settings.gate)
        for alert in result.alerts:
            context.log.log(alert.severity.upper(), f"{alert.subject}: {alert.summary}")
        context.log.info(remove_unneeded_files(project, context.partition_keys))

    def close(self) -> None:
        """Fail the step if a partition of any stage failed."""
        fail_if_any_failed(self._outcomes)

    def _conclude(self, asset: str, outcome: Outcome) -> Iterator[dg.MaterializeResult]:
        self._outcomes[asset] = replace(outcome, done=self._removed | outcome.done)
        yield from record(self._context, asset, self._outcomes[asset])

    def _removed_tickers(self) -> dict[str, Metadata]:
        """The tickers that left the universe, with the metadata that their partitions show instead of a training."""
        settings = self._project.settings
        with self._project.database.transaction() as conn:
            present = frozenset(settings.tickers_on(last_closed_session(conn)))
        return {
            ticker: {"left the universe": str(settings.retired[ticker])}
            for ticker in self._context.partition_keys
            if ticker not in present
        }

    def _trained_on(self) -> date:
        with self._project.database.transaction() as conn:
            newest = last_closed_session(conn)
        if self._config.trained_on is None:
            return newest
        return min(self._calendar.require_session(date.fromisoformat(self._config.trained_on)), newest)
