"""A folder of files at a glance: whether anything in it changed, without reading any of it."""

import hashlib
import json
from pathlib import Path


def folder_signature(folder: Path) -> str:
    """A hash of names, sizes and times of the files in a folder, but for hidden ones; no folder is an empty one."""
    found: list[tuple[str, int, int]] = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if any(part.startswith(".") for part in name.parts):
            continue
        try:
            status = path.stat()
        except OSError:  # it went away, or cannot be reached: as good as not there
            continue
        if path.is_file():
            found.append((str(name), status.st_size, status.st_mtime_ns))
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()
