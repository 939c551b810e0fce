"""The end of a test's servers when the test's process is killed.

Waits until its standard input ends, which the test's process holds. Without a word before the end, nobody has cleaned
up: whatever was started in the folder, or with it in its environment, is killed, and the folder is removed.
"""

import os
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path


def processes_of(folder: str) -> list[int]:
    """Processes that name a folder on their command line or in their environment, or work in it."""
    found: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            if folder.encode() in words or str((process / "cwd").readlink()).startswith(folder):
                found.append(int(process.name))
    return [pid for pid in found if pid != os.getpid()]


def reap(folder: str) -> None:
    """Kill the processes of a folder, also those that they start meanwhile, and remove the folder."""
    while pids := processes_of(folder):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    if not sys.stdin.buffer.read():
        reap(sys.argv[1])
