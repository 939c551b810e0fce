"""A full disk, in whatever error it appears: of a file, of psycopg, or of the driver that Dagster uses."""

import errno
from collections.abc import Iterator
from pathlib import Path

from ldtm_lib.errors import LdtmError
from ldtm_lib.maintenance.disk import MIB, free_bytes

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
DISK_FULL = "53100"
"""SQLSTATE of PostgreSQL for a disk without room."""
CONNECTION_LOST = "server closed the connection unexpectedly"
NEARLY_FULL_MIB = 32
"""Free space below which a server that went away is taken to have ended for lack of room; its log takes 16 MiB."""


class DiskFull(LdtmError):
    """Something could not be written for lack of room."""


def disk_full(error: BaseException, home: Path) -> DiskFull | None:
    """The error in words, with the remedy, if a full disk caused it; `home` is the folder of the installation."""
    free_mib = free_bytes(home) / MIB
    for each in _causes(error):
        state = getattr(each, "sqlstate", None) or getattr(each, "pgcode", None)
        is_full = isinstance(each, OSError) and each.errno in NO_ROOM
        text = " ".join(str(each).split())
        has_gone = CONNECTION_LOST in text and free_mib < NEARLY_FULL_MIB
        if is_full or state == DISK_FULL or "No space left on device" in text or has_gone:
            return DiskFull(
                f"the disk is full ({text[:200]}); {free_mib:,.0f} MiB are free at {home}. Free some space: `ldtm "
                "retention --dry-run` shows what LDTM can remove. Then repeat the command; what is on record is kept"
            )
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, what it was raised from, and the driver's error that SQLAlchemy wraps."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop(0)
        if each is not None and each not in seen:
            seen.append(each)
            yield each
            waiting += [getattr(each, "orig", None), each.__cause__, each.__context__]
