"""Checks of exported models: a file or an engine gives the forecasts of its checkpoint."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import dagster as dg

from ldtm_assets.asset_checks.by_ticker import check_of_tickers, newest_materializations
from ldtm_assets.asset_checks.scope import selected_checks
from ldtm_assets.materialization import Metadata
from ldtm_lib.export.certificate import Certificate
from ldtm_lib.registry.exports import UNIVERSE_NAME
from ldtm_lib.wording import moment_text

EXPORT_AGREES = "export_agrees"
ENGINE_AGREES = "engine_agrees"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """The result of a certificate, or the reason why there is none."""

    passed: bool
    reason: str


def agreements(passed: Iterable[str], refused: Mapping[str, str]) -> dict[str, Agreement]:
    """The results by ticker, with the reason for each refused one; the file of the universe has no check."""
    found = {name: Agreement(passed=True, reason="the certificate passed") for name in passed}
    found |= {name: Agreement(passed=False, reason=reason) for name, reason in refused.items()}
    return {name: agreement for name, agreement in found.items() if name != UNIVERSE_NAME}


def figures_of(certificate: Certificate) -> Metadata:
    """The figures of a certificate with three digits, and its time; Dagster plots those of the universe."""
    return {
        "certified at": moment_text(datetime.fromisoformat(certificate.made_at)),
        **{rule.name: "not finite" if rule.figure is None else _rounded(rule.figure) for rule in certificate.rules},
    }


def _rounded(figure: float) -> float:
    return figure if isinstance(figure, int) else float(f"{figure:.3g}")


def agreement_check_specs(
    tickers: dg.PartitionsDefinition[str], *, onnx_model: dg.AssetKey, tensorrt_engine: dg.AssetKey
) -> list[dg.AssetCheckSpec]:
    """The checks of ONNX files and of engines."""
    return [
        dg.AssetCheckSpec(
            EXPORT_AGREES,
            asset=onnx_model,
            description="ONNX Runtime reproduces the forecasts of the checkpoint, and no direction changes.",
            partitions_def=tickers,
        ),
        dg.AssetCheckSpec(
            ENGINE_AGREES,
            asset=tensorrt_engine,
            description="The engine on its GPU reproduces the forecasts of the checkpoint, and no direction changes.",
            partitions_def=tickers,
        ),
    ]


def agreement_checks(
    context: dg.AssetExecutionContext, asset: dg.AssetKey, check: str, judged: Mapping[str, Agreement]
) -> Iterator[dg.AssetCheckResult]:
    """Evaluate one of the checks for the judged tickers. A failure is a warning: PyTorch can forecast instead."""
    if check not in selected_checks(context):
        return
    targets = newest_materializations(context, asset, [*judged])
    yield from check_of_tickers(
        context,
        [
            dg.AssetCheckEvaluation(
                asset_key=asset,
                check_name=check,
                passed=agreement.passed,
                severity=dg.AssetCheckSeverity.WARN,
                description=agreement.reason,
                metadata={},
                partition=ticker,
                target_materialization_data=targets.get(ticker),
            )
            for ticker, agreement in judged.items()
        ],
    )
