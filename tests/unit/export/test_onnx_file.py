import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from ldtm_lib.errors import CheckpointRefused, ExportNotWritten, ExportRefused
from ldtm_lib.export.file_metadata import decode
from ldtm_lib.export.onnx_file import CheckpointFile, OnnxFile, encode, export, write
from ldtm_lib.models import checkpoint
from ldtm_lib.settings import WindowConfig
from tests.unit.export.networks import SMALL, TICKERS, networks, state_of

CONTENT = encode(networks(), WindowConfig())


def altered(path: Path, change: str) -> Path:
    model = onnx.load_from_string(CONTENT)
    if change == "opset":
        model.opset_import[0].version = 18
    elif change == "domain":
        model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    elif change == "no metadata":
        del model.metadata_props[:]
    elif change == "format":
        model.metadata_props[0].value = model.metadata_props[0].value.replace('"format":1', '"format":2')
    elif change == "no JSON":
        model.metadata_props[0].value = "{"
    elif change == "field":
        model.metadata_props[0].value = model.metadata_props[0].value.replace('"warmup_bars"', '"warmup"')
    elif change == "output":
        model.graph.output[0].name = "prices"
    elif change == "tickers":
        model.metadata_props[0].value = model.metadata_props[0].value.replace("AAPL", "MSFT")
    path.write_bytes(model.SerializeToString())
    return path


def test_a_file_describes_itself(tmp_path: Path) -> None:
    sha256 = write(CONTENT, tmp_path / "universe.onnx")
    with OnnxFile.open(tmp_path / "universe.onnx", sha256=sha256) as file:
        metadata = file.metadata
        assert file.sha256 == sha256
    assert metadata.tickers == TICKERS
    assert metadata.window_sessions == 30
    assert metadata.warmup_bars == 250
    assert metadata.horizons == ("next_day", "next_monday", "one_month")
    assert metadata.inputs[:4] == ("open", "high", "low", "close")
    assert [network.checkpoint_sha256 for network in metadata.networks] == [f"{n:064x}" for n in range(4)]
    assert [network.input_name for network in metadata.networks] == [
        "window_AAPL",
        "window_BRK_2DB",
        "window_BRK_5FB",
        "window__5EGSPC",
    ]
    assert metadata.networks[0].architecture == SMALL.model_dump()


def test_the_metadata_is_json_that_states_names_shapes_and_scaling() -> None:
    model = onnx.load_from_string(CONTENT)
    document = json.loads(model.metadata_props[0].value)
    assert model.producer_name == "ldtm"
    assert model.producer_version == document["ldtm_version"]
    assert document["networks"][1]["input"] == {
        "name": "window_BRK_2DB",
        "shape": ["batch", 30, 11],
        "dtype": "float32",
    }
    assert document["networks"][1]["output"]["shape"] == ["batch", 3]
    assert "minimum" in document["scaling"]["inputs"]
    assert "lowest close" in document["scaling"]["outputs"]
    assert decode(model.metadata_props[0].value).encode() == model.metadata_props[0].value


def test_checkpoints_become_a_file(tmp_path: Path) -> None:
    path = tmp_path / "AAPL.pt"
    sha256 = checkpoint.write(state_of(SMALL), path, architecture=SMALL)
    export({"AAPL": CheckpointFile(path=path, sha256=sha256)}, tmp_path / "AAPL.onnx", WindowConfig())
    with OnnxFile.open(tmp_path / "AAPL.onnx") as file:
        assert file.metadata.networks[0].checkpoint_sha256 == sha256


def test_a_checkpoint_that_fails_its_hash_is_never_exported(tmp_path: Path) -> None:
    path, target = tmp_path / "AAPL.pt", tmp_path / "AAPL.onnx"
    sha256 = checkpoint.write(state_of(SMALL), path, architecture=SMALL)
    state = {name: tensor + torch.tensor(1e-3) for name, tensor in state_of(SMALL).items()}
    checkpoint.write(state, path, architecture=SMALL)
    with pytest.raises(CheckpointRefused, match="was altered"):
        export({"AAPL": CheckpointFile(path=path, sha256=sha256)}, target, WindowConfig())
    assert not target.exists()


def test_no_network_makes_no_file() -> None:
    with pytest.raises(ExportRefused, match="at least one network"):
        encode({}, WindowConfig())


def test_a_folder_that_takes_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ExportNotWritten, match=r"taken/a\.onnx cannot be written"):
        write(CONTENT, tmp_path / "taken" / "a.onnx")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportRefused, match="cannot be read: No such file or directory; export the networks again"):
        OnnxFile.open(tmp_path / "universe.onnx")


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.9, 0.9999])
def test_a_file_that_is_cut_is_refused(share: float, tmp_path: Path) -> None:
    path = tmp_path / "universe.onnx"
    path.write_bytes(CONTENT[: int(len(CONTENT) * share)])
    with pytest.raises(ExportRefused, match="is truncated or not an ONNX model"):
        OnnxFile.open(path)


def test_a_file_cut_between_two_fields_lacks_its_description(tmp_path: Path) -> None:
    """The metadata is written last, so every cut loses it."""
    path = tmp_path / "universe.onnx"
    path.write_bytes(CONTENT[: CONTENT.rindex(b"\x0a\x04ldtm") - 4])
    with pytest.raises(ExportRefused, match=r"universe\.onnx (is truncated|was not written by LDTM)"):
        OnnxFile.open(path)


def test_a_flipped_bit_is_found_by_the_hash(tmp_path: Path) -> None:
    sha256 = write(CONTENT, tmp_path / "universe.onnx")
    damaged = bytearray(CONTENT)
    damaged[len(CONTENT) // 2] ^= 1
    (tmp_path / "universe.onnx").write_bytes(damaged)
    with pytest.raises(ExportRefused, match="was altered: its SHA-256 is"):
        OnnxFile.open(tmp_path / "universe.onnx", sha256=sha256)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("opset", "has operators of opset ai.onnx 18, not 17"),
        ("domain", "opset ai.onnx 17, com.microsoft 1, not 17"),
        ("no metadata", "was not written by LDTM"),
        ("format", "its format is 2, but this version of LDTM reads 1"),
        ("no JSON", "metadata that cannot be read"),
        ("field", "is incomplete or malformed: 'warmup_bars'"),
        ("output", "describes other networks than its graph has"),
        ("tickers", "describes other networks than its graph has"),
    ],
)
def test_a_file_of_another_kind_is_refused_with_the_reason(change: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ExportRefused, match=message):
        OnnxFile.open(altered(tmp_path / "universe.onnx", change))


def test_a_file_that_is_written_to_while_it_is_open_is_not_read_again(tmp_path: Path) -> None:
    write(CONTENT, tmp_path / "universe.onnx")
    with OnnxFile.open(tmp_path / "universe.onnx") as file:
        with (tmp_path / "universe.onnx").open("r+b") as other:
            other.write(b"\x00" * 10)
            other.truncate(100)
        with pytest.raises(ExportRefused, match="was written to while it was in use"):
            file.part(("AAPL",))


def test_a_part_of_a_file_is_a_model_of_that_branch_alone(tmp_path: Path) -> None:
    write(CONTENT, tmp_path / "universe.onnx")
    with OnnxFile.open(tmp_path / "universe.onnx") as file:
        part = onnx.load_from_string(file.part(("BRK_B",)))
    onnx.checker.check_model(part, full_check=True)
    single = onnx.load_from_string(encode({"BRK_B": networks()["BRK_B"]}, WindowConfig()))
    assert list(part.graph.node) == list(single.graph.node)
    assert [c.name for c in part.graph.initializer] == [c.name for c in single.graph.initializer]
    for found, expected in zip(part.graph.initializer, single.graph.initializer, strict=True):
        assert np.array_equal(onnx.numpy_helper.to_array(found), onnx.numpy_helper.to_array(expected))
