"""Exports: ONNX files and engines of the active models of any tickers, in one step.

One step makes both assets: Dagster would skip a separate step of engines for all tickers as soon as one of them had
no ONNX file.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from ldtm_assets.asset_checks.agreement import ENGINE_AGREES, EXPORT_AGREES, agreement_check_specs, agreement_checks
from ldtm_assets.assets.onnx_model import (
    ONNX_MODEL,
    agreement_of_models,
    exported_models,
    exported_universe,
    onnx_model_spec,
)
from ldtm_assets.assets.tensorrt_engine import (
    TENSORRT_ENGINE,
    agreement_of_engines,
    built_engines,
    tensorrt_engine_spec,
)
from ldtm_assets.materialization import Outcome, fail_if_any_failed, log_outcome, record
from ldtm_assets.partitions import require_range
from ldtm_assets.resources import ProjectResource
from ldtm_assets.run_tags import tag_with_process
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.project import Project
from ldtm_lib.registry.engines import export_engines
from ldtm_lib.registry.exports import export_models
from ldtm_lib.sessions import exchange_calendar

EXPORT_JOB = "export_job"
"""The job of both assets, which leaves engines out if the configuration does not select TensorRT."""


def exports(tickers: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The assets of an export, partitioned by ticker, with their checks."""

    @dg.multi_asset(
        name="model_export",
        description="Exports active models as ONNX files and TensorRT engines, certifies them, and makes the file of "
        "the universe.",
        specs=[onnx_model_spec(tickers), tensorrt_engine_spec(tickers)],
        check_specs=agreement_check_specs(tickers, onnx_model=ONNX_MODEL, tensorrt_engine=TENSORRT_ENGINE),
        partitions_def=tickers,
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def assets(context: dg.AssetExecutionContext, project: ProjectResource) -> Any:
        tag_with_process(context)
        require_range(context.run.tags, context.partition_keys)
        step = _Export(context, project.open())
        yield from step.models()
        yield from step.engines()
        step.close()

    return assets


class _Export:
    """The stages of one export, each of which yields the results of its asset if that was selected."""

    def __init__(self, context: dg.AssetExecutionContext, project: Project) -> None:
        self._context, self._project, self._calendar = context, project, exchange_calendar()
        self._outcomes: dict[str, Outcome] = {}

    def models(self) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        """Write and certify ONNX files."""
        context = self._context
        if ONNX_MODEL not in context.selected_asset_keys:
            return
        report = export_models(self._project, self._calendar, made_at=datetime.now(UTC), tickers=context.partition_keys)
        yield from self._conclude(ONNX_MODEL, exported_models(report))
        for universe in exported_universe(report):
            context.log_event(universe)
        yield from agreement_checks(context, ONNX_MODEL, EXPORT_AGREES, agreement_of_models(report))

    def engines(self) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        """Build and certify engines. Raises ConfigurationError if the configuration does not select TensorRT."""
        context, config = self._context, self._project.settings.export
        if TENSORRT_ENGINE not in context.selected_asset_keys:
            return
        if config.engine == "none":
            if context.run.job_name != EXPORT_JOB:
                raise ConfigurationError(
                    f'no engine was built: export.engine of {self._project.settings.path.name} is "none"; set it to '
                    '"tensorrt" or "tensorrt-rtx", or materialize onnx_model alone'
                )
            context.log.info('no engine was built: export.engine is "none"')
            return
        report = export_engines(
            self._project,
            self._calendar,
            made_at=datetime.now(UTC),
            tickers=context.partition_keys,
            flavour=config.engine,
            precision=config.engine_precision,
            compute_capability=config.engine_compute_capability,
        )
        if ONNX_MODEL not in context.selected_asset_keys:  # ONNX files that the engines lacked were exported as well
            log_outcome(context, ONNX_MODEL.to_user_string(), exported_models(report.onnx, new_alone=True))
            for universe in exported_universe(report.onnx, new_alone=True):
                context.log_event(universe)
        yield from self._conclude(TENSORRT_ENGINE, built_engines(report))
        yield from agreement_checks(context, TENSORRT_ENGINE, ENGINE_AGREES, agreement_of_engines(report))

    def close(self) -> None:
        """Fail the step if a partition of any stage failed."""
        fail_if_any_failed(self._outcomes)

    def _conclude(self, asset: dg.AssetKey, outcome: Outcome) -> Iterator[dg.MaterializeResult]:
        name = asset.to_user_string()
        self._outcomes[name] = outcome
        is_whole = len(outcome.done) == len(self._context.partition_keys)
        yield from record(self._context, name, outcome, whole_range=is_whole)
