"""Run the sections of a benchmark, each in a process group with a time limit that leaves no process behind.

The process that runs the sections imports only the standard library, so that no driver can block it. A section prints
line by line, and its output is kept however it ends.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

GRACE_SECONDS = 10.0
"""Time between SIGTERM and SIGKILL to a section."""
LEFT_OUT = 77
"""Exit status of a section that cannot run here."""
Command = Callable[[str, Path], Sequence[str]]
"""The command of a section, given its name and a folder that is removed afterwards."""


class LeftOut(Exception):
    """Raised with the reason by a section that cannot run here."""


def _nothing(folder: Path) -> None:
    """Clean up nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of a benchmark."""

    name: str
    title: str
    limit_seconds: float
    expected_seconds: float
    """On an H100."""
    essential: bool = False
    """True if the sections after it make no sense when it fails."""
    clean_up: Callable[[Path], None] = _nothing
    """Called with the section's folder when all its processes have ended; stops servers in sessions of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The end of a section."""

    section: Section
    outcome: str
    failed: bool
    seconds: float


def run_sections(sections: Sequence[Section], command: Command, *, patience: float = 1.0) -> int:
    """Run sections one after the other and print the outcome of each; returns the exit status.

    `patience` multiplies all limits.
    """
    end_on_signals()
    endings: list[Ending] = []
    for section in sections:
        print(f"\n{section.title}", flush=True)
        ending = _run(section, command, section.limit_seconds * patience)
        if ending.failed:
            print(f"  {section.name} {ending.outcome}", flush=True)
        endings.append(ending)
        if ending.failed and section.essential:
            break
    print(f"\n{'section':12}  seconds  expected on an H100", flush=True)
    for ending in endings:
        print(
            f"{ending.section.name:12} {ending.seconds:8.1f} {ending.section.expected_seconds:9.0f}  {ending.outcome}",
            flush=True,
        )
    failed = [ending.section.name for ending in endings if ending.failed]
    print(f"{sum(ending.seconds for ending in endings):.0f} s in all; {_verdict(failed)}", flush=True)
    return 1 if failed else 0


def _verdict(failed: Sequence[str]) -> str:
    return f"FAILED: {', '.join(failed)}" if failed else "all sections passed or were left out"


def _run(section: Section, command: Command, limit_seconds: float) -> Ending:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ldtm-bench-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)  # the embedded PostgreSQL runs as another user
        try:
            outcome, failed = _run_limited(command(section.name, Path(folder)), limit_seconds)
        finally:
            problem = _clean_up(section, Path(folder))
        if problem:
            outcome, failed = f"{outcome}; {problem}", True
    return Ending(section=section, outcome=outcome, failed=failed, seconds=time.monotonic() - began)


def _clean_up(section: Section, folder: Path) -> str:
    """Clean up after a section; returns the error, or an empty text. An error ends no other section."""
    try:
        section.clean_up(folder)
    except Exception as error:
        return f"cleaning up failed: {type(error).__name__}: {error}"
    return ""


def _run_limited(command: Sequence[str], limit_seconds: float) -> tuple[str, bool]:
    """Run a command in a process group of its own; returns the outcome, and True if it is a failure."""
    process = subprocess.Popen(command, start_new_session=True)
    try:
        status = process.wait(limit_seconds)
    except subprocess.TimeoutExpired:
        return f"was ended by its limit of {limit_seconds:g} s, which --patience raises; what it printed stands", True
    finally:
        end_group(process)
    if status == LEFT_OUT:
        return "was left out", False
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}", True
    return ("passed", False) if status == 0 else (f"FAILED with exit status {status}", True)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and its whole group: by SIGTERM, and by SIGKILL after GRACE_SECONDS."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + GRACE_SECONDS
        while process.poll() is None or _lives(process.pid):
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
    process.wait()


def _lives(group: int) -> bool:
    """True if a process of a group is alive; a zombie is not."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it has ended meanwhile
            continue
        if int(its_group) == group and state != "Z":
            return True
    return False


def run_section(section: Callable[[], bool]) -> int:
    """Run a section in this process, which runs nothing else; returns the exit status."""
    end_on_signals()
    print_by_line()
    try:
        return 0 if section() else 1
    except LeftOut as reason:
        print(f"  left out: {reason}")
        return LEFT_OUT


def print_by_line() -> None:
    """Flush every line as soon as it is printed, into a pipe as well."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def end_on_signals() -> None:
    """Make SIGTERM and the SIGHUP of a lost terminal run the `finally` blocks of this process."""

    def end(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
