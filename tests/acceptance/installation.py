"""Installations for tests of the whole loop: a folder with a configuration and an embedded PostgreSQL."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ldtm_lib.database.connection import Database
from ldtm_lib.project import Project, open_project
from tests.databases import server_home
from tests.repository import REPOSITORY


@dataclass(frozen=True, slots=True)
class Installation:
    """A folder as an owner has it."""

    config: Path

    def ldtm(self, *words: str, expect: int = 0, timeout: float = 400) -> str:
        """What the command printed; fails when its exit status is another one."""
        done = subprocess.run(
            [sys.executable, "-m", "ldtm_cli.main", "--config", str(self.config), *words],
            capture_output=True,
            text=True,
            env=self.environment(),
            timeout=timeout,
        )
        assert done.returncode == expect, f"{words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr if expect else done.stdout

    def json(self, *words: str) -> Any:
        """What the command printed as JSON."""
        return json.loads(self.ldtm(*words, "--json"))

    def environment(self) -> dict[str, str]:
        """A shell's environment that names no other installation."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("LDTM_", "DAGSTER_"))}
        return {**ours, "PYTHONPATH": str(REPOSITORY)}

    def project(self) -> Project:
        """The installation as the library sees it."""
        return open_project(self.config, {})

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of its database."""
        return rows_of(self.project().database, query)


def rows_of(database: Database, query: str) -> list[tuple[Any, ...]]:
    """Rows of a database."""
    with database.transaction() as conn:
        return conn.execute(query.encode()).fetchall()


@contextmanager
def installed(**replaced: str) -> Iterator[Installation]:
    """The demo's configuration in a folder of its own, with some lines replaced; all is stopped at the end."""
    text = (REPOSITORY / "demo.toml").read_text()
    for name, value in replaced.items():
        old = next(line for line in text.splitlines() if line.startswith(f"{name} ="))
        text = text.replace(old, f"{name} = {value}")
    with server_home() as folder:
        installation = Installation(folder / "demo.toml")
        installation.config.write_text(text)
        yield installation
        installation.ldtm("down")
