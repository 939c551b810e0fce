"""Log files that processes have open: the older half goes, and whoever appends goes on.

The newer half is copied to the beginning and the file cut behind it, in place: a new file under the old name would
stay empty, since the writers hold the old one. They must append (O_APPEND), as both of ours do: Dagster's output,
which `ldtm up` opens so, and the embedded PostgreSQL's, which pg_ctl does.
"""

import os
from pathlib import Path

BLOCK_BYTES = 1 << 20


def drop_older_half(path: Path, *, above_bytes: int, dry_run: bool) -> int:
    """Drop the older half of a log that is larger than allowed, up to the end of a line; returns the bytes that went.

    What is written meanwhile is copied too; a line that comes between the last look and the cut is lost. Whoever is
    killed in between leaves lines twice, and loses none.
    """
    if not path.exists() or (size := path.stat().st_size) <= above_bytes:
        return 0
    with path.open("rb+") as log:
        log.seek(size // 2)
        log.readline()
        start = log.tell()
        if dry_run:
            return start
        read, written = start, 0
        while block := os.pread(log.fileno(), BLOCK_BYTES, read):
            os.pwrite(log.fileno(), block, written)
            read, written = read + len(block), written + len(block)
        os.ftruncate(log.fileno(), written)
        return start
