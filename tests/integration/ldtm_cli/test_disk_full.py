"""A full disk: one message with the remedy, whichever driver meets it, and nothing that is on record is lost."""

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from ldtm_cli.disk_full import disk_full
from ldtm_lib.database import embedded
from tests.integration.ldtm_cli.shell import run_ldtm

SIZE_MIB = 110
LEFT_MIB = 0.3


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 110 MiB, for a server and little more."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m,mode=755", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"only root may mount a small file system: {mounted.stderr.strip()}")
    try:
        for place in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
            place.chmod(0o755)  # the server has a user of its own
        yield folder
    finally:
        embedded.stop(folder / ".ldtm" / "ldtm")
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    filler = folder / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, int(shutil.disk_usage(folder).free - LEFT_MIB * 2**20))
    return filler


@pytest.mark.slow
def test_a_full_disk_is_one_message_with_the_remedy_and_nothing_is_lost(small_disk: Path) -> None:
    (small_disk / "universe.toml").write_text('tickers = ["AAPL"]\n')
    migrated = run_ldtm(small_disk, "", "db", "migrate")
    assert migrated.returncode == 0, migrated.stderr
    filler = fill(small_disk)
    by_dagsters_driver = run_ldtm(small_disk, "", "audit", "seal")
    assert by_dagsters_driver.returncode == 1
    assert "Traceback" not in by_dagsters_driver.stderr
    assert "error: the disk is full (" in by_dagsters_driver.stderr
    assert f"MiB are free at {small_disk / '.ldtm'}. Free some space: `ldtm retention --dry-run`" in (
        by_dagsters_driver.stderr
    )
    filler.unlink()
    again = run_ldtm(small_disk, "", "audit", "seal")
    assert (again.returncode, again.stderr) == (0, "")


class _Wrapped(Exception):
    """As SQLAlchemy wraps the error of a driver."""

    def __init__(self, orig: BaseException) -> None:
        super().__init__(f"(psycopg2) {orig}")
        self.orig = orig


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        psycopg.errors.DiskFull("could not extend file"),
        _Wrapped(psycopg.errors.DiskFull("could not extend file")),
    ],
)
def test_every_kind_of_full_disk_is_recognized(tmp_path: Path, error: BaseException) -> None:
    outer = RuntimeError("a step failed")
    outer.__cause__ = error
    assert str(disk_full(outer, tmp_path)).startswith("the disk is full (")


def test_another_error_is_none(tmp_path: Path) -> None:
    assert disk_full(ValueError("no such thing"), tmp_path) is None
    assert disk_full(psycopg.OperationalError("server closed the connection unexpectedly"), tmp_path) is None
