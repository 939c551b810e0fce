"""Disk space: an alert when little is free, a size limit for the log files, and the size of folders.

Log files are truncated in place while processes have them open: the newest part is copied to the beginning and the file
is cut after it. A new file under the old name would stay empty, since the writers hold the old one. The writers must
append (O_APPEND): `ldtm up` opens Dagster's output so, and pg_ctl the log of the embedded PostgreSQL.
"""

import fcntl
import os
import shutil
from contextlib import suppress
from pathlib import Path

from ldtm_lib.alerts.alert import Alert, raise_alerts, resolve_alerts
from ldtm_lib.database import embedded
from ldtm_lib.database.connection import Connection
from ldtm_lib.settings import RetentionConfig

LOW_DISK_GIB = 5.0
"""Free space below which the alert is raised; bars, checkpoints and logs grow."""
RESOLVED_FACTOR = 1.1
"""Multiple of LOW_DISK_GIB that must be free to resolve the alert, so that it does not flap around the limit."""
ALERT_KEY = "disk"
MIB = BLOCK_BYTES = 1 << 20
GIB = 1 << 30
KEPT_FIFTHS = 4
"""Fifths of its limit that a truncated log keeps; with all five, the next line would cause the next truncation."""


def free_bytes(home: Path) -> int:
    """Free bytes on the disk of the state folder of an installation, which need not exist yet."""
    return shutil.disk_usage(next(place for place in (home, *home.parents) if place.exists())).free


def low_disk_alert(home: Path) -> Alert | None:
    """The alert that little disk space is free; None if enough is free."""
    free_gib = free_bytes(home) / GIB
    if free_gib >= LOW_DISK_GIB:
        return None
    return Alert(
        key=ALERT_KEY,
        kind="disk",
        severity="warning",
        subject="disk",
        summary=(
            f"{free_gib:.1f} GiB free at {home}, less than {LOW_DISK_GIB:g} GiB: free some space, or see "
            "`ldtm retention`"
        ),
    )


def check_disk(conn: Connection, home: Path) -> Alert | None:
    """Raise the alert that little disk space is free, or resolve it; returns the alert that holds at this moment."""
    if (alert := low_disk_alert(home)) is not None:
        raise_alerts(conn, [alert])
    elif free_bytes(home) >= RESOLVED_FACTOR * LOW_DISK_GIB * GIB:
        resolve_alerts(conn, [ALERT_KEY])
    return alert


def folder_bytes(folder: Path) -> int:
    """Size of the files below a folder; a file that disappears meanwhile counts nothing."""
    num_bytes = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                num_bytes += os.lstat(os.path.join(place, name)).st_size
    return num_bytes


def dagster_log(home: Path) -> Path:
    """Log of Dagster's processes when `ldtm up` has started them."""
    return home / "logs" / "dagster.log"


def dashboard_log(home: Path) -> Path:
    """Log of the dashboard when `ldtm up` has started it."""
    return home / "logs" / "dashboard.log"


def truncate_logs(home: Path, config: RetentionConfig, *, dry_run: bool = False) -> list[int]:
    """Truncate the logs of an installation to `log_mib` each; returns the bytes removed of each truncated one."""
    paths = (dagster_log(home), dashboard_log(home), home / embedded.FOLDER / "log")
    removed = [truncate_log(path, limit_bytes=config.log_mib * MIB, dry_run=dry_run) for path in paths]
    return [num_bytes for num_bytes in removed if num_bytes]


def truncate_log(path: Path, *, limit_bytes: int, dry_run: bool) -> int:
    """Remove the oldest lines of a log that is larger than allowed, until four fifths of the limit are left.

    Returns the number of removed bytes; a log within its limit costs one `stat`. Lines that are written meanwhile are
    copied too; a line between the last read and the cut is lost. A process that is killed in between leaves some lines
    twice, and loses none.
    """
    if not path.exists() or path.stat().st_size <= limit_bytes:
        return 0
    with path.open("rb+") as log:
        fcntl.flock(log, fcntl.LOCK_EX)  # simultaneous truncations would overwrite each other
        size = os.fstat(log.fileno()).st_size
        if size <= limit_bytes:
            return 0
        log.seek(size - limit_bytes * KEPT_FIFTHS // 5)
        log.readline(BLOCK_BYTES)
        start = log.tell()
        if dry_run:
            return start
        read, written = start, 0
        while block := os.pread(log.fileno(), BLOCK_BYTES, read):
            os.pwrite(log.fileno(), block, written)
            read, written = read + len(block), written + len(block)
        os.ftruncate(log.fileno(), written)
        return start
