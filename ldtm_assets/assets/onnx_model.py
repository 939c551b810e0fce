"""ONNX files: the active model of each ticker, and one file of the whole universe."""

import dagster as dg

from ldtm_assets.asset_checks.agreement import Agreement, agreements, figures_of
from ldtm_assets.materialization import Metadata, Outcome
from ldtm_lib.registry.exports import UNIVERSE_NAME, Exported, ExportReport
from ldtm_lib.wording import counted, mib_of

ONNX_MODEL = dg.AssetKey("onnx_model")
ONNX_UNIVERSE = dg.AssetKey("onnx_universe")


def onnx_model_spec(tickers: dg.PartitionsDefinition[str]) -> dg.AssetSpec:
    """The asset `onnx_model`, partitioned by ticker."""
    return dg.AssetSpec(
        ONNX_MODEL,
        deps=["registry"],
        description="The ticker's active model as an ONNX file, with a certificate that it agrees with torch.",
        partitions_def=tickers,
        group_name="models",
        kinds={"onnx"},
        skippable=True,
    )


def onnx_universe_spec() -> dg.AssetSpec:
    """The asset `onnx_universe`, which every export reports."""
    return dg.AssetSpec(
        ONNX_UNIVERSE,
        deps=[ONNX_MODEL],
        description="One ONNX file with a branch per active model, so that one ONNX Runtime session serves all.",
        group_name="models",
        kinds={"onnx"},
    )


def exported_models(report: ExportReport, *, new_alone: bool = False) -> Outcome:
    """The outcome by ticker; `new_alone` leaves out files that were up to date.

    A ticker without an active model has nothing to export, which is not a failure.
    """
    return Outcome(
        done={
            each.name: _metadata(each)
            for each in report.exported
            if each.name != UNIVERSE_NAME and (each.is_new or not new_alone)
        },
        failed=dict(report.refused),
        summary=[
            f"{counted(sum(each.is_new for each in report.exported), 'file')} exported, "
            f"{counted(len(report.removed), 'file')} of versions that are no longer active removed",
            *(f"{ticker} has no active model" for ticker in report.without_model),
        ],
    )


def exported_universe(report: ExportReport, *, new_alone: bool = False) -> list[dg.AssetMaterialization]:
    """The materialization of the file of the universe; an empty list if no ticker has an active model."""
    return [
        dg.AssetMaterialization(ONNX_UNIVERSE, metadata=_metadata(each))
        for each in report.exported
        if each.name == UNIVERSE_NAME and (each.is_new or not new_alone)
    ]


def agreement_of_models(report: ExportReport) -> dict[str, Agreement]:
    """The agreement of each exported or refused model with torch, by ticker, according to its certificate."""
    return agreements([each.name for each in report.exported], report.refused)


def _metadata(exported: Exported) -> Metadata:
    return {
        "file": exported.path.name,
        "status": "exported" if exported.is_new else "up to date",
        "size (MiB)": mib_of(exported.path.stat().st_size),
        "SHA-256": exported.certificate.onnx_sha256,
        **figures_of(exported.certificate),
    }
