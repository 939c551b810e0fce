"""Verdicts on files are remembered as long as the files stay as they are."""

import os
from pathlib import Path

import pytest

from ldtm_lib.registry.file_verdicts import FileVerdicts


class CountedJudge:
    """A judge of a file's content that counts its readings."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.num_read = 0

    def __call__(self) -> bool:
        self.num_read += 1
        return self.path.exists() and self.path.read_text() == "good"


@pytest.fixture
def judge(tmp_path: Path) -> CountedJudge:
    (tmp_path / "a.onnx").write_text("good")
    return CountedJudge(tmp_path / "a.onnx")


def test_an_unchanged_file_is_read_once_whether_it_is_good_or_not(judge: CountedJudge) -> None:
    verdicts = FileVerdicts()
    assert [verdicts.holds([judge.path], judge, about="v1") for _ in range(3)] == [True] * 3
    assert judge.num_read == 1
    judge.path.write_text("evil")
    assert [verdicts.holds([judge.path], judge, about="v1") for _ in range(3)] == [False] * 3
    assert judge.num_read == 2


def test_a_replaced_file_of_equal_size_and_time_is_read_again(judge: CountedJudge) -> None:
    verdicts = FileVerdicts()
    assert verdicts.holds([judge.path], judge, about="v1")
    before = judge.path.stat()
    other = judge.path.with_suffix(".part")
    other.write_text("evil")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(judge.path)
    assert judge.path.stat().st_mtime_ns == before.st_mtime_ns
    assert not verdicts.holds([judge.path], judge, about="v1")


def test_any_of_several_files_counts_and_so_does_a_file_that_comes_or_goes(judge: CountedJudge, tmp_path: Path) -> None:
    verdicts, certificate = FileVerdicts(), tmp_path / "a.json"
    files = [judge.path, certificate]
    verdicts.holds(files, judge, about="v1")
    certificate.write_text("{}")
    verdicts.holds(files, judge, about="v1")
    assert judge.num_read == 2
    certificate.unlink()
    judge.path.unlink()
    assert not verdicts.holds(files, judge, about="v1")
    assert judge.num_read == 3


def test_a_verdict_is_about_one_version(judge: CountedJudge) -> None:
    verdicts = FileVerdicts()
    verdicts.holds([judge.path], judge, about="v1")
    verdicts.holds([judge.path], judge, about="v2")
    assert judge.num_read == 2


def test_the_verdict_that_was_not_asked_for_longest_is_forgotten_first(judge: CountedJudge) -> None:
    verdicts = FileVerdicts(capacity=2)
    for version in ("v1", "v2", "v1", "v3"):
        verdicts.holds([judge.path], judge, about=version)
    assert judge.num_read == 3
    verdicts.holds([judge.path], judge, about="v1")
    assert judge.num_read == 3
    verdicts.holds([judge.path], judge, about="v2")
    assert judge.num_read == 4
