"""Log files that processes have open are held to a size: the oldest lines go, and whoever appends goes on.

The newest part is copied to the beginning and the file cut behind it, in place: a new file under the old name would
stay empty, since the writers hold the old one. They must append (O_APPEND), as both of ours do: Dagster's output,
which `ldtm up` opens so, and the embedded PostgreSQL's, which pg_ctl does.
"""

import fcntl
import os
from pathlib import Path

from ldtm_lib.database import embedded
from ldtm_lib.settings import RetentionConfig

MIB = BLOCK_BYTES = 1 << 20
KEPT_FIFTHS = 4
"""What stays of a log that has become too large, of its limit: with all of it, the next line would make a next cut."""


def dagster_log(home: Path) -> Path:
    """What Dagster's processes say when `ldtm up` has started them."""
    return home / "logs" / "dagster.log"


def hold_logs(home: Path, config: RetentionConfig, *, dry_run: bool = False) -> list[int]:
    """Hold the logs of an installation to `log_mib` each; returns the bytes that went of each one that was cut."""
    paths = (dagster_log(home), home / embedded.FOLDER / "log")
    dropped = [hold_log(path, limit_bytes=config.log_mib * MIB, dry_run=dry_run) for path in paths]
    return [num_bytes for num_bytes in dropped if num_bytes]


def hold_log(path: Path, *, limit_bytes: int, dry_run: bool) -> int:
    """Drop the oldest lines of a log that is larger than allowed, until four fifths of that are left.

    Returns the bytes that went. A log that is small enough costs a look at its size. What is written meanwhile
    is copied too; a line that comes between the last look and the cut is lost. Whoever is killed in between leaves
    lines twice, and loses none.
    """
    if not path.exists() or path.stat().st_size <= limit_bytes:
        return 0
    with path.open("rb+") as log:
        fcntl.flock(log, fcntl.LOCK_EX)  # two who cut at once would copy from under each other
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
