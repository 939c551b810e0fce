"""The command `ldtm` in a folder, as a shell runs it."""

import os
import subprocess
from pathlib import Path

from tests.integration.ldtm_cli.fork_server import run
from tests.repository import REPOSITORY


def run_ldtm(folder: Path, url: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command on the PostgreSQL server that a URL names, in an environment that names no other installation."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("LDTM_", "DAGSTER_"))}
    return run(words, folder, {**ours, "PYTHONPATH": str(REPOSITORY), "LDTM_DATABASE_URL": url, **environment})
