"""The Dagster processes that `ldtm up` starts: found by a PID file, and stopped with all of their children."""

import ipaddress
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from ldtm_lib.database import embedded
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.project import Project

PID_FILE = "dagster.pid"
FOREGROUND = "foreground"
STOP_TIMEOUT_SECONDS = 20
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningDagster:
    """Webserver and daemon of one configuration."""

    pid: int
    port: int
    host: str
    is_foreground: bool
    """True if another process, such as a service manager, supervises it."""

    @property
    def address(self) -> str:
        """URL of the UI for a browser on this machine."""
        return ui_address(self.host, self.port)


def running_dagster(project: Project) -> RunningDagster | None:
    """The webserver and daemon of a project; None if they are not running."""
    return _running(pid_file_of(project))


def pid_file_of(project: Project) -> Path:
    """The PID file of a project's Dagster."""
    return project.home / PID_FILE


def stop(home: Path) -> list[str]:
    """Stop Dagster and the embedded server of one installation; returns a description of each that was stopped."""
    stopped: list[str] = []
    running = _running(home / PID_FILE)
    if running is not None:
        stop_process_group(running.pid)
        stopped.append(f"Dagster of {home.name} (process {running.pid})")
    (home / PID_FILE).unlink(missing_ok=True)
    if embedded.stop(home):
        stopped.append(f"the embedded PostgreSQL of {home.name}")
    return stopped


def stop_process_group(group: int, *, timeout_seconds: float = STOP_TIMEOUT_SECONDS) -> None:
    """Send SIGTERM to a process group, and SIGKILL to the processes that remain after the timeout."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(group, sign)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            if not _has_members(group):
                return
            time.sleep(0.1)


def require_free_port(host: str, port: int) -> None:
    """Raise ConfigurationError if the host is not an address of this machine, or the port is in use."""
    import errno
    import socket

    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigurationError(f"port {port} of {host} is in use; choose another with --port") from None
        raise ConfigurationError(
            f"the UI cannot be served on {host!r}, port {port} ({error.strerror}); correct ui.host, or choose "
            "another port with --port"
        ) from None


def ui_address(host: str, port: int) -> str:
    """URL of the UI on a host for a browser on this machine."""
    return f"http://{_url_host(host)}:{port}"


def _running(pid_file: Path) -> RunningDagster | None:
    try:
        pid, port, host, *how = pid_file.read_text().split()
        running = RunningDagster(pid=int(pid), port=int(port), host=host, is_foreground=how == [FOREGROUND])
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return running if b"dagster" in command else None


def _has_members(group: int) -> bool:
    """Return whether a process of the group is alive; zombies do not count."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_text().rsplit(")", 1)[1].split()[:3]
        except OSError:
            continue
        if int(its_group) == group and state != "Z":
            return True
    return False


def _url_host(host: str) -> str:
    """The host part of a URL; loopback for a wildcard address."""
    try:
        given = ipaddress.ip_address(host)
    except ValueError:
        return host
    if given.is_unspecified:
        given = ipaddress.ip_address(LOOPBACK if given.version == 4 else "::1")
    return str(given) if given.version == 4 else f"[{given}]"
