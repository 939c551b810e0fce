"""Writes that are on the disk when they return."""

import errno
import os
import uuid
from pathlib import Path


def append(file: int, content: bytes) -> None:
    """Append to an open file in one write, and wait for the disk; raises OSError if only a part was written."""
    if content and (written := os.write(file, content)) != len(content):
        raise OSError(errno.ENOSPC, f"only {written} of {len(content)} bytes were written")
    os.fsync(file)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file atomically: it exists with all of its content, or not at all. The folder must exist."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
