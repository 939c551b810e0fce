"""Sizes of folders in which runs work meanwhile."""

import shutil
import threading
import time
from pathlib import Path

from ldtm_lib.maintenance.disk import folder_bytes


def test_a_folder_has_the_size_of_its_files_and_links_count_as_links(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"x" * 1000)
    (tmp_path / "link").symlink_to("a/b")
    assert folder_bytes(tmp_path) == 1003
    assert folder_bytes(tmp_path / "nowhere") == 0


def test_files_and_folders_that_go_while_they_are_counted_count_nothing(tmp_path: Path) -> None:
    until = time.monotonic() + 2

    def come_and_go() -> None:
        while time.monotonic() < until:
            for number in range(50):
                (tmp_path / f"{number}").mkdir()
                for name in range(5):
                    (tmp_path / f"{number}" / f"{name}").write_text("x")
            for number in range(50):
                shutil.rmtree(tmp_path / f"{number}")

    worker = threading.Thread(target=come_and_go)
    worker.start()
    sizes = [folder_bytes(tmp_path)]
    while worker.is_alive():
        sizes.append(folder_bytes(tmp_path))
    assert 0 <= min(sizes) < max(sizes) <= 250
