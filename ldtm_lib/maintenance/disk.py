"""The disk that an installation lives on: how much of it is free, and whether that is little."""

import shutil
from pathlib import Path

from ldtm_lib.alerts.alert import Trouble, end, notice
from ldtm_lib.database.connection import Connection

LITTLE_DISK_GIB = 5.0
"""Free space below which people are told; bars, checkpoints and logs grow."""
ROOM_AGAIN = 1.1
"""Times as much is free once it is well again, so that nobody hears of every file around the limit."""
KEY = "disk"
GIB = 1 << 30


def free_bytes(home: Path) -> int:
    """Free space where the state of an installation lives, or would live."""
    return shutil.disk_usage(next(place for place in (home, *home.parents) if place.exists())).free


def little_disk(home: Path) -> Trouble | None:
    """What people must hear of the disk; None where there is room."""
    free_gib = free_bytes(home) / GIB
    if free_gib >= LITTLE_DISK_GIB:
        return None
    return Trouble(
        key=KEY,
        kind="disk",
        severity="warning",
        subject="disk",
        summary=f"{free_gib:.1f} GiB free at {home}, less than {LITTLE_DISK_GIB:g}: free some, or see `ldtm retention`",
    )


def watch_disk(conn: Connection, home: Path) -> Trouble | None:
    """Notice that there is little room, once, or that there is room again; returns what is amiss at this moment."""
    if (trouble := little_disk(home)) is not None:
        notice(conn, [trouble])
    elif free_bytes(home) >= ROOM_AGAIN * LITTLE_DISK_GIB * GIB:
        end(conn, [KEY])
    return trouble
