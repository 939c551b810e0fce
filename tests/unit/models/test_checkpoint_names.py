"""Checkpoint files that the database names: in their folder, regular, of a bounded size."""

import hashlib
import os
from pathlib import Path

import pytest

from ldtm_lib.errors import CheckpointRefused
from ldtm_lib.file_names import ticker_file_name
from ldtm_lib.models import checkpoint
from ldtm_lib.models.checkpoint import file_of, read_verified, write_bytes

CONTENT = b"weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("ticker", ["AAPL", "BRK.B", "^GSPC", "RDS/A", ".X", "EURUSD=X", "-A", "_A"])
@pytest.mark.parametrize("folder", ["", "candidates/"])
def test_every_name_that_ldtm_gives_is_one_in_the_folder(tmp_path: Path, ticker: str, folder: str) -> None:
    name = f"{folder}{ticker_file_name(ticker)}_ldtm_v1.2026-03-02.2.pt"
    assert file_of(tmp_path, name) == tmp_path / name


@pytest.mark.parametrize(
    "name",
    [
        *("../../etc/x.pt", "/etc/x.pt", "candidates/../x.pt", "candidates/candidates/x.pt", "other/x.pt", "./x.pt"),
        *("..", ".x.pt", ".pt", "candidates/.x.pt", "x", "x.pt\n", "x\n.pt", "a b.pt", "x.pt/", "//x.pt", ""),
    ],
)
def test_every_other_name_is_refused_and_shown(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointRefused) as refused:
        file_of(tmp_path, name)
    assert str(refused.value).startswith(f"{name!r} is not the name of a file in {tmp_path}")


def test_a_folder_of_candidates_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "candidates").symlink_to("elsewhere")
    with pytest.raises(CheckpointRefused, match="candidates is a link"):
        file_of(tmp_path, "candidates/AAPL_1.pt")
    assert file_of(tmp_path, "AAPL.pt") == tmp_path / "AAPL.pt"


def test_a_link_is_neither_read_nor_written_through(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "AAPL.pt"
    target.write_bytes(CONTENT)
    link.symlink_to(target)
    with pytest.raises(CheckpointRefused, match=r"AAPL\.pt cannot be read: Too many levels of symbolic links"):
        read_verified(link, sha256=SHA256)
    write_bytes(b"others", link)
    assert (target.read_bytes(), link.read_bytes(), link.is_symlink()) == (CONTENT, b"others", False)


@pytest.mark.timeout(20)
def test_a_pipe_without_a_writer_does_not_hang_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "AAPL.pt")
    with pytest.raises(CheckpointRefused, match=r"AAPL\.pt cannot be read: it is not a regular file"):
        read_verified(tmp_path / "AAPL.pt", sha256=SHA256)


def test_devices_and_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.pt").mkdir()
    for path in (Path("/dev/zero"), tmp_path / "folder.pt"):
        with pytest.raises(CheckpointRefused, match="cannot be read: it is not a regular file"):
            read_verified(path, sha256=SHA256)


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "AAPL.pt"
    with path.open("wb") as file:
        file.truncate(checkpoint.MAX_BYTES + 1)
    with pytest.raises(CheckpointRefused, match=r"cannot be read: it has more than 1,024 MiB"):
        read_verified(path, sha256=SHA256)
