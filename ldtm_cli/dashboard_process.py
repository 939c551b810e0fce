"""The process of the dashboard: run in the foreground, started with Dagster, found by a PID file, and stopped."""

import os
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from ldtm_cli.dagster_process import stop_process_group
from ldtm_dashboard.reading import reader_url, reading_environment
from ldtm_dashboard.server import LOOPBACK, PROCESS, require_extra, server_command
from ldtm_lib.errors import LdtmError
from ldtm_lib.maintenance.disk import dashboard_log
from ldtm_lib.project import Project

PID_FILE = "dashboard.pid"
ANSWER_TIMEOUT_SECONDS = 60
ANSWER_SECONDS = 5.0
STOP_SECONDS = 2.0
"""Time from SIGTERM to SIGKILL. After SIGTERM the dashboard waits until all open browser pages are closed; it has no
state that SIGKILL could lose."""


class DashboardFailed(LdtmError):
    """The dashboard did not start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningDashboard:
    """The dashboard of one configuration."""

    pid: int
    port: int

    @property
    def address(self) -> str:
        """URL for a browser on this machine."""
        return dashboard_address(self.port)


def dashboard_address(port: int) -> str:
    """URL of a dashboard on this machine."""
    return f"http://{LOOPBACK}:{port}"


def run_dashboard(config: Path, port: int, *, host: str = LOOPBACK) -> None:
    """Replace this process with the dashboard.

    Raises MissingExtra if Streamlit is missing, and ConfigurationError if no role that only reads is configured.
    """
    require_extra()
    environment = reading_environment(config, reader_url(config, os.environ))
    command = server_command(port, host=host)
    os.execve(command[0], command, environment)


def start_dashboard(project: Project) -> RunningDashboard:
    """Start the dashboard in the background and return it once it answers, or return the one that already runs.

    Raises MissingExtra and ConfigurationError as `run_dashboard` does, and DashboardFailed, with the end of the log, if
    the dashboard does not answer.
    """
    if running := running_dashboard(project.home):
        return running
    require_extra()
    config, port = project.settings.path, project.settings.dashboard.port
    environment = reading_environment(config, reader_url(config, os.environ))
    log = dashboard_log(project.home)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        process = subprocess.Popen(
            ["env", "--default-signal=INT,TERM,HUP", *server_command(port)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=environment,
            cwd=project.home,
            start_new_session=True,
        )
    (project.home / PID_FILE).write_text(f"{process.pid} {port}\n")
    deadline = time.monotonic() + ANSWER_TIMEOUT_SECONDS
    while fault := dashboard_fault(port):
        if process.poll() is not None or time.monotonic() > deadline:
            stop_dashboard(project.home)
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
            raise DashboardFailed(f"the dashboard did not start: {fault}; end of {log}:\n{tail}")
        time.sleep(0.2)
    return RunningDashboard(pid=process.pid, port=port)


def running_dashboard(home: Path) -> RunningDashboard | None:
    """The dashboard of an installation; None if it does not run."""
    try:
        pid, port = (home / PID_FILE).read_text().split()
        running = RunningDashboard(pid=int(pid), port=int(port))
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return running if PROCESS.encode() in command else None


def stop_dashboard(home: Path) -> list[str]:
    """Stop the dashboard of an installation; returns a description of it if one was running."""
    running = running_dashboard(home)
    if running is not None:
        stop_process_group(running.pid, timeout_seconds=STOP_SECONDS)
    (home / PID_FILE).unlink(missing_ok=True)
    return [] if running is None else [f"the dashboard of {home.name} (process {running.pid})"]


def dashboard_fault(port: int) -> str | None:
    """The reason why a dashboard on this machine does not answer; None if it is healthy."""
    try:
        with urllib.request.urlopen(f"{dashboard_address(port)}/_stcore/health", timeout=ANSWER_SECONDS) as reply:
            return None if reply.status == 200 else f"it answers {reply.status}"
    except (urllib.error.URLError, OSError) as error:
        return f"it does not answer: {error}"
