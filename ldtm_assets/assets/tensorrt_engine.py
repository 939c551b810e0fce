"""TensorRT engines: the asset of the active model of each ticker, compiled for one kind of GPU."""

import dagster as dg

from ldtm_assets.asset_checks.agreement import Agreement, agreements, figures_of
from ldtm_assets.materialization import Metadata, Outcome
from ldtm_lib.registry.engines import BuiltEngine, EngineReport
from ldtm_lib.registry.exports import UNIVERSE_NAME
from ldtm_lib.wording import counted, mib_of

TENSORRT_ENGINE = dg.AssetKey("tensorrt_engine")


def tensorrt_engine_spec(tickers: dg.PartitionsDefinition[str]) -> dg.AssetSpec:
    """The asset `tensorrt_engine`, partitioned by ticker."""
    return dg.AssetSpec(
        TENSORRT_ENGINE,
        deps=["onnx_model"],
        description="The ticker's ONNX file as a TensorRT engine, of the kind that `[export] engine` names.",
        partitions_def=tickers,
        group_name="models",
        kinds={"tensorrt"},
        skippable=True,
    )


def built_engines(report: EngineReport) -> Outcome:
    """The outcome by ticker. A ticker without an active model has nothing to build, which is not a failure."""
    not_certified = sum(each.certificate is None for each in report.engines)
    return Outcome(
        done={each.ticker: _metadata(each, report) for each in report.engines},
        failed={name: reason for name, reason in report.refused.items() if name != UNIVERSE_NAME},
        summary=[
            f"{counted(sum(each.is_new for each in report.engines), 'engine')} built",
            *(f"{ticker} has no active model" for ticker in report.onnx.without_model),
        ],
        notes=[f"{counted(not_certified, 'engine')} without a certificate: {report.not_run}"] if not_certified else [],
    )


def agreement_of_engines(report: EngineReport) -> dict[str, Agreement]:
    """The result of each engine's certificate.

    An engine that this machine cannot run fails its check, with that reason: its forecasts were not compared, and
    `open_engine` refuses it. Without a result, the UI would show it like an engine whose check was never requested.
    """
    certified = [each.ticker for each in report.engines if each.certificate is not None]
    not_run = {each.ticker: f"not run here: {report.not_run}" for each in report.engines if each.certificate is None}
    return agreements(certified, {**not_run, **report.refused})


def _metadata(engine: BuiltEngine, report: EngineReport) -> Metadata:
    record = engine.record
    return {
        "file": engine.path.name,
        "status": "built" if engine.is_new else "up to date",
        "size (MiB)": mib_of(engine.path.stat().st_size),
        "SHA-256": record.engine_sha256,
        "TensorRT": f"{record.flavour} {record.version}",
        "precision": record.precision,
        "GPU": record.gpu_name or f"any of compute capability {record.compute_capability}",
        **(figures_of(engine.certificate) if engine.certificate else {"certified at": f"none: {report.not_run}"}),
    }
