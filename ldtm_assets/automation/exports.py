"""The sensor that exports active models: after a promotion, a rollback, or a loss of files."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import dagster as dg

from ldtm_assets.assets.exports import EXPORT_JOB
from ldtm_assets.assets.onnx_model import ONNX_MODEL
from ldtm_assets.assets.tensorrt_engine import TENSORRT_ENGINE
from ldtm_assets.automation.run_requests import contiguous, poll
from ldtm_assets.partitions import partition_range
from ldtm_assets.run_tags import UNFINISHED
from ldtm_lib.database.clock import now
from ldtm_lib.database.connection import Connection
from ldtm_lib.project import Project
from ldtm_lib.registry.engines import outdated_engines
from ldtm_lib.registry.exports import ActiveFile, active_files, export_folder, outdated_exports
from ldtm_lib.registry.file_verdicts import FileVerdicts
from ldtm_lib.settings import Settings
from ldtm_lib.wording import named

POLL_SECONDS = 60
RETRY_AFTER = timedelta(hours=1)
"""Time after which the export of the same versions is requested again."""


def export_sensor(
    project: Callable[[], Project], settings: Settings, clock: Callable[[Connection], datetime] = now
) -> dg.SensorDefinition:
    """The sensor that exports outdated models; on by default if exports are enabled or `[forecast] backend` uses them.

    Engines are checked and built if `[export] engine` selects TensorRT; otherwise a run makes only the ONNX files.
    """
    is_on = settings.export.enabled or settings.forecast.backend != "torch"
    verdicts = FileVerdicts()

    @dg.sensor(
        name="export_sensor",
        job_name=EXPORT_JOB,
        minimum_interval_seconds=POLL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if is_on else dg.DefaultSensorStatus.STOPPED,
        description="Exports the active models without a valid export, as after a promotion or a loss of files.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        polled = poll(project, settings, clock, lambda conn, opened, _: active_files(conn, opened.settings.tickers))
        if isinstance(polled, dg.SkipReason):
            return polled
        opened, moment = polled.project, polled.moment
        wanted = _outdated(opened, polled.found, verdicts)
        if not wanted:
            return dg.SkipReason("every active model is exported")
        outdated = list(wanted)
        if context.instance.get_runs(dg.RunsFilter(job_name=EXPORT_JOB, statuses=UNFINISHED), limit=1):
            return dg.SkipReason(f"an export is under way; {named(outdated)} will be checked after it")
        kind = opened.settings.export.model_dump(exclude={"enabled"})
        last = json.loads(context.cursor or "{}")
        is_same = (last.get("versions"), last.get("kind")) == (wanted, kind)
        if is_same and moment < datetime.fromisoformat(last["at"]) + RETRY_AFTER:
            return dg.SkipReason(f"the export of {named(outdated)} was requested less than an hour ago")
        context.update_cursor(json.dumps({"versions": wanted, "kind": kind, "at": moment.isoformat()}))
        assets = [ONNX_MODEL] if opened.settings.export.engine == "none" else [ONNX_MODEL, TENSORRT_ENGINE]
        return [
            dg.RunRequest(asset_selection=assets, tags=partition_range(part[0], part[-1]))
            for part in contiguous(opened.settings.tickers, outdated)
        ]

    return sensor


def _outdated(project: Project, active: Sequence[ActiveFile], verdicts: FileVerdicts) -> dict[str, str]:
    """The versions that lack an export, or an engine if the configuration selects TensorRT, by ticker."""
    folder, config = export_folder(project), project.settings.export
    outdated = set(outdated_exports(active, folder, verdicts))
    if config.engine != "none":
        outdated |= set(
            outdated_engines(
                active,
                folder,
                verdicts,
                flavour=config.engine,
                precision=config.engine_precision,
                compute_capability=config.engine_compute_capability,
            )
        )
    return {each.ticker: each.version for each in active if each.ticker in outdated}
