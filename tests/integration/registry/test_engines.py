"""Engines of active models: real builds by TensorRT-RTX, with a stand-in where they have to run."""

import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from ldtm_lib.database.connection import Database
from ldtm_lib.errors import CertificateRefused, EngineRefused
from ldtm_lib.export.certificate import read_certificate
from ldtm_lib.export.engine import read_record, record_path
from ldtm_lib.export.onnx_file import OnnxFile
from ldtm_lib.export.tensorrt_kinds import EngineTarget, Flavour
from ldtm_lib.models.engine_execution import gpu_properties
from ldtm_lib.models.parameters import forecast_windows, read_parameters
from ldtm_lib.registry.engines import (
    TIMING_CACHE,
    BuiltEngine,
    engine_certificate_path,
    engine_path,
    open_engine,
    outdated_engines,
)
from ldtm_lib.registry.exports import checkpoint_files, onnx_path
from ldtm_lib.registry.file_verdicts import FileVerdicts
from ldtm_lib.settings import ArchitectureConfig
from tests.integration.environment import ForecastEnvironment
from tests.integration.registry.installed_models import NOW, TICKERS, GpuOfTest, InstalledModels
from tests.unit.export.networks import windows

SMALL = ArchitectureConfig(hidden=8, num_layers=1, head_hidden=4)
HOUR = timedelta(hours=1)
slow = pytest.mark.slow


@pytest.fixture
def installed(
    environment: ForecastEnvironment, database: Database, tmp_path_factory: pytest.TempPathFactory
) -> InstalledModels:
    home = tmp_path_factory.mktemp("project") / "home"
    return InstalledModels(environment.with_settings(architecture=SMALL), database, home)


@pytest.fixture
def without_gpu() -> None:
    if gpu_properties() is not None:
        pytest.skip("this machine has a CUDA device")


@pytest.fixture
def rtx() -> None:
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX has wheels for Linux x86_64 alone")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, rtx: None) -> GpuOfTest:
    return GpuOfTest(monkeypatch)


def outdated(installed: InstalledModels, compute_capability: str | None = "8.9") -> list[str]:
    return outdated_engines(
        installed.active(),
        installed.folder,
        FileVerdicts(),
        flavour="tensorrt-rtx",
        precision="fp32",
        compute_capability=compute_capability,
    )


def opened_file(installed: InstalledModels, place: int = 0) -> OnnxFile:
    return OnnxFile.open(onnx_path(installed.folder, installed.active()[place]))


@slow
def test_engines_are_built_without_a_gpu_for_any_gpu_of_a_capability_and_without_a_certificate(
    installed: InstalledModels, without_gpu: None, rtx: None
) -> None:
    assert outdated(installed) == [*TICKERS]
    report = installed.export_engines()
    assert [(each.ticker, each.is_new, each.certificate) for each in report.engines] == [
        ("AAA", True, None),
        ("BBB", True, None),
    ]
    assert report.not_run is not None
    assert report.not_run.startswith("no CUDA device is available")
    assert not report.refused
    assert all(each.is_new for each in report.onnx.exported), "ONNX files come first"
    engines = {f"{stem}.tensorrt-rtx.fp32.engine{rest}" for stem in installed.stems() for rest in ("", ".json")}
    assert engines <= installed.files()
    assert not any("certificate" in name or name == TIMING_CACHE for name in installed.files())
    for each in report.engines:
        assert (each.record.gpu_name, each.record.compute_capability) == (None, "8.9")
        assert each.path.read_bytes()[:4] == b"vtrt"
    assert outdated(installed) == []
    assert outdated(installed, None) == [*TICKERS], "an engine for this machine's GPU needs a certificate"
    assert outdated(installed, "12.0") == [*TICKERS]


@slow
def test_an_engine_that_is_up_to_date_stays_until_its_onnx_file_precision_or_capability_changes(
    installed: InstalledModels, without_gpu: None, rtx: None
) -> None:
    [first] = installed.export_engines("AAA").engines
    before = first.path.stat().st_mtime_ns, first.path.stat().st_ino
    [again] = installed.export_engines("AAA").engines
    assert (again.is_new, again.record) == (False, first.record)
    assert (first.path.stat().st_mtime_ns, first.path.stat().st_ino) == before
    [half] = installed.export_engines("AAA", precision="fp16").engines
    assert half.path != first.path
    [other] = installed.export_engines("AAA", compute_capability="12.0").engines
    assert (other.path, other.is_new, other.record.compute_capability) == (first.path, True, "12.0")
    altered = bytearray(other.path.read_bytes())
    altered[-1] ^= 1
    other.path.write_bytes(bytes(altered))
    assert outdated(installed, "12.0") == [*TICKERS]
    assert installed.export_engines("AAA", compute_capability="12.0").engines[0].is_new


@slow
def test_a_new_version_gets_an_engine_and_all_files_of_the_retired_one_are_removed(
    installed: InstalledModels, gpu: GpuOfTest
) -> None:
    installed.export_engines()
    old, kept = installed.stems()
    cache, notes = installed.folder / TIMING_CACHE, installed.folder / "notes.engine.json"
    cache.write_bytes(b"times")
    notes.write_text("{}")
    installed.replace("AAA", trained_on=date(2013, 1, 4), seed=7)
    report = installed.export_engines()
    assert [(each.ticker, each.is_new) for each in report.engines] == [("AAA", True), ("BBB", False)]
    name = f"{old}.tensorrt-rtx.fp32.engine"
    assert report.onnx.removed == tuple(
        sorted([f"{old}.json", f"{old}.onnx", name, f"{name}.json", f"{name}.certificate.json"])
    )
    of_kept = {file for file in installed.files() if file.startswith(kept)}
    engine = f"{kept}.tensorrt-rtx.fp32.engine"
    assert of_kept == {f"{kept}.onnx", f"{kept}.json", engine, f"{engine}.json", f"{engine}.certificate.json"}
    assert cache.exists()
    assert notes.exists(), "a file of somebody else stays"


@slow
def test_a_ticker_whose_onnx_file_is_refused_does_not_stop_the_others(
    installed: InstalledModels, without_gpu: None, rtx: None
) -> None:
    [damaged, _] = installed.active()
    path = installed.project.checkpoint_folder / damaged.file_name
    path.write_bytes(path.read_bytes()[:-100])
    report = installed.export_engines("AAA", "BBB", "DDD")
    assert [each.ticker for each in report.engines] == ["BBB"]
    assert "is truncated" in report.refused["AAA"]
    assert report.onnx.without_model == ("DDD",)


@slow
def test_an_engine_that_runs_here_is_certified_once(installed: InstalledModels, gpu: GpuOfTest) -> None:
    report = installed.export_engines(compute_capability=None)
    assert report.not_run is None
    for each in report.engines:
        assert each.certificate is not None
        stored = read_certificate(engine_certificate_path(each.path))
        assert stored == each.certificate
        assert stored.passed
        assert stored.engine_sha256 == each.record.engine_sha256
        assert stored.hardware["gpu"] == gpu.target.name
        assert each.record.gpu_name is None, "TensorRT-RTX builds for all GPUs of the compute capability"
    assert outdated(installed, None) == []
    assert gpu.num_loaded == 2
    installed.export_engines(compute_capability=None)
    assert gpu.num_loaded == 2


@slow
def test_an_engine_that_was_built_elsewhere_is_certified_as_it_is(
    installed: InstalledModels, without_gpu: None, rtx: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    [built] = installed.export_engines("AAA").engines
    first = GpuOfTest(monkeypatch)
    [certified] = installed.export_engines("AAA").engines
    assert not certified.is_new
    assert certified.record == built.record
    assert certified.certificate is not None
    other = GpuOfTest(monkeypatch, name="NVIDIA GeForce RTX 4080")
    with (
        opened_file(installed) as file,
        pytest.raises(
            CertificateRefused, match=r"is of NVIDIA GeForce RTX 4090, not of .*4080; .*export tensorrt AAA`"
        ),
    ):
        open_engine(installed.folder, installed.active()[0], file, other.target)
    [again] = installed.export_engines("AAA").engines
    assert again.certificate is not None
    assert again.certificate.hardware["gpu"] == other.target.name != first.target.name


@slow
@pytest.mark.parametrize("error", [1e-3, float("nan")])
def test_an_engine_that_fails_its_certificate_is_removed_and_the_onnx_file_stays(
    error: float, installed: InstalledModels, gpu: GpuOfTest
) -> None:
    gpu.error = error
    report = installed.export_engines("AAA", compute_capability=None)
    assert report.engines == ()
    assert "tensorrt-rtx: relative difference of" in report.refused["AAA"]
    assert "PyTorch continues to forecast" in report.refused["AAA"]
    path = engine_path(installed.folder, installed.active()[0], flavour="tensorrt-rtx", precision="fp32")
    assert not path.exists()
    assert not record_path(path).exists()
    assert not read_certificate(engine_certificate_path(path)).passed
    assert onnx_path(installed.folder, installed.active()[0]).exists()
    assert "AAA" in outdated(installed, None)


@slow
def test_an_engine_for_another_gpu_than_that_of_this_machine_is_not_run(
    installed: InstalledModels, gpu: GpuOfTest
) -> None:
    report = installed.export_engines("AAA", compute_capability="12.0")
    assert [each.certificate for each in report.engines] == [None]
    assert report.not_run == "NVIDIA GeForce RTX 4090 has compute capability 8.9, not 12.0"
    assert gpu.num_loaded == 0


@pytest.mark.parametrize(
    ("flavour", "capability", "message"),
    [
        ("tensorrt", None, "no CUDA device is available; build engines on a machine with an NVIDIA GPU$"),
        ("tensorrt", "9.0", "the standard TensorRT builds for the GPU of this machine, not for compute capability 9.0"),
        ("tensorrt-rtx", None, "no CUDA device is available.* or name the compute capability of the GPU, such as 8.9"),
        ("tensorrt-rtx", "89", "'89' is not a compute capability; write it as in 8.9"),
        ("tensorrt-rtx", "9.0", "does not build for any GPU of compute capability 9.0.*only for .*SM89"),
    ],
)
def test_an_engine_that_cannot_be_built_here_is_refused_before_anything_is_written(
    flavour: Flavour, capability: str | None, message: str, installed: InstalledModels, without_gpu: None, rtx: None
) -> None:
    with pytest.raises(EngineRefused, match=message):
        installed.export_engines(flavour=flavour, compute_capability=capability)
    assert not installed.folder.exists()


@pytest.fixture
def certified(installed: InstalledModels, gpu: GpuOfTest) -> Iterator[tuple[BuiltEngine, OnnxFile]]:
    """A certified engine of AAA, and its ONNX file."""
    [built] = installed.export_engines("AAA", compute_capability=None).engines
    with opened_file(installed) as file:
        yield built, file


@slow
def test_an_opened_engine_forecasts_as_its_checkpoint(
    installed: InstalledModels, gpu: GpuOfTest, certified: tuple[BuiltEngine, OnnxFile]
) -> None:
    """1e-5: the bound of a certificate."""
    active, inputs = installed.active()[0], windows(3)
    engine = open_engine(installed.folder, active, certified[1], gpu.target)
    checkpoint = checkpoint_files(installed.project, [active])["AAA"]
    expected = forecast_windows(inputs, read_parameters(checkpoint.path, sha256=checkpoint.sha256))
    assert engine.forecast_batches({"AAA": inputs})["AAA"] == pytest.approx(expected, rel=1e-5, abs=1e-5)


@slow
def test_of_several_engines_the_newest_that_loads_is_opened(
    installed: InstalledModels, gpu: GpuOfTest, certified: tuple[BuiltEngine, OnnxFile]
) -> None:
    built, file = certified
    active = installed.active()[0]
    [half] = installed.export_engines("AAA", precision="fp16", made_at=NOW + HOUR, compute_capability=None).engines
    assert open_engine(installed.folder, active, file, gpu.target).record == half.record
    half.path.write_bytes(b"")
    assert open_engine(installed.folder, active, file, gpu.target).record == built.record


@slow
def test_an_engine_is_not_opened_without_a_certificate_of_it_and_its_gpu(
    installed: InstalledModels, gpu: GpuOfTest, certified: tuple[BuiltEngine, OnnxFile]
) -> None:
    built, file = certified
    active, certificate = installed.active()[0], engine_certificate_path(built.path)
    remedy = r".*build and certify it on this machine: `ldtm export tensorrt AAA`"
    other = EngineTarget(name=gpu.target.name, compute_capability="12.0")
    with pytest.raises(EngineRefused, match=f"compute_capability 8.9, not 12.0{remedy}"):
        open_engine(installed.folder, active, file, other)
    content = certificate.read_text()
    certificate.write_text(content.replace(built.record.engine_sha256, "0" * 64))
    with pytest.raises(CertificateRefused, match=f"belongs to the engine 0{{64}}, not to{remedy}"):
        open_engine(installed.folder, active, file, gpu.target)
    certificate.unlink()
    with pytest.raises(CertificateRefused, match=f"cannot be read{remedy}"):
        open_engine(installed.folder, active, file, gpu.target)
    certificate.write_text(content)
    record = json.loads(record_path(built.path).read_text())
    record_path(built.path).write_text(json.dumps(record | {"onnx_sha256": "0" * 64}))
    with pytest.raises(EngineRefused, match=f"recorded with onnx_sha256 0{{64}}{remedy}"):
        open_engine(installed.folder, active, file, gpu.target)
    built.path.unlink()
    with pytest.raises(EngineRefused, match=f"AAA has no engine of AAA_active_2012-12-31_0.pt in{remedy}"):
        open_engine(installed.folder, active, file, gpu.target)


@pytest.mark.gpu
@pytest.mark.parametrize("flavour", ["tensorrt", "tensorrt-rtx"])
def test_an_engine_built_on_this_gpu_passes_its_certificate_and_opens(
    flavour: Flavour, installed: InstalledModels
) -> None:
    """Not run yet: no machine with both a GPU and TensorRT's libraries was there."""
    found = gpu_properties()
    if found is None:
        pytest.skip("there is no CUDA device")
    names = {"tensorrt": ["tensorrt"], "tensorrt-rtx": ["tensorrt_rtx_bindings"]}
    for name in names[flavour]:
        pytest.importorskip(name, reason=f"the package {name} is missing")
    target = EngineTarget(name=found[0], compute_capability=found[1])
    if flavour == "tensorrt-rtx" and found[1] == "9.0":
        pytest.skip("TensorRT-RTX does not build for compute capability 9.0")
    [built] = installed.export_engines("AAA", flavour=flavour, compute_capability=None).engines
    assert built.certificate is not None
    assert (installed.folder / TIMING_CACHE).exists() == (flavour == "tensorrt")
    with opened_file(installed) as file:
        opened = open_engine(installed.folder, installed.active()[0], file, target)
    assert opened.record == read_record(Path(built.path))
