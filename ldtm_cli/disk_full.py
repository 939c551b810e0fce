"""Detection of a full disk in errors of files, of psycopg, and of the driver that Dagster uses."""

import errno
from collections.abc import Iterator
from pathlib import Path

from ldtm_lib.errors import LdtmError
from ldtm_lib.maintenance.disk import MIB, free_bytes

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
DISK_FULL = "53100"
"""SQLSTATE of PostgreSQL for a full disk."""
CONNECTION_LOST = "server closed the connection unexpectedly"
NEARLY_FULL_MIB = 32
"""Free space below which a lost connection counts as caused by a full disk; a WAL segment takes 16 MiB."""


class DiskFull(LdtmError):
    """A write failed because the disk is full."""


def disk_full(error: BaseException, home: Path) -> DiskFull | None:
    """A DiskFull with the remedy if a full disk caused the error; `home` is the folder of the installation."""
    free_mib = free_bytes(home) / MIB
    for each in _causes(error):
        state = getattr(each, "sqlstate", None) or getattr(each, "pgcode", None)
        is_full = isinstance(each, OSError) and each.errno in NO_ROOM
        text = " ".join(str(each).split())
        has_gone = CONNECTION_LOST in text and free_mib < NEARLY_FULL_MIB
        if is_full or state == DISK_FULL or "No space left on device" in text or has_gone:
            return DiskFull(
                f"the disk is full ({text[:200]}); {free_mib:,.0f} MiB are free at {home}. Free some space: `ldtm "
                "retention --dry-run` shows what LDTM can remove. Then repeat the command; recorded data is kept"
            )
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, its causes and contexts, and the driver's error that SQLAlchemy wraps."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop(0)
        if each is not None and each not in seen:
            seen.append(each)
            yield each
            waiting += [getattr(each, "orig", None), each.__cause__, each.__context__]
