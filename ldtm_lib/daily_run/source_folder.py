"""A folder of bars at a glance: whether anything in it changed, without reading any of it."""

import hashlib
import json
from pathlib import Path

from ldtm_lib.prices.sources.tables import may_hold_bars


def folder_signature(folder: Path) -> str:
    """A hash of names, sizes and times of the files that may hold bars or splits; no folder is an empty one.

    Hidden ones are none of them, and a log that grows beside the bars is no news.
    """
    found: list[tuple[str, int, int]] = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if not may_hold_bars(path) or any(part.startswith(".") for part in name.parts):
            continue
        try:
            status = path.stat()
        except OSError:  # it went away, or cannot be reached: as good as not there
            continue
        if path.is_file():
            found.append((str(name), status.st_size, status.st_mtime_ns))
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()
