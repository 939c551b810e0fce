"""Measure the container stack: image, start, launch of a run, memory, and a daily run of 103 tickers.

Run on an idle machine, as root on Debian with docker.io, docker-compose and debootstrap, in the root of the repository:
`PYTHONPATH=. python benchmarks/containers.py`. The script makes its own engine, base image and stack (several minutes)
and removes them. It compares a run container with the same job in a process of a container that already runs.
"""

import os
import shutil
import socket
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from bench_snapshots import bars

from ldtm_lib.sessions import exchange_calendar
from tests.acceptance.containers.engine import docker_engine, missing_for_an_engine
from tests.acceptance.containers.stack import Stack

NUM_TICKERS, NUM_SESSIONS, USER = 103, 320, 10001
SEED = """
import os, sys
sys.path.insert(0, "/ldtm/benchmarks")
from pathlib import Path
from bench_snapshots import networks
from ldtm_lib.project import config_path, open_project
project = open_project(config_path(os.environ), os.environ)
project.checkpoint_folder.mkdir(parents=True, exist_ok=True)
with project.database.transaction() as conn:
    networks(conn, project.checkpoint_folder, project.settings)
"""
CONFIG = """
tickers = [{tickers}]
[source]
kind = "files"
folder = "bars"
basis = "adjusted"
[partitions]
first_session = {first}
"""


def main() -> None:
    if missing := missing_for_an_engine():
        raise SystemExit(missing)
    with docker_engine() as engine, tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        own, source = Path(folder) / "own", Path(folder) / "source"
        sessions = installation(own)
        Path(folder).chmod(0o755)
        stack = Stack(engine, source, free_port())
        stack.install(LDTM_FOLDER=str(own))
        stack.build()
        print(f"image: {image_mb(stack):,.0f} MB, of which its base {image_mb(stack, 'ldtm-test/base:3.11'):,.0f} MB")
        print(f"start of the stack until every service is healthy: {stack.up():.0f} s")
        time.sleep(30)
        print("memory when idle: " + memory(stack))
        tickers = [f"T{number:03}" for number in range(NUM_TICKERS)]
        history = {"price_history": {"config": {"last_session": sessions[-4].isoformat()}}}
        first = stack.launch("price_history_job", tickers, history)
        assert stack.end_of(first) == "SUCCESS"
        stack.compose("run", "--rm", "-T", "--entrypoint", "python", "ldtm", "-c", SEED)
        for session in sessions[-3:-1]:
            run = stack.launch("daily_job", [f"{session}|{ticker}" for ticker in tickers])
            assert stack.end_of(run) == "SUCCESS", stack.events(run)
        queued, launched, began, ended = (moment(stack, run, kind) for kind in STAGES)
        print(
            f"launch of a run container to its first step: {began - launched:.1f} s, "
            f"{began - queued:.1f} s from the request"
        )
        words = ("run", str(sessions[-1]))
        started = time.perf_counter()
        stack.engine.docker("exec", stack.container("code"), "ldtm", *words, timeout=600)
        plain = time.perf_counter() - started
        print(
            f"daily run of {NUM_TICKERS} tickers: {ended - queued:.1f} s in a container from its request to its end, "
            f"{ended - began:.1f} s of it from its first step; as a process of a running container {plain:.1f} s; "
            f"{(ended - queued) / plain:.1f} x"
        )
        stack.remove()


STAGES = ("RUN_ENQUEUED", "RUN_STARTING", "STEP_START", "RUN_SUCCESS")


def moment(stack: Stack, run: str, kind: str) -> float:
    """The time of a run's event in seconds."""
    return next(float(event["timestamp"]) / 1000 for event in stack.events(run) if event["eventType"] == kind)


def installation(folder: Path) -> list[datetime]:
    """Make an installation folder with a configuration and 103 files of bars; returns the sessions."""
    calendar = exchange_calendar()
    newest = calendar.last_closed(datetime.now(UTC))
    sessions = calendar.between(calendar.offset(newest, -NUM_SESSIONS), newest)
    (folder / "bars").mkdir(parents=True)
    for (ticker,), of_ticker in bars(sessions).group_by("ticker"):
        of_ticker.drop("ticker").write_csv(folder / "bars" / f"{ticker}.csv")
    names = ", ".join(f'"T{number:03}"' for number in range(NUM_TICKERS))
    (folder / "universe.toml").write_text(CONFIG.format(tickers=names, first=sessions[-20]))
    shutil.copytree(Path(__file__).parent, folder / "benchmarks")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, USER, USER)
    return sessions


def memory(stack: Stack) -> str:
    names = [stack.container(service) for service in ("code", "webserver", "daemon", "postgres")]
    used = stack.engine.docker("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}", *names)
    return ", ".join(line.split(" / ")[0] for line in used.splitlines())


def image_mb(stack: Stack, image: str = "ldtm:test") -> float:
    return float(stack.inspect(image)["Size"]) / 1e6


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    main()
