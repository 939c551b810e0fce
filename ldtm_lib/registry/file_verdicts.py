"""Verdicts on files that are too large to be read at every poll."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

NUM_KEPT = 4096
"""Verdicts that are remembered; a universe of 103 tickers with engines needs 206."""

FileState = tuple[int, int, int, int] | None


class FileVerdicts:
    """Verdicts that are remembered until one of their files changes.

    A file counts as unchanged while its size, inode, and times of modification and of status change are the same. The
    state is taken before the verdict, so that a change in between makes the next call judge again. Damage by the disk
    changes none of these, so the users of a file verify its hash.
    """

    def __init__(self, capacity: int = NUM_KEPT) -> None:
        self._capacity = capacity
        self._known: OrderedDict[Hashable, tuple[list[FileState], bool]] = OrderedDict()

    def holds(self, files: Sequence[Path], judge: Callable[[], bool], *, about: Hashable) -> bool:
        """The verdict of `judge` on some files; `about` is everything else that it depends on."""
        key = tuple(files), about
        states = [_state_of(path) for path in files]
        known = self._known.get(key)
        if known is None or known[0] != states:
            known = states, judge()
            self._known[key] = known
            if len(self._known) > self._capacity:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return known[1]


def _state_of(path: Path) -> FileState:
    """Size, inode and times of a file; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns
