"""TensorRT engines from exported ONNX files, by the standard TensorRT or by TensorRT-RTX behind one interface.

Networks are strongly typed in both, so the precision is that of the ONNX graph: for fp16 its weights become float16,
with casts at inputs and outputs. An engine runs only on the GPU that it was built for, so a JSON file next to it names
that GPU or its compute capability, the TensorRT version and the ONNX file, and an engine that does not fit is refused
before TensorRT loads it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ldtm_lib.errors import EngineRefused, WindowRefused
from ldtm_lib.export.certificate import EngineUnderTest, Precision
from ldtm_lib.export.extras import onnx_package
from ldtm_lib.export.onnx_file import OnnxFile, write
from ldtm_lib.export.sessions import require_windows
from ldtm_lib.export.tensorrt_kinds import BUILDERS, EngineTarget, Flavour, error_logger
from ldtm_lib.models.engine_execution import execute, gpu_properties
from ldtm_lib.models.forecast import Predictions, Scaled

LARGEST_BATCH = 256
FLOAT16, FLOAT = 10, 1
"""`onnx.TensorProto.FLOAT16` and `FLOAT`."""
REMEDY = "build the engine again on this machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRecord:
    """The content of the JSON file next to an engine."""

    flavour: Flavour
    version: str
    """Version of TensorRT."""
    gpu_name: str | None
    """The GPU that it was built on; None for an engine for any GPU of its compute capability."""
    compute_capability: str
    precision: Precision
    onnx_sha256: str
    engine_sha256: str
    largest_batch: int


def build_engine(
    file: OnnxFile,
    path: Path,
    *,
    flavour: Flavour,
    precision: Precision,
    gpu: EngineTarget,
    timing_cache: Path | None = None,
) -> EngineRecord:
    """Build an engine of all networks of a file for 1 to 256 rows, and write it with its record next to it.

    `timing_cache` is read if it exists and written afterwards; the standard TensorRT measures less with it. Raises
    MissingExtra, EngineRefused with TensorRT's own message, and ExportNotWritten.
    """
    builder_of = BUILDERS[flavour]
    trt = builder_of.module()
    content = file.part(file.metadata.tickers)
    model = content if precision == "fp32" else half_precision(content)
    messages, logger = error_logger(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        errors = "; ".join(str(parser.get_error(at)) for at in range(parser.num_errors))
        raise EngineRefused(f"TensorRT {trt.__version__} cannot parse {file.path}: {errors}; export the networks again")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # it would round float32 products to 10 bits
    config.add_optimization_profile(_profile(builder, network))
    stored = timing_cache.read_bytes() if timing_cache is not None and timing_cache.exists() else b""
    builder_of.prepare(trt, config, gpu, stored)
    serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        reason = "; ".join(messages) or "no reason given"
        raise EngineRefused(
            f"TensorRT {trt.__version__} cannot build an engine of {file.path} for {gpu.label}: {reason}"
        )
    engine = bytes(serialized)
    if timing_cache is not None and (measured := builder_of.timing_cache(config)):
        write(measured, timing_cache)
    record = EngineRecord(
        flavour=flavour,
        version=str(trt.__version__),
        gpu_name=gpu.name,
        compute_capability=gpu.compute_capability,
        precision=precision,
        onnx_sha256=file.sha256,
        engine_sha256=hashlib.sha256(engine).hexdigest(),
        largest_batch=LARGEST_BATCH,
    )
    write(engine, path)
    write((json.dumps(asdict(record), indent=2) + "\n").encode(), record_path(path))
    return record


def read_record(path: Path) -> EngineRecord:
    """The record of an engine; raises EngineRefused when it is missing or incomplete."""
    try:
        record = EngineRecord(**json.loads(record_path(path).read_text()))
        if record.flavour not in BUILDERS:
            raise ValueError(f"its flavour is {record.flavour}")
    except OSError as error:
        raise EngineRefused(f"engine {path} cannot be read: {error.strerror} ({error.filename}); {REMEDY}") from None
    except (ValueError, TypeError) as error:
        raise EngineRefused(f"{record_path(path)} is truncated or altered: {error}; {REMEDY}") from None
    return record


def read_engine(path: Path, *, file: OnnxFile, gpu: EngineTarget, version: str) -> tuple[EngineRecord, bytes]:
    """The record and the bytes of an engine that was built from a file for this GPU and TensorRT version.

    A record that names no GPU fits every GPU of its compute capability. Raises EngineRefused for other engines, and
    when the engine is missing, truncated or altered.
    """
    record = read_record(path)
    try:
        engine = path.read_bytes()
    except OSError as error:
        raise EngineRefused(f"engine {path} cannot be read: {error.strerror}; {REMEDY}") from None
    expected = {
        "engine_sha256": hashlib.sha256(engine).hexdigest(),
        "onnx_sha256": file.sha256,
        "gpu_name": gpu.name if record.gpu_name is not None else None,
        "compute_capability": gpu.compute_capability,
        "version": version,
    }
    for name, value in expected.items():
        if getattr(record, name) != value:
            raise EngineRefused(f"engine {path} is recorded with {name} {getattr(record, name)}, not {value}; {REMEDY}")
    return record, engine


class EngineForecaster:
    """The networks of an engine on the GPU that it was built for, with the interface of `OnnxForecaster`."""

    def __init__(self, path: Path, *, file: OnnxFile, gpu: EngineTarget, device: str = "cuda") -> None:
        """Load an engine that was built from a file.

        Raises MissingExtra, and EngineRefused if `read_engine` raises it or TensorRT cannot load the engine.
        """
        self.record, self._engine = _loaded(path, file=file, gpu=gpu)
        self._context = self._engine.create_execution_context()
        self._metadata = file.metadata
        self._gpu = gpu
        self._device = device

    @property
    def tickers(self) -> tuple[str, ...]:
        """The tickers that can be forecast."""
        return self._metadata.tickers

    def forecast(self, windows: Mapping[str, Scaled]) -> dict[str, Predictions]:
        """Scaled predictions (H,) by ticker from one window (T, I) each. Raises WindowRefused."""
        checked = {t: require_windows(t, window, self._metadata, num_axes=2)[None] for t, window in windows.items()}
        return {ticker: rows[0] for ticker, rows in self.forecast_batches(checked).items()}

    def forecast_batches(self, windows: Mapping[str, Scaled]) -> dict[str, Predictions]:
        """Scaled predictions (n, H) by ticker from its windows (n, T, I), n up to the engine's largest batch.

        All networks of an engine run; those without windows get zeros. Raises WindowRefused.
        """
        inputs: dict[str, Scaled] = {}
        outputs: dict[str, tuple[int, int]] = {}
        for ticker in windows.keys() - set(self.tickers):
            raise WindowRefused(f"{ticker} has no network in the engine; export it, or leave it out")
        for network in self._metadata.networks:
            shape = (1, self._metadata.window_sessions, len(self._metadata.inputs))
            given = windows.get(network.ticker, np.zeros(shape, dtype=np.float32))
            checked = require_windows(network.ticker, given, self._metadata)
            if len(checked) > self.record.largest_batch:
                raise WindowRefused(
                    f"{network.ticker} has {len(checked)} windows; give at most {self.record.largest_batch} at once"
                )
            inputs[network.input_name] = checked
            outputs[network.output_name] = len(checked), len(self._metadata.horizons)
        found = execute(self._context, inputs, outputs, device=self._device)
        named = {network.ticker: network.output_name for network in self._metadata.networks}
        return {ticker: found[named[ticker]].astype(np.float64) for ticker in windows}

    def under_test(self) -> EngineUnderTest:
        """The engine as `certify` takes it."""
        return EngineUnderTest(
            name=self.record.flavour,
            precision=self.record.precision,
            sha256=self.record.engine_sha256,
            hardware=self._gpu.label,
            predictors={t: lambda rows, t=t: self.forecast_batches({t: rows})[t] for t in self.tickers},
        )


def current_gpu() -> EngineTarget:
    """The first GPU of this process; raises EngineRefused if there is none."""
    found = gpu_properties()
    if found is None:
        raise EngineRefused("no CUDA device is available; build and run engines on a machine with an NVIDIA GPU")
    name, capability = found
    return EngineTarget(name=name, compute_capability=capability)


def _loaded(path: Path, *, file: OnnxFile, gpu: EngineTarget) -> tuple[EngineRecord, Any]:
    """An engine's record and TensorRT's own object for it (`ICudaEngine`)."""
    trt = BUILDERS[read_record(path).flavour].module()
    record, content = read_engine(path, file=file, gpu=gpu, version=str(trt.__version__))
    messages, logger = error_logger(trt)
    engine = trt.Runtime(logger).deserialize_cuda_engine(content)
    if engine is None:
        reason = "; ".join(messages) or "no reason given"
        raise EngineRefused(f"TensorRT {trt.__version__} cannot load engine {path}: {reason}; {REMEDY}")
    return record, engine


def record_path(path: Path) -> Path:
    """The path of the record next to an engine."""
    return path.with_name(f"{path.name}.json")


def half_precision(content: bytes) -> bytes:
    """The model of an exported file with float16 weights and arithmetic; its inputs and outputs stay float32."""
    onnx = onnx_package()
    model = onnx.load_from_string(content)
    graph = model.graph
    for constant in graph.initializer:
        if constant.data_type == FLOAT:
            array = onnx.numpy_helper.to_array(constant).astype("float16")
            constant.CopyFrom(onnx.numpy_helper.from_array(array, constant.name))
    cast = {value.name: f"{value.name}.half" for value in (*graph.input, *graph.output)}
    for node in graph.node:
        node.input[:] = [cast.get(name, name) for name in node.input]
        node.output[:] = [cast.get(name, name) for name in node.output]
    before = [onnx.helper.make_node("Cast", [v.name], [cast[v.name]], to=FLOAT16) for v in graph.input]
    after = [onnx.helper.make_node("Cast", [cast[v.name]], [v.name], to=FLOAT) for v in graph.output]
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def _profile(builder: Any, network: Any) -> Any:
    """Every input from 1 row to the largest batch, optimised for 1: a daily forecast has one row per ticker."""
    profile = builder.create_optimization_profile()
    for at in range(network.num_inputs):
        value = network.get_input(at)
        rest = tuple(value.shape)[1:]
        profile.set_shape(value.name, (1, *rest), (1, *rest), (LARGEST_BATCH, *rest))
    return profile
