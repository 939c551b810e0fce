"""`ldtm up` and `ldtm down`: what was started is found again, and nothing of it stays behind."""

import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import Installation, installed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    with installed() as folder:
        yield folder


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _processes_of(installation: Installation) -> list[str]:
    """The command lines of living processes that were started with the installation's configuration."""
    found: list[str] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if f"LDTM_CONFIG={installation.config}".encode() in environment and "dagster" in command:
            found.append(command[:100])
    return found


def _wait_for_the_pages(port: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=2).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
        else:
            return
    raise AssertionError("the pages did not come up")


def test_up_twice_is_one_and_down_leaves_nothing(installation: Installation, port: int) -> None:
    assert f"http://127.0.0.1:{port}" in installation.ldtm("up", "--port", str(port))
    assert "already up" in installation.ldtm("up", "--port", str(port))
    assert len(_processes_of(installation)) >= 4
    stopped = " ".join(installation.ldtm("down").split())
    assert "Dagster of ldtm_demo" in stopped
    assert "the embedded PostgreSQL of ldtm_demo" in stopped
    assert _processes_of(installation) == []
    assert "nothing was running" in installation.ldtm("down")


def test_in_the_foreground_it_ends_with_all_of_its_processes(installation: Installation, port: int) -> None:
    words = ["up", "--foreground", "--port", str(port)]
    foreground = subprocess.Popen(
        [sys.executable, "-m", "ldtm_cli.main", "-c", str(installation.config), *words],
        env=installation.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _wait_for_the_pages(port)
    foreground.send_signal(signal.SIGTERM)
    assert foreground.wait(timeout=60) == 0
    assert _processes_of(installation) == []


def test_a_port_that_is_taken_is_told(installation: Installation) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = str(taken.getsockname()[1])
        assert f"port {number} is taken" in installation.ldtm("up", "--port", number, expect=2)
