"""Signature of a folder of bars, which changes with its files; no file is read for it."""

import hashlib
import json
from pathlib import Path

from ldtm_lib.prices.sources.tables import may_hold_bars


def folder_signature(folder: Path) -> str:
    """A hash of names, sizes and times of the files that may hold bars or splits; a missing folder counts as empty.

    Hidden files do not count, nor do files of other kinds, such as a log that grows in the same folder.
    """
    found: list[tuple[str, int, int]] = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if not may_hold_bars(path) or any(part.startswith(".") for part in name.parts):
            continue
        try:
            status = path.stat()
        except OSError:  # removed meanwhile, or out of reach: it counts as missing
            continue
        if path.is_file():
            found.append((str(name), status.st_size, status.st_mtime_ns))
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()
