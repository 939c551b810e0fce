"""Certificates that a file's networks give the results of torch, with figures, bounds and the hashes of all files.

A certificate is a JSON document. It proves nothing to readers who do not trust its writer, but names the files,
libraries and hardware of its figures, and `require_certificate` refuses it for any other files.
"""

import hashlib
import json
import math
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from ldtm_lib.errors import CertificateRefused
from ldtm_lib.export.comparison import EDGE_TOLERANCE, Differences, Predictor, compare, num_altered_values
from ldtm_lib.export.edge_cases import BATCH_SIZES, PricedWindows, priced_edge_cases
from ldtm_lib.export.onnx_file import CheckpointFile, OnnxFile, write
from ldtm_lib.export.sessions import OnnxForecaster, require_windows
from ldtm_lib.installation import installed_version
from ldtm_lib.models.parameters import forecast_windows, read_parameters
from ldtm_lib.settings import WindowConfig

FORMAT = 1
REMEDY = "make a new certificate of these files"
ONNX_RUNTIME = "onnxruntime"
Precision = Literal["fp32", "fp16"]
LARGEST_DIFFERENCE: dict[str, float] = {"fp32": 1e-5, "fp16": 1e-2}
"""Bounds on the relative difference. float32 sums of 128 products in another order differed by 1.2e-7 at most; fp16 has
a precision of 5e-4, and 30 steps of two layers add to it (not measured on a GPU yet)."""
LIBRARIES = (
    "numpy",
    "torch",
    "onnx",
    "onnxruntime",
    "tensorrt",
    "tensorrt-cu13-bindings",
    "tensorrt_rtx_cu13_bindings",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedRule:
    """One condition of the verdict; it holds if the figure is not above the bound."""

    name: str
    figure: float | None
    """None for a figure that is not finite, which fails the rule."""
    bound: float

    @property
    def holds(self) -> bool:
        """True if the figure is finite and not above the bound."""
        return self.figure is not None and math.isfinite(self.figure) and self.figure <= self.bound

    @property
    def sentence(self) -> str:
        """The figure and the bound in words."""
        if self.figure is None:
            figure = "not finite"
        else:
            figure = f"{self.figure:,}" if isinstance(self.figure, int) else f"{self.figure:.4g}"
        return f"{self.name} is {figure}, at most {self.bound:g} is allowed"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineUnderTest:
    """An engine that runs on this machine, with the file that it was loaded from."""

    name: str
    """Name of the engine, such as "tensorrt"."""
    precision: Precision
    sha256: str
    hardware: str
    predictors: Mapping[str, Predictor]
    """By ticker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """The document, field by field as in JSON."""

    format: int
    passed: bool
    made_at: str
    rules: list[CheckedRule]
    onnx_sha256: str
    checkpoints: dict[str, str]
    """SHA-256 of the checkpoint of every ticker."""
    engine_sha256: str | None
    windows: dict[str, dict[str, Any]]
    """Number and SHA-256 of the windows of every ticker, edge cases included."""
    differences: dict[str, dict[str, dict[str, Any]]]
    """By implementation and ticker."""
    versions: dict[str, str]
    hardware: dict[str, str] = field(default_factory=dict[str, str])

    def encode(self) -> str:
        """The JSON document."""
        return json.dumps(asdict(self), indent=2, allow_nan=False) + "\n"


def certify(
    file: OnnxFile,
    checkpoints: Mapping[str, CheckpointFile],
    windows: Mapping[str, PricedWindows],
    *,
    made_at: datetime,
    engine: EngineUnderTest | None = None,
) -> Certificate:
    """Compare every network of a file with its checkpoint on a ticker's own windows and on the edge cases.

    Raises CheckpointRefused, CertificateRefused for a ticker without checkpoint or windows, and WindowRefused.
    """
    metadata = file.metadata
    for ticker in metadata.tickers:
        if ticker not in checkpoints or ticker not in windows:
            raise CertificateRefused(f"{ticker} of {file.path} has no checkpoint or no windows to compare; give both")
    edges = priced_edge_cases(metadata.window_sessions, len(metadata.inputs))
    window = WindowConfig(window_sessions=metadata.window_sessions, warmup_bars=metadata.warmup_bars)
    found: dict[str, dict[str, Differences]] = {ONNX_RUNTIME: {}} | ({engine.name: {}} if engine else {})
    shown: dict[str, dict[str, Any]] = {}
    num_altered = num_other_checkpoints = 0
    with OnnxForecaster([file]) as forecaster:
        for network in metadata.networks:
            ticker, checkpoint = network.ticker, checkpoints[network.ticker]
            parameters = read_parameters(checkpoint.path, sha256=checkpoint.sha256)
            num_other_checkpoints += checkpoint.sha256 != network.checkpoint_sha256
            num_altered += num_altered_values(file, ticker, parameters, window)
            require_windows(ticker, windows[ticker].inputs, metadata)
            given = windows[ticker].with_more(edges)
            expected = forecast_windows(given.inputs, parameters)
            found[ONNX_RUNTIME][ticker] = compare(given, expected, _predictor(forecaster, ticker))
            if engine is not None:
                found[engine.name][ticker] = compare(given, expected, engine.predictors[ticker])
            shown[ticker] = {
                "num_windows": len(given),
                "sha256": hashlib.sha256(given.inputs.astype("<f4").tobytes()).hexdigest(),
            }
    rules = [
        CheckedRule(name="networks of other checkpoints", figure=num_other_checkpoints, bound=0),
        CheckedRule(name="values that are not those of the checkpoint", figure=num_altered, bound=0),
    ]
    for name, by_ticker in found.items():
        precision = engine.precision if engine is not None and name == engine.name else "fp32"
        rules += _rules(name, list(by_ticker.values()), metadata.horizons, LARGEST_DIFFERENCE[precision])
    return Certificate(
        format=FORMAT,
        passed=all(rule.holds for rule in rules),
        made_at=made_at.isoformat(),
        rules=rules,
        onnx_sha256=file.sha256,
        checkpoints={ticker: checkpoints[ticker].sha256 for ticker in metadata.tickers},
        engine_sha256=engine.sha256 if engine else None,
        windows=shown,
        differences={
            name: {ticker: _shown(differences, metadata.horizons) for ticker, differences in by_ticker.items()}
            for name, by_ticker in found.items()
        },
        versions=_versions(),
        hardware=_hardware() | ({"gpu": engine.hardware} if engine else {}),
    )


def write_certificate(certificate: Certificate, path: Path) -> str:
    """Write a certificate; returns the SHA-256 of the file. Raises ExportNotWritten."""
    return write(certificate.encode().encode(), path)


def read_certificate(path: Path) -> Certificate:
    """A stored certificate; raises CertificateRefused when it is missing or incomplete."""
    try:
        document: dict[str, Any] = json.loads(path.read_text())
        rules = [CheckedRule(**rule) for rule in document.pop("rules")]
        certificate = Certificate(rules=rules, **document)
        follows = bool(rules) and certificate.passed == all(rule.holds for rule in rules)
    except OSError as error:
        raise CertificateRefused(f"certificate {path} cannot be read: {error.strerror}; {REMEDY}") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CertificateRefused(f"certificate {path} is truncated or altered: {error}; {REMEDY}") from None
    if certificate.format != FORMAT:
        raise CertificateRefused(f"certificate {path} has format {certificate.format}, not {FORMAT}; {REMEDY}")
    if not follows:
        raise CertificateRefused(f"certificate {path} states a verdict that does not follow from its figures; {REMEDY}")
    return certificate


def require_certificate(
    path: Path, file: OnnxFile, *, checkpoints: Mapping[str, str] | None = None, engine_sha256: str | None = None
) -> Certificate:
    """The stored certificate of a file, which must have passed.

    `checkpoints` are the SHA-256 by ticker that the file must have been made from, such as those of the active models.
    Raises CertificateRefused when the certificate failed, or belongs to another file, checkpoint or engine.
    """
    certificate = read_certificate(path)
    if certificate.onnx_sha256 != file.sha256:
        raise CertificateRefused(
            f"certificate {path} belongs to the ONNX file with SHA-256 {certificate.onnx_sha256}, but {file.path} has "
            f"{file.sha256}; {REMEDY}"
        )
    held = {network.ticker: network.checkpoint_sha256 for network in file.metadata.networks}
    for ticker, wanted in (checkpoints if checkpoints is not None else held).items():
        for owner, found in ((f"certificate {path}", certificate.checkpoints), (f"{file.path}", held)):
            if found.get(ticker) != wanted:
                raise CertificateRefused(
                    f"{owner} belongs to checkpoint {found.get(ticker)} of {ticker}, not to {wanted}; export {ticker} "
                    "again and make a new certificate"
                )
    if engine_sha256 is not None and certificate.engine_sha256 != engine_sha256:
        raise CertificateRefused(
            f"certificate {path} belongs to the engine {certificate.engine_sha256}, not to {engine_sha256}; {REMEDY}"
        )
    if not certificate.passed:
        failed = next(rule for rule in certificate.rules if not rule.holds)
        raise CertificateRefused(
            f"certificate {path} states a failure: {failed.sentence}; export the networks again and make a new "
            "certificate"
        )
    return certificate


def _predictor(forecaster: OnnxForecaster, ticker: str) -> Predictor:
    return lambda inputs: forecaster.forecast_batches({ticker: inputs})[ticker]


def _rules(name: str, differences: list[Differences], horizons: tuple[str, ...], largest: float) -> list[CheckedRule]:
    rules = [
        CheckedRule(
            name=f"{name}: relative difference of {horizon}",
            figure=_finite(max(difference.largest[at] for difference in differences)),
            bound=largest,
        )
        for at, horizon in enumerate(horizons)
    ]
    changed = sum(difference.changed_directions for difference in differences)
    label = f"{name}: changed directions further than {EDGE_TOLERANCE:g} from an edge of the band"
    return [*rules, CheckedRule(name=label, figure=changed, bound=0)]


def _shown(differences: Differences, horizons: tuple[str, ...]) -> dict[str, Any]:
    return {
        "largest": dict(zip(horizons, map(_finite, differences.largest), strict=True)),
        "changed_directions": differences.changed_directions,
        "changed_at_edges": differences.changed_at_edges,
        "batch_sizes": list(BATCH_SIZES),
    }


def _finite(figure: float) -> float | None:
    return figure if math.isfinite(figure) else None


def _versions() -> dict[str, str]:
    found = {"ldtm": installed_version(), "python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def _hardware() -> dict[str, str]:
    return {"machine": platform.machine(), "processor": _processor(), "num_cores": str(os.cpu_count())}


def _processor() -> str:
    """The model of the CPU as Linux names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
