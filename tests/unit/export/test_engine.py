import ctypes
import importlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from ldtm_lib.errors import EngineRefused, MissingExtra, WindowRefused
from ldtm_lib.export import engine as engine_module
from ldtm_lib.export.engine import (
    EngineForecaster,
    EngineRecord,
    build_engine,
    current_gpu,
    half_precision,
    read_engine,
    record_path,
)
from ldtm_lib.export.onnx_file import OnnxFile, encode, write
from ldtm_lib.export.tensorrt_kinds import BUILDERS, EngineTarget
from ldtm_lib.models.engine_execution import execute
from ldtm_lib.models.parameters import forecast_windows
from ldtm_lib.settings import ArchitectureConfig, WindowConfig
from tests.unit.export.networks import network, networks, windows

RTX_5090 = EngineTarget(name="NVIDIA GeForce RTX 5090", compute_capability="12.0")
H100 = EngineTarget(name="NVIDIA H100 80GB HBM3", compute_capability="9.0")


@pytest.fixture
def file(tmp_path: Path) -> Iterator[OnnxFile]:
    write(encode(networks(("AAPL", "BRK-B")), WindowConfig()), tmp_path / "universe.onnx")
    with OnnxFile.open(tmp_path / "universe.onnx") as opened:
        yield opened


@pytest.fixture
def trt() -> ModuleType:
    return pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX has wheels for Linux x86_64 alone")


@pytest.fixture
def built(file: OnnxFile, trt: ModuleType, tmp_path: Path) -> EngineRecord:
    return build_engine(file, tmp_path / "a.engine", flavour="tensorrt-rtx", precision="fp32", gpu=RTX_5090)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("residual", [False, True])
def test_tensorrt_rtx_builds_an_engine_of_the_default_shape_without_a_gpu(
    precision: str, residual: bool, trt: ModuleType, tmp_path: Path
) -> None:
    write(encode({"A": network(ArchitectureConfig(residual=residual))}, WindowConfig()), tmp_path / "A.onnx")
    with OnnxFile.open(tmp_path / "A.onnx") as opened:
        record = build_engine(opened, tmp_path / "A.engine", flavour="tensorrt-rtx", precision=precision, gpu=RTX_5090)
        assert record.onnx_sha256 == opened.sha256
    assert record.version == trt.__version__
    assert record.precision == precision
    assert (tmp_path / "A.engine").read_bytes()[:4] == b"vtrt"


@pytest.mark.slow
def test_an_engine_of_several_networks_is_read_back_where_it_was_built_for(
    built: EngineRecord, file: OnnxFile, tmp_path: Path
) -> None:
    record, engine = read_engine(tmp_path / "a.engine", file=file, gpu=RTX_5090, version=built.version)
    assert record == built
    assert engine == (tmp_path / "a.engine").read_bytes()
    assert json.loads(record_path(tmp_path / "a.engine").read_text())["gpu_name"] == RTX_5090.name


@pytest.fixture
def stored(file: OnnxFile, tmp_path: Path) -> EngineRecord:
    """An engine as far as its files go."""
    record = EngineRecord(
        flavour="tensorrt-rtx",
        version="1.7",
        gpu_name=RTX_5090.name,
        compute_capability="12.0",
        precision="fp32",
        onnx_sha256=file.sha256,
        engine_sha256="5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5",
        largest_batch=256,
    )
    (tmp_path / "a.engine").write_bytes(b"12345")
    record_path(tmp_path / "a.engine").write_text(
        json.dumps({name: getattr(record, name) for name in EngineRecord.__slots__})
    )
    return record


@pytest.mark.parametrize(
    ("gpu", "version", "message"),
    [
        (H100, "1.7", "recorded with gpu_name NVIDIA GeForce RTX 5090, not NVIDIA H100"),
        (replace(RTX_5090, compute_capability="12.1"), "1.7", "compute_capability 12.0, not 12.1"),
        (RTX_5090, "1.8", "version 1.7, not 1.8; build the engine again on this machine"),
    ],
)
def test_an_engine_is_refused_on_another_gpu_or_version(
    gpu: EngineTarget, version: str, message: str, stored: EngineRecord, file: OnnxFile, tmp_path: Path
) -> None:
    with pytest.raises(EngineRefused, match=message):
        read_engine(tmp_path / "a.engine", file=file, gpu=gpu, version=version)


def test_an_engine_for_a_compute_capability_is_read_by_every_gpu_of_it(
    stored: EngineRecord, file: OnnxFile, tmp_path: Path
) -> None:
    path = tmp_path / "a.engine"
    record = json.loads(record_path(path).read_text()) | {"gpu_name": None}
    record_path(path).write_text(json.dumps(record))
    for name in (RTX_5090.name, "NVIDIA GeForce RTX 5080", None):
        found, _ = read_engine(path, file=file, gpu=replace(RTX_5090, name=name), version="1.7")
        assert found == replace(stored, gpu_name=None)
    with pytest.raises(EngineRefused, match=r"compute_capability 12.0, not 9.0"):
        read_engine(path, file=file, gpu=H100, version="1.7")
    record_path(path).write_text(json.dumps(record | {"gpu_name": RTX_5090.name}))
    with pytest.raises(EngineRefused, match="gpu_name NVIDIA GeForce RTX 5090, not None"):
        read_engine(path, file=file, gpu=replace(RTX_5090, name=None), version="1.7")


def test_an_engine_of_another_file_or_with_altered_bytes_is_refused(
    stored: EngineRecord, file: OnnxFile, tmp_path: Path
) -> None:
    path = tmp_path / "a.engine"
    assert read_engine(path, file=file, gpu=RTX_5090, version="1.7") == (stored, b"12345")
    write(encode({"A": network()}, WindowConfig()), tmp_path / "A.onnx")
    with (
        OnnxFile.open(tmp_path / "A.onnx") as other,
        pytest.raises(EngineRefused, match=f"onnx_sha256 {file.sha256}, not {other.sha256}"),
    ):
        read_engine(path, file=other, gpu=RTX_5090, version="1.7")
    path.write_bytes(b"1234")
    with pytest.raises(EngineRefused, match="engine_sha256"):
        read_engine(path, file=file, gpu=RTX_5090, version="1.7")
    path.unlink()
    with pytest.raises(EngineRefused, match="cannot be read: No such file or directory"):
        read_engine(path, file=file, gpu=RTX_5090, version="1.7")
    record_path(path).write_text("{}")
    with pytest.raises(EngineRefused, match=r"a\.engine\.json is truncated or altered"):
        read_engine(path, file=file, gpu=RTX_5090, version="1.7")
    with pytest.raises(EngineRefused, match=r"a\.engine\.json is truncated or altered"):
        EngineForecaster(path, file=file, gpu=RTX_5090)


@pytest.mark.slow
def test_tensorrt_says_why_it_cannot_load_an_engine_without_a_gpu(
    built: EngineRecord, file: OnnxFile, tmp_path: Path
) -> None:
    if _has_driver():
        pytest.skip("this machine has a CUDA driver")
    with pytest.raises(EngineRefused, match=r"cannot load engine.*CUDA driver version is insufficient"):
        EngineForecaster(tmp_path / "a.engine", file=file, gpu=RTX_5090)


def _has_driver() -> bool:
    return Path("/proc/driver/nvidia/version").exists()


def test_tensorrt_rtx_refuses_a_gpu_that_it_does_not_know(file: OnnxFile, trt: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(EngineRefused, match=r"does not build for NVIDIA H100.*only for .*SM120.*'ldtm\[tensorrt\]'"):
        build_engine(file, tmp_path / "a.engine", flavour="tensorrt-rtx", precision="fp32", gpu=H100)
    assert not (tmp_path / "a.engine").exists()


def test_a_build_that_fails_gives_the_message_of_tensorrt(file: OnnxFile, trt: ModuleType, tmp_path: Path) -> None:
    turing = EngineTarget(name="NVIDIA T4", compute_capability="7.5")
    with pytest.raises(EngineRefused, match=r"for NVIDIA T4: .*FP32 GEMM is not supported"):
        build_engine(file, tmp_path / "a.engine", flavour="tensorrt-rtx", precision="fp32", gpu=turing)


@pytest.mark.parametrize(("flavour", "package"), [("tensorrt", "tensorrt"), ("tensorrt-rtx", "tensorrt_rtx")])
def test_a_missing_tensorrt_is_named_with_the_command_that_installs_it(
    flavour: str, package: str, file: OnnxFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = importlib.import_module

    def without_tensorrt(name: str) -> ModuleType:
        if name.startswith("tensorrt"):
            raise ModuleNotFoundError(f"No module named '{name}'")
        return original(name)

    monkeypatch.setattr(importlib, "import_module", without_tensorrt)
    with pytest.raises(MissingExtra, match=rf"package {package} cannot be imported.*install 'ldtm\[{flavour}\]'"):
        build_engine(file, tmp_path / "a.engine", flavour=flavour, precision="fp32", gpu=H100)


def test_the_bindings_have_every_member_that_is_used(trt: ModuleType) -> None:
    """Those of TensorRT-RTX, which share their names with the standard ones; these need NVIDIA's libraries to load."""
    for member in (
        "Builder.create_network",
        "Builder.build_serialized_network",
        "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
        "OnnxParser.parse",
        "IBuilderConfig.create_timing_cache",
        "IBuilderConfig.set_timing_cache",
        "IBuilderConfig.get_timing_cache",
        "ITimingCache.serialize",
        "BuilderFlag.TF32",
        "Runtime.deserialize_cuda_engine",
    ):
        owner, name = member.split(".")
        assert hasattr(getattr(trt, owner), name), member
    assert BUILDERS.keys() == {"tensorrt", "tensorrt-rtx"}


def test_half_precision_computes_in_float16_and_keeps_inputs_and_outputs() -> None:
    """1e-2: float16 has 11 bits, and errors add up over 30 steps; 2e-3 was seen."""
    parameters, inputs = network(), windows(4)
    content = half_precision(encode({"A": parameters}, WindowConfig()))
    model = onnx.load_from_string(content)
    assert {c.data_type for c in model.graph.initializer} == {onnx.TensorProto.FLOAT16, onnx.TensorProto.INT64}
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    (found,) = ReferenceEvaluator(model).run(None, {"window_A": inputs})
    assert found.dtype == np.float32
    difference = np.abs(found - forecast_windows(inputs, parameters)).max()
    assert 1e-6 < difference < 1e-2


class ContextInMemory:
    """An execution context that reads and writes at the addresses it is given, as TensorRT does on a GPU.

    Its outputs are the last close of each window, plus 0, 1 and 2.
    """

    def __init__(self) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = shape
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        for name, shape in self.shapes.items():
            window = self._array(name, shape)
            output = self._array(name.replace("window", "scaled_prices"), (shape[0], 3))
            output[:] = window[:, -1, 3, None] + np.arange(3, dtype=np.float32)
        return True

    def _array(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        buffer = (ctypes.c_float * int(np.prod(shape))).from_address(self.addresses[name])
        return np.frombuffer(buffer, dtype=np.float32).reshape(shape)


@pytest.fixture
def in_memory(
    stored: EngineRecord, file: OnnxFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> EngineForecaster:
    def loaded(path: Path, **given: Any) -> tuple[EngineRecord, Any]:
        return stored, SimpleNamespace(create_execution_context=ContextInMemory)

    monkeypatch.setattr(engine_module, "_loaded", loaded)
    return EngineForecaster(tmp_path / "a.engine", file=file, gpu=RTX_5090, device="cpu")


def test_an_engine_forecasts_by_the_names_of_the_file(in_memory: EngineForecaster) -> None:
    inputs = windows(5)
    found = in_memory.forecast_batches({"BRK-B": inputs})
    assert found.keys() == {"BRK-B"}
    assert found["BRK-B"].dtype == np.float64
    np.testing.assert_array_equal(found["BRK-B"], inputs[:, -1, 3, None] + np.arange(3, dtype=np.float32))
    both = in_memory.forecast({"BRK-B": inputs[0], "AAPL": inputs[1]})
    assert list(both) == ["BRK-B", "AAPL"]
    np.testing.assert_array_equal(both["BRK-B"], found["BRK-B"][0])
    np.testing.assert_array_equal(in_memory.under_test().predictors["BRK-B"](inputs), found["BRK-B"])


def test_buffers_that_do_not_fit_refuse_the_engine() -> None:
    with pytest.raises(EngineRefused, match="cpu cannot hold inputs and outputs of the engine"):
        execute(ContextInMemory(), {}, {"scaled_prices_A": (2**50, 3)}, device="cpu")


def test_an_engine_under_test_names_the_gpu_that_runs_it(in_memory: EngineForecaster) -> None:
    assert in_memory.under_test().hardware == RTX_5090.name


def test_an_engine_refuses_what_it_cannot_take(in_memory: EngineForecaster) -> None:
    with pytest.raises(WindowRefused, match="AAPL has 257 windows; give at most 256 at once"):
        in_memory.forecast_batches({"AAPL": windows(257)})
    with pytest.raises(WindowRefused, match="MSFT has no network in the engine"):
        in_memory.forecast_batches({"MSFT": windows(1)})
    with pytest.raises(WindowRefused, match="AAPL are float64"):
        in_memory.forecast_batches({"AAPL": windows(1).astype(np.float64)})


def test_without_a_gpu_there_is_no_current_one() -> None:
    if _has_driver():
        pytest.skip("this machine has a CUDA driver")
    with pytest.raises(EngineRefused, match="no CUDA device is available"):
        current_gpu()
