"""Whether a folder changed, without reading its files."""

import os
from pathlib import Path

import pytest

from ldtm_lib.daily_run.source_folder import folder_signature


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "us").mkdir()
    (tmp_path / "us" / "AAPL.csv").write_text("date,close\n")
    return tmp_path


def test_it_is_the_same_until_a_file_comes_grows_is_touched_or_goes(folder: Path) -> None:
    file = folder / "us" / "AAPL.csv"
    seen = [folder_signature(folder)]
    assert folder_signature(folder) == seen[0]
    (folder / "IBM.csv").write_text("")
    seen.append(folder_signature(folder))
    file.write_text("date,close\n2026-11-20,1\n")
    seen.append(folder_signature(folder))
    os.utime(file, ns=(1, 1))
    seen.append(folder_signature(folder))
    file.unlink()
    seen.append(folder_signature(folder))
    assert len(set(seen)) == 5


def test_hidden_files_are_not_checked_and_no_folder_is_an_empty_one(folder: Path) -> None:
    before = folder_signature(folder)
    (folder / ".AAPL.csv").write_text("half of it")
    assert folder_signature(folder) == before
    empty = folder / "empty"
    empty.mkdir()
    assert folder_signature(folder / "nowhere") == folder_signature(empty)


def test_only_files_that_may_hold_bars_or_splits_are_checked(folder: Path) -> None:
    before = folder_signature(folder)
    (folder / "download.log").write_text("1 of 103\n")
    (folder / "AAPL.csv.part").write_text("half of it")
    assert folder_signature(folder) == before
    seen = {before}
    for name in ("splits.csv", "MSFT.PARQUET", "us/bars.txt"):
        (folder / name).write_text("")
        seen.add(folder_signature(folder))
    assert len(seen) == 4
