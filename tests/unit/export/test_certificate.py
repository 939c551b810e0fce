import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import pytest

from ldtm_lib.errors import CertificateRefused, CheckpointRefused, WindowRefused
from ldtm_lib.export.certificate import (
    Certificate,
    EngineUnderTest,
    certify,
    read_certificate,
    require_certificate,
    write_certificate,
)
from ldtm_lib.export.edge_cases import PricedWindows
from ldtm_lib.export.onnx_file import CheckpointFile, OnnxFile, export
from ldtm_lib.models import checkpoint
from ldtm_lib.models.parameters import forecast_windows, read_parameters
from ldtm_lib.settings import WindowConfig
from tests.unit.export.networks import SMALL, state_of, windows

NOW = datetime(2026, 11, 30, tzinfo=UTC)
TICKERS = ("AAPL", "BRK-B")


def priced(num_rows: int, seed: int = 0) -> PricedWindows:
    inputs = windows(num_rows, seed)
    lowest = np.full(num_rows, 50.0)
    return PricedWindows(
        inputs=inputs,
        close=lowest + 4 * inputs[:, -1, 3].astype(np.float64),
        close_min=lowest,
        close_max=lowest + 4,
        bands=np.full(num_rows, 0.001),
    )


WINDOWS = {ticker: priced(40, seed=at) for at, ticker in enumerate(TICKERS)}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CheckpointFile]:
    folder = tmp_path_factory.mktemp("checkpoints")
    found: dict[str, CheckpointFile] = {}
    for at, ticker in enumerate(TICKERS):
        sha256 = checkpoint.write(state_of(SMALL, at), folder / f"{ticker}.pt", architecture=SMALL)
        found[ticker] = CheckpointFile(path=folder / f"{ticker}.pt", sha256=sha256)
    return found


@pytest.fixture(scope="module")
def universe(checkpoints: dict[str, CheckpointFile], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("universe") / "universe.onnx"
    export(checkpoints, path, WindowConfig())
    return path


@pytest.fixture(scope="module")
def certificate(universe: Path, checkpoints: dict[str, CheckpointFile]) -> Certificate:
    with OnnxFile.open(universe) as file:
        return certify(file, checkpoints, WINDOWS, made_at=NOW)


def rewritten(universe: Path, target: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    model = onnx.load(universe)
    change(model)
    target.write_bytes(model.SerializeToString(deterministic=True))
    return target


def failed_rules(certificate: Certificate) -> list[str]:
    return [rule.name for rule in certificate.rules if not rule.holds]


def test_a_right_file_passes_with_its_figures_and_bounds(
    certificate: Certificate, universe: Path, checkpoints: dict[str, CheckpointFile]
) -> None:
    """Bounds of 1e-5; 1.2e-7 was the most seen."""
    assert certificate.passed
    assert [rule.name for rule in certificate.rules] == [
        "networks of other checkpoints",
        "values that are not those of the checkpoint",
        "onnxruntime: relative difference of next_day",
        "onnxruntime: relative difference of next_monday",
        "onnxruntime: relative difference of one_month",
        "onnxruntime: changed directions further than 1e-05 from an edge of the band",
    ]
    figures = [rule.figure for rule in certificate.rules[2:5]]
    assert all(figure is not None and 0 < figure < 1e-6 for figure in figures)
    assert certificate.checkpoints == {ticker: file.sha256 for ticker, file in checkpoints.items()}
    assert certificate.windows["AAPL"]["num_windows"] == 52
    assert {"ldtm", "numpy", "torch", "onnx", "onnxruntime"} <= certificate.versions.keys()
    assert certificate.hardware["num_cores"]
    with OnnxFile.open(universe) as file:
        assert certificate.onnx_sha256 == file.sha256


def test_a_certificate_is_stored_and_verified_against_its_files(
    certificate: Certificate, universe: Path, checkpoints: dict[str, CheckpointFile], tmp_path: Path
) -> None:
    path = tmp_path / "certificate.json"
    write_certificate(certificate, path)
    assert read_certificate(path) == certificate
    with OnnxFile.open(universe) as file:
        active = {ticker: checkpoint.sha256 for ticker, checkpoint in checkpoints.items()}
        assert require_certificate(path, file, checkpoints=active) == certificate
        assert require_certificate(path, file) == certificate


@pytest.mark.parametrize("constant", ["AAPL.lstm_0.input", "BRK_2DB.lstm_1.recurrence", "BRK_2DB.heads.2.bias"])
def test_one_weight_in_its_last_bit_is_found(
    constant: str, universe: Path, checkpoints: dict[str, CheckpointFile], tmp_path: Path
) -> None:
    """No output shows so small a change: the parameters themselves are compared."""

    def change(model: onnx.ModelProto) -> None:
        (found,) = [c for c in model.graph.initializer if c.name == constant]
        array = onnx.numpy_helper.to_array(found).copy()
        array.flat[-1] = np.nextafter(array.flat[-1], np.float32(2))
        found.CopyFrom(onnx.numpy_helper.from_array(array, constant))

    with OnnxFile.open(rewritten(universe, tmp_path / "universe.onnx", change)) as file:
        made = certify(file, checkpoints, WINDOWS, made_at=NOW)
    assert not made.passed
    assert failed_rules(made) == ["values that are not those of the checkpoint"]
    assert made.rules[1].figure == 1


def test_a_wrong_weight_is_found_by_the_outputs_too(
    universe: Path, checkpoints: dict[str, CheckpointFile], tmp_path: Path
) -> None:
    def change(model: onnx.ModelProto) -> None:
        (found,) = [c for c in model.graph.initializer if c.name == "AAPL.heads.2.bias"]
        array = onnx.numpy_helper.to_array(found).copy()
        array[0] -= 3
        found.CopyFrom(onnx.numpy_helper.from_array(array, found.name))

    with OnnxFile.open(rewritten(universe, tmp_path / "universe.onnx", change)) as file:
        made = certify(file, checkpoints, WINDOWS, made_at=NOW)
    assert failed_rules(made) == [
        "values that are not those of the checkpoint",
        "onnxruntime: relative difference of next_day",
        "onnxruntime: changed directions further than 1e-05 from an edge of the band",
    ]
    assert made.differences["onnxruntime"]["BRK-B"]["changed_directions"] == 0


def test_an_altered_node_is_found(universe: Path, checkpoints: dict[str, CheckpointFile], tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        (relu,) = [node for node in model.graph.node if node.name.startswith("AAPL.") and node.op_type == "Relu"]
        relu.op_type = "LeakyRelu"

    with OnnxFile.open(rewritten(universe, tmp_path / "universe.onnx", change)) as file:
        made = certify(file, checkpoints, WINDOWS, made_at=NOW)
    assert "values that are not those of the checkpoint" in failed_rules(made)


def test_networks_of_exchanged_tickers_are_found(universe: Path, checkpoints: dict[str, CheckpointFile]) -> None:
    exchanged = {"AAPL": checkpoints["BRK-B"], "BRK-B": checkpoints["AAPL"]}
    with OnnxFile.open(universe) as file:
        made = certify(file, exchanged, WINDOWS, made_at=NOW)
    assert not made.passed
    assert made.rules[0].figure == 2


def engine_of(
    checkpoints: dict[str, CheckpointFile], error: Callable[[np.ndarray], np.ndarray], precision: str = "fp32"
) -> EngineUnderTest:
    """An engine that gives what torch gives, and an error of its own."""

    def predictor(file: CheckpointFile) -> Callable[[np.ndarray], np.ndarray]:
        parameters = read_parameters(file.path, sha256=file.sha256)
        return lambda inputs: error(forecast_windows(inputs, parameters))

    return EngineUnderTest(
        name="tensorrt",
        precision=precision,
        sha256="e" * 64,
        hardware="NVIDIA H100",
        predictors={ticker: predictor(file) for ticker, file in checkpoints.items()},
    )


@pytest.mark.parametrize(
    ("error", "precision", "passes"),
    [(0.0, "fp32", True), (5e-6, "fp32", True), (1e-3, "fp32", False), (5e-3, "fp16", True), (0.1, "fp16", False)],
)
def test_an_engine_is_held_to_the_bound_of_its_precision(
    error: float, precision: str, passes: bool, universe: Path, checkpoints: dict[str, CheckpointFile]
) -> None:
    engine = engine_of(checkpoints, lambda found: found + np.array([0, error, 0]), precision)
    with OnnxFile.open(universe) as file:
        made = certify(file, checkpoints, WINDOWS, made_at=NOW, engine=engine)
    assert made.passed == passes
    assert made.engine_sha256 == "e" * 64
    assert made.hardware["gpu"] == "NVIDIA H100"
    assert failed_rules(made) == ([] if passes else ["tensorrt: relative difference of next_monday"])


def test_a_result_that_is_not_finite_fails(universe: Path, checkpoints: dict[str, CheckpointFile]) -> None:
    engine = engine_of(checkpoints, lambda found: np.where(found == found[0], np.nan, found))
    with OnnxFile.open(universe) as file:
        made = certify(file, checkpoints, WINDOWS, made_at=NOW, engine=engine)
    assert not made.passed
    assert [rule.figure for rule in made.rules if rule.name == "tensorrt: relative difference of next_day"] == [None]
    json.loads(made.encode(), parse_constant=pytest.fail)


def edited(path: Path, **changes: object) -> Path:
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | changes))
    return path


@pytest.fixture
def stored(certificate: Certificate, tmp_path: Path) -> Path:
    write_certificate(certificate, tmp_path / "certificate.json")
    return tmp_path / "certificate.json"


def test_a_certificate_of_another_file_is_refused(
    stored: Path, checkpoints: dict[str, CheckpointFile], tmp_path: Path
) -> None:
    export({"AAPL": checkpoints["AAPL"]}, tmp_path / "AAPL.onnx", WindowConfig())
    with (
        OnnxFile.open(tmp_path / "AAPL.onnx") as file,
        pytest.raises(CertificateRefused, match=r"belongs to the ONNX file with SHA-256 \w+, but .*AAPL\.onnx has"),
    ):
        require_certificate(stored, file)


def test_a_certificate_of_another_checkpoint_or_engine_is_refused(stored: Path, universe: Path) -> None:
    with OnnxFile.open(universe) as file:
        with pytest.raises(CertificateRefused, match=r"belongs to checkpoint \w+ of AAPL, not to 0; export AAPL again"):
            require_certificate(stored, file, checkpoints={"AAPL": "0"})
        with pytest.raises(CertificateRefused, match="belongs to checkpoint None of MSFT, not to 0"):
            require_certificate(stored, file, checkpoints={"MSFT": "0"})
        with pytest.raises(CertificateRefused, match="belongs to the engine None, not to abc"):
            require_certificate(stored, file, engine_sha256="abc")


def test_a_certificate_that_states_a_failure_is_refused(
    universe: Path, checkpoints: dict[str, CheckpointFile], tmp_path: Path
) -> None:
    with OnnxFile.open(universe) as file:
        made = certify(file, checkpoints, WINDOWS, made_at=NOW, engine=engine_of(checkpoints, lambda found: found + 1))
        write_certificate(made, tmp_path / "certificate.json")
        with pytest.raises(CertificateRefused, match=r"failure: tensorrt: relative difference of next_day is .*1e-05"):
            require_certificate(tmp_path / "certificate.json", file)


def test_a_damaged_certificate_is_refused(stored: Path, tmp_path: Path) -> None:
    with pytest.raises(CertificateRefused, match=r"nothing\.json cannot be read"):
        read_certificate(tmp_path / "nothing.json")
    with pytest.raises(CertificateRefused, match="has format 2, not 1"):
        read_certificate(edited(stored, format=2))
    with pytest.raises(CertificateRefused, match="verdict that does not follow from its figures"):
        read_certificate(edited(stored, format=1, passed=False))
    with pytest.raises(CertificateRefused, match="verdict that does not follow from its figures"):
        read_certificate(edited(stored, passed=True, rules=[{"name": "a", "figure": None, "bound": 0}]))
    with pytest.raises(CertificateRefused, match="verdict that does not follow from its figures"):
        read_certificate(edited(stored, rules=[]))
    with pytest.raises(CertificateRefused, match="is truncated or altered"):
        read_certificate(edited(stored, rules=[{"name": "a", "figure": "0", "bound": 0}]))
    with pytest.raises(CertificateRefused, match="is truncated or altered"):
        read_certificate(edited(stored, author="somebody"))
    stored.write_text(stored.read_text()[:100])
    with pytest.raises(CertificateRefused, match="is truncated or altered"):
        read_certificate(stored)


def test_what_cannot_be_compared_is_refused(universe: Path, checkpoints: dict[str, CheckpointFile]) -> None:
    broken = priced(3)
    broken.inputs[1, 2, 3] = np.nan
    altered = CheckpointFile(path=checkpoints["AAPL"].path, sha256="0" * 64)
    with OnnxFile.open(universe) as file:
        with pytest.raises(CertificateRefused, match=r"BRK-B of .* has no checkpoint or no windows"):
            certify(file, checkpoints, {"AAPL": WINDOWS["AAPL"]}, made_at=NOW)
        with pytest.raises(WindowRefused, match=r"AAPL have nan at \(1, 2, 3\)"):
            certify(file, checkpoints, WINDOWS | {"AAPL": broken}, made_at=NOW)
        with pytest.raises(CheckpointRefused, match="was altered"):
            certify(file, checkpoints | {"AAPL": altered}, WINDOWS, made_at=NOW)
