"""Databases for tests: an embedded server in a folder of its own, and databases that are dropped at the end."""

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from ldtm_lib.database import embedded
from ldtm_lib.database.connection import Database
from tests.repository import REPOSITORY

NUMBERS = itertools.count()
MEMORY = Path("/dev/shm")
MEMORY_BYTES = 2 * 2**30
"""Free memory that the databases of one test process may need; a container has 64 MiB there unless it is told more."""


def in_memory() -> Path | None:
    """A folder of a file system in memory, if it has room: a copy of a database takes 0.02 s there, 0.5 s on a disk."""
    has_room = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > MEMORY_BYTES
    return MEMORY if has_room else None


@contextmanager
def server_home(parent: Path | None = None) -> Iterator[Path]:
    """A folder for an embedded PostgreSQL, which is stopped at the end.

    Not in pytest's own temporary folder: every new pytest process closes that to other users, the server's included.
    """
    temporary = tempfile.TemporaryDirectory(prefix="ldtm-", ignore_cleanup_errors=True, dir=parent)
    with temporary as folder, reaper_of(Path(folder)):
        yield Path(folder)
        embedded.stop(Path(folder))


@contextmanager
def reaper_of(folder: Path) -> Iterator[None]:
    """Stop what runs in a folder also when this process is killed: the reaper's standard input ends with it."""
    command = [sys.executable, "-m", "tests.reaper", str(folder)]
    reaper = subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
        assert reaper.stdin is not None
        reaper.stdin.write(b"done\n")
    finally:
        reaper.communicate()


def do_not_wait_for_the_disk(server_url: str) -> None:
    """Let a server lose commits when the machine stops; when its processes are killed they survive all the same."""
    with psycopg.connect(server_url, autocommit=True) as admin:
        for setting, value in {"fsync": "off", "full_page_writes": "off", "max_wal_size": "256MB"}.items():
            admin.execute(sql.SQL("alter system set {} = {}").format(sql.Identifier(setting), value))
        admin.execute("select pg_reload_conf()")


def url_of(server_url: str, name: str) -> str:
    """The server's URL with another database, still a URL."""
    parts = psycopg.conninfo.conninfo_to_dict(server_url)
    host, port = parts.get("host", ""), parts.get("port")
    user, password = parts.get("user", "postgres"), parts.get("password", "")
    at = f"{user}:{password}@" if password else f"{user}@"
    if str(host).startswith("/"):
        return f"postgresql://{at}/{name}?host={host}"
    return f"postgresql://{at}{host}:{port or 5432}/{name}"


def create_database(server_url: str, name: str, template: str | None) -> None:
    with psycopg.connect(server_url, autocommit=True) as admin:
        query = sql.SQL("create database {} template {}").format(
            sql.Identifier(name), sql.Identifier(template or "template1")
        )
        admin.execute(query)


def drop_database(server_url: str, name: str) -> None:
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


@contextmanager
def fresh_database(server_url: str, template: str) -> Iterator[Database]:
    """A copy of the template, dropped at the end."""
    name = f"ldtm_example_{os.getpid()}_{next(NUMBERS)}"
    create_database(server_url, name, template)
    try:
        yield Database(url=url_of(server_url, name), schema="ldtm")
    finally:
        drop_database(server_url, name)


class CountingCursor(psycopg.Cursor[tuple[object, ...]]):
    num_statements = 0

    def execute(self, *args: object, **kwargs: object):
        CountingCursor.num_statements += 1
        return super().execute(*args, **kwargs)  # pyright: ignore[reportArgumentType, reportCallIssue]
