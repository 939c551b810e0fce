"""Run `ldtm` many times, each in a process of its own, without importing the large packages each time.

A server process imports them once and forks for each command: the fork gets a working folder, an environment and output
files of its own, imports the project's packages and ends like any other process. It reads one request per line from
its standard input and answers each with one line: the exit status and the two outputs, as JSON.
"""

import atexit
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import NoReturn

from tests.repository import REPOSITORY

# no polars: its threads would not be there after the fork
PACKAGES = (
    *("dagster", "dagster_postgres", "exchange_calendars", "psycopg", "pydantic", "rich.progress"),
    *("scipy.special", "torch", "typer"),
)
TIMEOUT_SECONDS = 120


@cache
def server() -> "subprocess.Popen[str]":
    """The server of this test process; it ends with it, since nobody writes to its standard input any more."""
    command = [sys.executable, "-m", "tests.integration.ldtm_cli.fork_server"]
    started = {name: value for name, value in os.environ.items() if not name.startswith(("LDTM_", "DAGSTER_"))}
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**started, "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def run(words: tuple[str, ...], folder: Path, environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run one command in a folder, with the whole of its environment, to the end."""
    pipes = server()
    assert pipes.stdin is not None
    assert pipes.stdout is not None
    print(json.dumps([words, str(folder), dict(environment)]), file=pipes.stdin, flush=True)
    status, out, err = json.loads(pipes.stdout.readline())
    return subprocess.CompletedProcess(["ldtm", *words], status, out, err)


def serve() -> None:
    """Answer requests until standard input ends. Returns only in the fork of a command, which is then to be called."""
    for name in PACKAGES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        words, folder, environment = json.loads(line)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = os.fork()
            if child == 0:
                become(words, folder, environment, out.fileno(), err.fileno())
                return
            _, waited = os.waitpid(child, 0)
            status = os.waitstatus_to_exitcode(waited)
            out.seek(0)
            err.seek(0)
            answer = [status, out.read().decode(), err.read().decode()]
        print(json.dumps(answer), flush=True)
    os._exit(0)


def become(words: list[str], folder: str, environment: dict[str, str], out: int, err: int) -> None:
    """Turn a fork of the server into the process of a command."""
    signal.alarm(TIMEOUT_SECONDS)
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["ldtm", *words]


def call_and_exit(app: Callable[[], object]) -> NoReturn:
    """Call the command and end the process without tearing the interpreter down, which touches all shared memory."""
    status = 0
    try:
        app()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    serve()
    from ldtm_cli.main import app

    call_and_exit(app)
