"""One clock for all processes of an installation, which a test sets: libfaketime over a file that holds the shift.

The library comes from the package `libfaketime`. Debian's build, 0.9.10, shifts absolute sleeps on CLOCK_MONOTONIC
although that clock is to be left alone: `time.sleep` of Python 3.11 raises EINVAL under it.
"""

import importlib.util
import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
LIBRARY = Path("vendor", "libfaketime", "src", "libfaketime.so.1")
IMPATIENCE = Path(__file__).parent / "impatience"


def library() -> Path | None:
    """The shared library of the package `libfaketime`, if it is installed."""
    found = importlib.util.find_spec("libfaketime")
    folders = found.submodule_search_locations if found else None
    paths = [Path(folder) / LIBRARY for folder in folders or ()]
    return next((path for path in paths if path.is_file()), None)


def new_york(day: str, time_of_day: str) -> datetime:
    """A moment in New York, from ISO texts."""
    return datetime.fromisoformat(f"{day}T{time_of_day}").replace(tzinfo=NEW_YORK)


class ShiftedClock:
    """A clock that goes at its usual pace and jumps forward on request."""

    def __init__(self, folder: Path, start: datetime) -> None:
        """`folder` must be open to all users: the embedded PostgreSQL runs as one of its own."""
        given = library()
        assert given is not None, "skip what needs a shifted clock where `library` finds none"
        folder.chmod(0o755)
        self._file = folder / "clock"
        self._library = folder / given.name
        shutil.copyfile(given, self._library)
        self._library.chmod(0o755)
        self._shift = start.timestamp() - time.time()
        self._write()

    def environment(self) -> dict[str, str]:
        """What a process needs to live by this clock. Times of files and CLOCK_MONOTONIC stay as they are.

        The file is read once a second: at every call, threads that read it at once may end their process (libfaketime
        3.0.1 keeps what it reads in one buffer for all of them).
        """
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "0",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DISABLE_SHM": "1",
            "NO_FAKE_STAT": "1",
            "DAGSTER_GRPC_PROXY_HEARTBEAT_TTL_SECONDS": "1000000",
        }

    def now(self) -> datetime:
        """What the clock shows."""
        return datetime.fromtimestamp(time.time() + self._shift, UTC)

    def set(self, moment: datetime) -> None:
        """Jump to a moment."""
        ahead = moment - self.now()
        assert ahead > timedelta(0), f"{moment} has passed: it is {self.now()}"
        self.advance(ahead)

    def reach(self, moment: datetime) -> None:
        """Jump to a moment, unless a slow machine has passed it already."""
        if moment > self.now():
            self.set(moment)

    def advance(self, by: timedelta) -> None:
        """Jump so far."""
        self._shift += by.total_seconds()
        self._write()

    def _write(self) -> None:
        """Put the shift in place in one step: whoever reads finds the old one or the new one."""
        part = self._file.with_suffix(".part")
        part.write_text(f"{self._shift:+.3f}\n")
        part.chmod(0o644)
        os.replace(part, self._file)
