"""The files and packages of this installation: a checkout of the repository, or a wheel in a virtual environment.

The wheel holds the files of the repository's top level in `ldtm_lib/files`; a checkout has no such folder.
"""

import hashlib
import os
import shlex
import shutil
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

DISTRIBUTION = "ldtm"
DAGSTER_CODE = ("ldtm_lib", "ldtm_assets")
"""The packages that a code location imports."""
IMAGE_VARIABLE = "LDTM_IMAGE"
"""Set only in the container stack: the image of the code server, from which runs get their containers."""
_WHEEL_FILES = Path(__file__).parent / "files"
FILES = _WHEEL_FILES if _WHEEL_FILES.is_dir() else Path(__file__).parents[1]
"""The folder that holds sql/, dagster.yaml, workspace.yaml, demo.toml, universe.toml and verify_proof.py."""


def in_stack() -> bool:
    """True if this process is part of the container stack."""
    return IMAGE_VARIABLE in os.environ


def start_command() -> str:
    """The command that starts Dagster: `ldtm up`, or that of the container stack."""
    return "docker compose up -d" if in_stack() else "ldtm up"


def reload_command() -> str:
    """The command by which Dagster loads changed code and settings."""
    return "docker compose restart code webserver" if in_stack() else "ldtm up"


def installed_version() -> str:
    """The version of LDTM; `unknown` for source code that was never installed."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"


def code_sha256() -> str:
    """SHA-256 of the code that Dagster loads: the packages, the SQL, and the configuration of Dagster."""
    folder = Path(__file__).parents[1]
    files = [path for name in DAGSTER_CODE for path in (folder / name).rglob("*.py")]
    files += [*(FILES / "sql").rglob("*.sql"), FILES / "dagster.yaml", FILES / "workspace.yaml"]
    found = hashlib.sha256()
    for path in sorted(set(files)):
        content = path.read_bytes()
        found.update(f"{path.name} {len(content)}\n".encode() + content)
    return found.hexdigest()


def pip_command(*arguments: str) -> str:
    """A shell command that runs pip in the environment of this process, whatever kind of installation it is."""
    return shlex.join([sys.executable, "-m", "pip", *arguments])


def install_command(names: Iterable[str]) -> str:
    """The shell command that installs releases of packages which this version of LDTM accepts."""
    return pip_command("install", *(_requirement(name) for name in names))


def _requirement(name: str) -> str:
    """A package with the range of versions that LDTM's metadata states, such as `dagster<1.14,>=1.13.27`."""
    try:
        stated = [line.partition(";")[0].strip() for line in requires(DISTRIBUTION) or []]
    except PackageNotFoundError:
        stated = []
    return next((line for line in stated if _name(line) == _name(name)), name)


def _name(requirement: str) -> str:
    """The normalized name of a requirement without extras and versions."""
    name = requirement
    for mark in "[<>=!~ ":
        name = name.partition(mark)[0]
    return name.replace("_", "-").lower()


def ldtm_command() -> str:
    """Command by which a shell in the working folder calls the `ldtm` of this environment: a name, or a path."""
    script = Path(sys.executable).parent / "ldtm"
    found = shutil.which("ldtm")
    if found is not None and Path(found).absolute() == script:
        return "ldtm"
    working = Path.cwd()
    return shlex.quote(str(script.relative_to(working) if script.is_relative_to(working) else script))
