"""The folders in which Dagster keeps what runs printed and passed on: they go with the logs of their runs."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.maintenance.purged import Swept

RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
PLACES = (".", "storage")
"""Where Dagster's local managers of logs and of values put a folder a run."""


def remove_run_folders(conn: Connection, dagster_folder: Path, *, before: datetime, dry_run: bool) -> Swept:
    """Remove the folders of runs that ended before a moment or are on record no more.

    The folders are listed before the runs are asked for: a run is on record before it has a folder.
    """
    folders = list(_folders(dagster_folder))
    names = sorted({folder.name for folder in folders})
    rows = conn.execute(query("maintenance.runs_with_folders"), {"run_ids": names, "before": before}).fetchall()
    kept = {run_id for (run_id,) in rows}
    going = [folder for folder in folders if folder.name not in kept]
    num_bytes = sum(size_of(folder) for folder in going)
    if not dry_run:
        for folder in going:
            with suppress(FileNotFoundError):
                shutil.rmtree(folder)
    return Swept(what="folders of runs", num=len(going), num_bytes=num_bytes)


def _folders(dagster_folder: Path) -> Iterator[Path]:
    for place in PLACES:
        if (dagster_folder / place).is_dir():
            yield from (
                path
                for path in (dagster_folder / place).iterdir()
                if RUN_ID.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
            )


def size_of(folder: Path) -> int:
    """The bytes that the files below a folder take; what goes while this looks counts nothing."""
    num_bytes = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                num_bytes += os.lstat(os.path.join(place, name)).st_size
    return num_bytes
