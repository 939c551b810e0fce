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

from tests.acceptance.installation import Installation, installed

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


def _listens_on(port: int) -> set[str]:
    """The local IPv4 addresses that something listens on with a port."""
    found: set[str] = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, *_ = line.split()
        address, number = local.split(":")
        if state == "0A" and int(number, 16) == port:
            found.add(socket.inet_ntoa(bytes.fromhex(address)[::-1]))
    return found


def _wait_for_the_ui(port: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=2).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
        else:
            return
    raise AssertionError("the UI did not come up")


def test_up_twice_is_one_and_down_leaves_nothing(installation: Installation, port: int) -> None:
    assert f"http://127.0.0.1:{port}" in installation.ldtm("up", "--port", str(port))
    assert "already up" in installation.ldtm("up", "--port", str(port))
    assert len(_processes_of(installation)) >= 4
    assert _listens_on(port) == {"127.0.0.1"}, "by default only this machine reaches the UI"
    finding = next(found for found in installation.json("doctor") if found["what"] == "UI")
    assert (finding["level"], finding["found"]) == ("ok", "served on 127.0.0.1, reachable only from this machine")
    assert installation.rows("select setting from pg_settings where name = 'listen_addresses'") == [("",)]
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
    _wait_for_the_ui(port)
    foreground.send_signal(signal.SIGTERM)
    assert foreground.wait(timeout=60) == 0
    assert _processes_of(installation) == []


def test_a_port_that_is_taken_is_reported(installation: Installation) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = str(taken.getsockname()[1])
        assert f"port {number} of 127.0.0.1 is in use" in installation.ldtm("up", "--port", number, expect=2)


def _serve_on(installation: Installation, ui: str) -> None:
    """Add a section `ui` to the configuration."""
    text = installation.config.read_text().partition("\n[ui]\n")[0]
    installation.config.write_text(f"{text}\n[ui]\n{ui}\n")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "example.org", "::"])
def test_another_address_is_refused_with_the_remedy(installation: Installation, port: int, host: str) -> None:
    _serve_on(installation, f'host = "{host}"')
    said = " ".join(installation.ldtm("up", "--port", str(port), expect=2).split())
    assert f"ui.host is '{host}', which others may reach, and Dagster's UI has no login" in said
    assert "put a reverse proxy with a login in front of 127.0.0.1" in said
    assert "or set ui.allow_other_addresses = true" in said
    assert _listens_on(port) == set()


@pytest.mark.nightly
def test_an_address_that_is_allowed_is_served_with_a_warning(installation: Installation, port: int) -> None:
    _serve_on(installation, 'host = "0.0.0.0"\nallow_other_addresses = true')
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ldtm_cli.main", "-c", str(installation.config), "up", "--port", str(port)],
            env=installation.environment(),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert "warning: the UI has no login: anyone who can reach 0.0.0.0 can do anything there" in done.stderr
        assert f"Dagster    http://127.0.0.1:{port} (process" in done.stdout
        assert _listens_on(port) == {"0.0.0.0"}
        assert f"already up: http://127.0.0.1:{port}" in installation.ldtm("up", "--port", str(port))
        finding = next(found for found in installation.json("doctor") if found["what"] == "UI")
        assert (finding["level"], finding["found"]) == (
            "warn",
            "served on 0.0.0.0 without a login: anyone who can reach that address can do anything there",
        )
    finally:
        installation.ldtm("down")
        _serve_on(installation, "")


def test_an_address_of_no_interface_is_reported(installation: Installation, port: int) -> None:
    _serve_on(installation, 'host = "192.0.2.7"\nallow_other_addresses = true')
    said = " ".join(installation.ldtm("up", "--port", str(port), expect=2).split())
    assert f"the UI cannot be served on '192.0.2.7', port {port}" in said
    assert "correct ui.host" in said
    _serve_on(installation, "")
