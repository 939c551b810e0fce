"""TensorRT engines of active models: built from their ONNX files, and certified where this machine can run them.

Engines are files next to the ONNX files, each with its record and its certificate. An engine for another GPU is built
without a certificate; the machine with that GPU makes one, and an engine without a certificate is never opened.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import get_args

from ldtm_lib.database.queries import query
from ldtm_lib.errors import (
    CertificateRefused,
    CheckpointRefused,
    EngineRefused,
    ExportRefused,
    LdtmError,
    MissingExtra,
    WindowRefused,
)
from ldtm_lib.export.certificate import Certificate, Precision, certify, require_certificate, write_certificate
from ldtm_lib.export.engine import (
    EngineForecaster,
    EngineRecord,
    build_engine,
    current_gpu,
    read_engine,
    read_record,
    record_path,
)
from ldtm_lib.export.onnx_file import OnnxFile
from ldtm_lib.export.tensorrt_kinds import BUILDERS, EngineTarget, Flavour
from ldtm_lib.project import Project
from ldtm_lib.registry.exports import (
    UNIVERSE_NAME,
    ActiveFile,
    CheckpointOnRecord,
    ExportReport,
    RecentWindows,
    active_files,
    certificate_path,
    certified_file,
    checkpoint_files,
    export_folder,
    export_models,
    failure_of,
    onnx_path,
)
from ldtm_lib.registry.file_verdicts import FileVerdicts
from ldtm_lib.sessions import Calendar

TIMING_CACHE = "tensorrt.timing_cache"
"""File with times that the standard TensorRT measured in earlier builds. TensorRT-RTX measures nothing."""
COMPUTE_CAPABILITY = re.compile(r"\d{1,2}\.\d")
REFUSALS = (CheckpointRefused, CertificateRefused, ExportRefused, EngineRefused, WindowRefused)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltEngine:
    """The engine of one active model after an export."""

    ticker: str
    path: Path
    record: EngineRecord
    certificate: Certificate | None
    """Certificate; None for an engine that this machine cannot run and no other one has certified."""
    is_new: bool
    """True if it was built now; False if it was up to date."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineReport:
    """The result of an export of engines."""

    engines: tuple[BuiltEngine, ...]
    refused: Mapping[str, str]
    """Reason why there is no engine, or no ONNX file, by ticker or `universe`."""
    onnx: ExportReport
    """The export of the ONNX files, which comes first."""
    not_run: str | None
    """Reason why engines of this kind do not run on this machine; None if they do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """The kind of engine to build, and the GPU of this machine where it can run such an engine."""

    flavour: Flavour
    precision: Precision
    version: str
    target: EngineTarget
    gpu: EngineTarget | None
    not_run: str | None


def engine_path(folder: Path, checkpoint: CheckpointOnRecord, *, flavour: Flavour, precision: Precision) -> Path:
    """The engine of a version, named after the checkpoint file."""
    return folder / f"{onnx_path(folder, checkpoint).stem}.{flavour}.{precision}.engine"


def engine_certificate_path(path: Path) -> Path:
    """The path of the certificate of an engine, in the same folder."""
    return path.with_name(f"{path.name}.certificate.json")


def export_engines(
    project: Project,
    calendar: Calendar,
    *,
    made_at: datetime,
    tickers: Sequence[str] | None = None,
    flavour: Flavour,
    precision: Precision,
    compute_capability: str | None = None,
) -> EngineReport:
    """Build the outdated engines of some tickers' active models, after the outdated ONNX files.

    TensorRT-RTX builds for GPUs of `compute_capability`, such as "8.9", by default that of this machine's GPU; the
    standard TensorRT builds for this machine's GPU alone. An engine that fails its certificate is removed. One ticker
    that fails does not stop the others. Raises MissingExtra, and EngineRefused if no engine of this kind can be built.
    """
    request = _request(flavour, precision, compute_capability)
    onnx = export_models(project, calendar, made_at=made_at, tickers=tickers)
    refused = dict(onnx.refused)
    engines: list[BuiltEngine] = []
    for exported in onnx.exported:
        if exported.name == UNIVERSE_NAME:
            continue
        try:
            engines.append(_engine_of(exported.name, request, project, calendar, made_at))
        except REFUSALS as error:
            refused[exported.name] = str(error)
    return EngineReport(engines=tuple(engines), refused=refused, onnx=onnx, not_run=request.not_run)


def outdated_engines(
    active: Sequence[ActiveFile],
    folder: Path,
    verdicts: FileVerdicts,
    *,
    flavour: Flavour,
    precision: Precision,
    compute_capability: str | None = None,
) -> list[str]:
    """Tickers of active models without a complete engine of their present ONNX file.

    Without a compute capability, the engine is for the GPU of this machine and must have passed its certificate. The
    versions of GPU and TensorRT are not checked here; `open_engine` refuses an engine of other ones.
    """
    outdated: list[str] = []
    for each in active:
        onnx, path = onnx_path(folder, each), engine_path(folder, each, flavour=flavour, precision=precision)
        files = (onnx, certificate_path(onnx), path, record_path(path), engine_certificate_path(path))
        about = each.file_sha256, compute_capability
        if not verdicts.holds(files, lambda e=each, p=path: _is_whole(p, folder, e, compute_capability), about=about):
            outdated.append(each.ticker)
    return outdated


def open_engine(folder: Path, checkpoint: CheckpointOnRecord, file: OnnxFile, gpu: EngineTarget) -> EngineForecaster:
    """The engine of an active version, built from its ONNX file, that passed its certificate on this GPU.

    Of several, it is the one with the newest certificate that can be loaded. Raises EngineRefused and
    CertificateRefused if there is none, with the reason for the newest.
    """
    refusals: list[LdtmError] = []
    certified: list[tuple[str, Path, str]] = []
    for path in _engines_of(folder, checkpoint):
        try:
            record = read_record(path)
            certificate = _require_certified(path, record, file, checkpoint, gpu)
            certified.append((certificate.made_at, path, record.engine_sha256))
        except (EngineRefused, CertificateRefused) as error:
            refusals.append(error)
    unloaded: list[LdtmError] = []
    for _, path, sha256 in sorted(certified, reverse=True):
        try:
            forecaster = EngineForecaster(path, file=file, gpu=gpu)
            if forecaster.record.engine_sha256 == sha256:
                return forecaster
            unloaded.append(EngineRefused(f"engine {path} was replaced while it was opened; try again"))
        except (EngineRefused, MissingExtra) as error:
            unloaded.append(error)
    remedy = f"build and certify it on this machine: {build_command(checkpoint.ticker)}"
    if reasons := [*unloaded, *refusals]:
        kind = CertificateRefused if isinstance(reasons[0], CertificateRefused) else EngineRefused
        raise kind(f"{checkpoint.ticker} has no engine for {gpu.label}: {reasons[0]}; {remedy}")
    raise EngineRefused(f"{checkpoint.ticker} has no engine of {checkpoint.file_name} in {folder}; {remedy}")


def build_command(ticker: str) -> str:
    """The command that builds the engine of a ticker."""
    return f"`ldtm export tensorrt {ticker}`, with --rtx for TensorRT-RTX"


def _request(flavour: Flavour, precision: Precision, compute_capability: str | None) -> _Request:
    """The kind of engine to build; raises MissingExtra and EngineRefused."""
    gpu, not_run = None, None
    try:
        gpu = current_gpu()
    except EngineRefused as error:
        not_run = str(error)
    target = _target(flavour, compute_capability, gpu)
    if gpu is not None and gpu.compute_capability != target.compute_capability:
        not_run = f"{gpu.label} has compute capability {gpu.compute_capability}, not {target.compute_capability}"
    builder = BUILDERS[flavour]
    trt = builder.module()
    builder.require_target(trt, target)
    return _Request(
        flavour=flavour,
        precision=precision,
        version=str(trt.__version__),
        target=target,
        gpu=gpu if not_run is None else None,
        not_run=not_run,
    )


def _target(flavour: Flavour, compute_capability: str | None, gpu: EngineTarget | None) -> EngineTarget:
    """The GPU that engines are built for; `gpu` is that of this machine. Raises EngineRefused."""
    if compute_capability is None:
        if gpu is None:
            other = "" if flavour == "tensorrt" else ", or name the compute capability of the GPU, such as 8.9"
            raise EngineRefused(f"no CUDA device is available; build engines on a machine with an NVIDIA GPU{other}")
        return gpu if flavour == "tensorrt" else EngineTarget(name=None, compute_capability=gpu.compute_capability)
    if flavour == "tensorrt":
        raise EngineRefused(
            f"the standard TensorRT builds for the GPU of this machine, not for compute capability "
            f"{compute_capability}; leave it out, or use TensorRT-RTX"
        )
    if not COMPUTE_CAPABILITY.fullmatch(compute_capability):
        raise EngineRefused(f"{compute_capability!r} is not a compute capability; write it as in 8.9")
    return EngineTarget(name=None, compute_capability=compute_capability)


def _engine_of(ticker: str, request: _Request, project: Project, calendar: Calendar, made_at: datetime) -> BuiltEngine:
    """The engine of a ticker's active model, built and certified if it is not. Raises REFUSALS and leaves no engine.

    Each ticker has its own transaction: while another process waits for the lock that it holds, daily runs wait, too.
    """
    folder = export_folder(project)
    with project.database.transaction() as conn:
        conn.execute(query("registry.hold_files"))
        active = next(iter(active_files(conn, [ticker])), None)
        if active is None:
            raise EngineRefused(f"{ticker} lost its active model during the export; `ldtm registry list` shows why")
        path = engine_path(folder, active, flavour=request.flavour, precision=request.precision)
        try:
            with certified_file(folder, active) as file:
                record, is_new = _record_of(path, file, request)
                certificate = _stored_certificate(path, record, file, active, request.gpu)
                if certificate is None and request.gpu is not None:
                    engine = EngineForecaster(path, file=file, gpu=request.gpu)
                    windows = RecentWindows(conn, calendar, project).of([ticker])
                    certificate = certify(
                        file,
                        checkpoint_files(project, [active]),
                        windows,
                        made_at=made_at,
                        engine=engine.under_test(),
                    )
                    write_certificate(certificate, engine_certificate_path(path))
                    if not certificate.passed:
                        raise EngineRefused(failure_of(certificate, engine_certificate_path(path)))
        except REFUSALS:
            path.unlink(missing_ok=True)
            record_path(path).unlink(missing_ok=True)
            raise
    return BuiltEngine(ticker=ticker, path=path, record=record, certificate=certificate, is_new=is_new)


def _record_of(path: Path, file: OnnxFile, request: _Request) -> tuple[EngineRecord, bool]:
    """The record of an engine, and whether the engine had to be built."""
    try:
        record, _ = read_engine(path, file=file, gpu=request.target, version=request.version)
        if (record.flavour, record.precision) == (request.flavour, request.precision):
            return record, False
    except EngineRefused:
        pass
    engine_certificate_path(path).unlink(missing_ok=True)
    built = build_engine(
        file,
        path,
        flavour=request.flavour,
        precision=request.precision,
        gpu=request.target,
        timing_cache=path.parent / TIMING_CACHE if request.flavour == "tensorrt" else None,
    )
    return built, True


def _stored_certificate(
    path: Path, record: EngineRecord, file: OnnxFile, checkpoint: CheckpointOnRecord, gpu: EngineTarget | None
) -> Certificate | None:
    try:
        return _require_certified(path, record, file, checkpoint, gpu)
    except CertificateRefused:
        return None


def _require_certified(
    path: Path, record: EngineRecord, file: OnnxFile, checkpoint: CheckpointOnRecord, gpu: EngineTarget | None
) -> Certificate:
    """The passing certificate of an engine, on a GPU or on any. Raises CertificateRefused.

    Engines for a compute capability are compiled further by the GPU that loads them, so each model of GPU needs its own
    certificate.
    """
    certificate = require_certificate(
        engine_certificate_path(path), file, checkpoints=_checkpoint_of(checkpoint), engine_sha256=record.engine_sha256
    )
    if gpu is not None and (found := certificate.hardware.get("gpu")) != gpu.label:
        raise CertificateRefused(f"certificate {engine_certificate_path(path)} is of {found}, not of {gpu.label}")
    return certificate


def _is_whole(path: Path, folder: Path, checkpoint: CheckpointOnRecord, compute_capability: str | None) -> bool:
    try:
        with certified_file(folder, checkpoint) as file:
            record = read_record(path)
            target = EngineTarget(
                name=record.gpu_name, compute_capability=compute_capability or record.compute_capability
            )
            read_engine(path, file=file, gpu=target, version=record.version)
            if compute_capability is None:
                _require_certified(path, record, file, checkpoint, None)
    except LdtmError:
        return False
    return True


def _engines_of(folder: Path, checkpoint: CheckpointOnRecord) -> Iterator[Path]:
    """The existing engines of a version."""
    for flavour in BUILDERS:
        for precision in get_args(Precision):
            path = engine_path(folder, checkpoint, flavour=flavour, precision=precision)
            if path.exists():
                yield path


def _checkpoint_of(checkpoint: CheckpointOnRecord) -> dict[str, str]:
    return {checkpoint.ticker: checkpoint.file_sha256}
