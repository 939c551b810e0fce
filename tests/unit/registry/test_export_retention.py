"""Names of exported files say which version they belong to, also where a ticker has dots."""

from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldtm_lib.export.certificate import Precision
from ldtm_lib.export.engine import record_path
from ldtm_lib.export.tensorrt_kinds import Flavour
from ldtm_lib.registry.engines import TIMING_CACHE, engine_certificate_path, engine_path
from ldtm_lib.registry.export_retention import remove_retired, version_stem
from ldtm_lib.registry.exports import ActiveFile, onnx_path

FILE_NAMES = st.from_regex(r"candidates/[A-Z][A-Z0-9.%_-]{0,8}_[0-9a-f]{12}\.pt", fullmatch=True)


def active(file_name: str) -> ActiveFile:
    return ActiveFile(ticker="A", version="v1", file_name=file_name, file_sha256="0" * 64)


@given(FILE_NAMES, st.sampled_from(get_args(Flavour)), st.sampled_from(get_args(Precision)))
def test_an_engine_its_record_and_its_certificate_belong_to_the_version_of_the_onnx_file(
    file_name: str, flavour: Flavour, precision: Precision
) -> None:
    onnx = onnx_path(Path("exports"), active(file_name))
    engine = engine_path(Path("exports"), active(file_name), flavour=flavour, precision=precision)
    files = (onnx, engine, record_path(engine), engine_certificate_path(engine))
    assert {version_stem(path) for path in files} == {onnx.stem}


@pytest.mark.parametrize(
    "name", [TIMING_CACHE, "a.fp32.engine.json", "a.tensorrt.fp32.engine.txt", "a.engine", "notes.json", "a.pt"]
)
def test_other_files_belong_to_no_version(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("{}")
    assert version_stem(tmp_path / name) is None
    assert remove_retired(tmp_path, ()) == []


def test_a_version_whose_name_begins_with_that_of_another_is_told_apart(tmp_path: Path) -> None:
    for stem in ("BRK_1", "BRK_1.tensorrt.fp32"):
        (tmp_path / f"{stem}.onnx").touch()
        (tmp_path / f"{stem}.tensorrt-rtx.fp16.engine").touch()
    assert remove_retired(tmp_path, {"BRK_1"}) == [
        "BRK_1.tensorrt.fp32.onnx",
        "BRK_1.tensorrt.fp32.tensorrt-rtx.fp16.engine",
    ]
