"""Damaged files: each ends as bars or as one failure that names it, and the files beside it are read."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ldtm_lib.errors import MalformedFile
from ldtm_lib.prices.sources.source_file import failing_by_name
from tests.repository import REPOSITORY
from tests.unit.prices.damaged_files import PARQUET, TEXTS, ZIPPED, damaged_files, require_one_outcome

SUFFIXES = (".csv", ".csv.gz", ".parquet")
FUZZING_SECONDS = 120
files = st.one_of([damaged_files(suffix) for suffix in SUFFIXES])
quickly = hypothesis_settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(data=st.data())
@quickly
def test_a_damaged_file_is_bars_or_one_failure(tmp_path: Path, data: st.DataObject, suffix: str) -> None:
    name, content = data.draw(damaged_files(suffix))
    require_one_outcome(tmp_path, {name: content})


@given(st.sampled_from(["AAPL.csv", "AAPL.csv.gz", "AAPL.parquet", "AAPL.txt"]), st.binary(max_size=300))
@quickly
def test_bytes_of_any_kind_are_one_failure(tmp_path: Path, name: str, content: bytes) -> None:
    require_one_outcome(tmp_path, {name: content})


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ZeroDivisionError("no size"), "cannot be read (ZeroDivisionError: no size)"),
        (pl.exceptions.PanicException("index out of bounds"), "is damaged: polars cannot read it"),
    ],
)
def test_an_exception_that_nobody_foresaw_is_a_failure_of_its_file(error: BaseException, reason: str) -> None:
    with pytest.raises(MalformedFile) as failed, failing_by_name("AAPL.csv"):
        raise error
    assert str(failed.value) == f"AAPL.csv {reason}; export it again or remove it"


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@given(files)
@hypothesis_settings(quickly, max_examples=3_000)
def test_very_many_damaged_files_are_bars_or_one_failure(tmp_path: Path, file: tuple[str, bytes]) -> None:
    name, content = file
    require_one_outcome(tmp_path, {name: content})


@pytest.mark.nightly
@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed; pip install atheris adds this test")
def test_files_that_reach_every_branch_are_bars_or_one_failure(tmp_path: Path) -> None:
    """A fuzzer that is guided by coverage, in a process of its own, which it ends; seeds are whole files."""
    seeds, folder = tmp_path / "seeds", tmp_path / "bars"
    for path in (seeds, folder):
        path.mkdir()
    for number, (kind, content) in enumerate([*((0, text) for text in TEXTS), (1, ZIPPED), (2, PARQUET.getvalue())]):
        (seeds / str(number)).write_bytes(bytes([kind]) + content)
    command = [
        sys.executable,
        "-m",
        "tests.unit.prices.bar_file_fuzzer",
        str(folder),
        f"-max_total_time={FUZZING_SECONDS}",
    ]
    run = subprocess.run(
        [*command, "-max_len=4096", "-timeout=30", f"-artifact_prefix={tmp_path}/", str(seeds)],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "POLARS_MAX_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=FUZZING_SECONDS + 120,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-4000:]
