"""Services that outlive a command: the database with its schema, the GPU pool, Dagster's webserver and daemon."""

import ipaddress
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ldtm_lib.alerts.channels import valid_channels
from ldtm_lib.atomic_io import write_whole
from ldtm_lib.database import embedded
from ldtm_lib.database.migrate import migrate
from ldtm_lib.errors import ConfigurationError, LdtmError
from ldtm_lib.installation import FILES
from ldtm_lib.maintenance.dagster_storage import claim_dagster_schema
from ldtm_lib.maintenance.disk import dagster_log, truncate_logs
from ldtm_lib.maintenance.heartbeat import heartbeat_url
from ldtm_lib.project import (
    CONFIG_VARIABLE,
    DATABASE_VARIABLE,
    Project,
    claim_folder,
    home_of,
    homes_beside,
    open_project,
    require_own_database,
)
from ldtm_lib.sessions import exchange_calendar
from ldtm_lib.settings import load_settings

if TYPE_CHECKING:
    from dagster import DagsterInstance

WORKSPACE = FILES / "workspace.yaml"
PID_FILE = "dagster.pid"
EVENTS_PER_BATCH = "1000"
MPS_PRIORITY, BELOW_NORMAL = "CUDA_MPS_CLIENT_PRIORITY", "1"
"""Under CUDA's Multi-Process Service the GPU's other tenants go first (CUDA MPS documentation); else no effect."""
ANSWER_TIMEOUT_SECONDS = 120
STOP_TIMEOUT_SECONDS = 20
LOOPBACK = "127.0.0.1"


class ServiceFailed(LdtmError):
    """A service did not come up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningDagster:
    """Webserver and daemon of one configuration."""

    pid: int
    port: int
    host: str

    @property
    def address(self) -> str:
        """URL of the UI for a browser on this machine."""
        return ui_address(self.host, self.port)


def prepare(config: Path) -> tuple[Project, list[str]]:
    """The project with its database up to date, and the names of the schema steps that were applied.

    Logs are cut before the database starts, which a full disk would stop. Raises ConfigurationError where the folder
    belongs to another database, or the schema of Dagster's storage is another installation's.
    """
    settings = load_settings(config)
    truncate_logs(home_of(settings), settings.retention)
    project = open_project(config, os.environ)
    with project.database.transaction() as conn:
        require_own_database(project, conn)
    applied = migrate(project.database, exchange_calendar())
    claim_folder(project)
    claim_dagster_schema(project)
    return project, applied


def dagster_environment(project: Project) -> dict[str, str]:
    """The variables that a Dagster process of this project needs; its home gets the present dagster.yaml."""
    folder = project.home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "dagster.yaml", (FILES / "dagster.yaml").read_bytes())
    return {
        CONFIG_VARIABLE: str(project.settings.path),
        DATABASE_VARIABLE: project.database.url,
        "LDTM_DAGSTER_URL": project.dagster_database.sqlalchemy_url(),
        "LDTM_DAGSTER_FOLDER": str(folder),
        "DAGSTER_HOME": str(folder),
        "DAGSTER_EVENT_BATCH_SIZE": EVENTS_PER_BATCH,
        MPS_PRIORITY: os.environ.get(MPS_PRIORITY, BELOW_NORMAL),
    }


def prepare_dagster(project: Project) -> int:
    """Prepare the start of Dagster's processes; returns how many trainings may run at once.

    Raises ConfigurationError for an invalid URL of notifications or of the heartbeat, which would fail unseen later.
    """
    valid_channels(os.environ)
    heartbeat_url(os.environ)
    os.environ.update(dagster_environment(project))
    from dagster import DagsterInstance

    with DagsterInstance.get() as instance:
        return prepare_instance(instance, project)


def prepare_instance(instance: "DagsterInstance", project: Project) -> int:
    """Reap runs that died, and set the limit of the pool `gpu` to what fits now; returns it."""
    from ldtm_assets.automation.dead_runs import reap_dead_runs
    from ldtm_assets.automation.gpu_pool import refresh_gpu_pool
    from ldtm_assets.training.gpus import gpus_here

    reap_dead_runs(instance, dagster_is_running=running_dagster(project) is not None)
    return refresh_gpu_pool(instance, project, gpus_here(os.environ)).limit


def dagster_command(host: str, port: int, workspace: Path = WORKSPACE) -> list[str]:
    """The command line of Dagster's webserver and daemon."""
    return [sys.executable, "-m", "dagster", "dev", "-w", str(workspace), "-h", host, "-p", str(port)]


def ui_address(host: str, port: int) -> str:
    """URL of the UI on a host for a browser on this machine."""
    return f"http://{_url_host(host)}:{port}"


def start_dagster(project: Project, port: int, workspace: Path = WORKSPACE) -> int:
    """Start webserver and daemon in the background; returns their process group once the UI answers.

    Raises ServiceFailed when they are running already or do not answer.
    """
    _require_no_dagster(project)
    pid_file = _pid_file(project)
    log = dagster_log(project.home)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        process = _spawn(project, port, workspace, out)
    deadline = time.monotonic() + ANSWER_TIMEOUT_SECONDS
    while not _ui_answers(project.settings.ui.host, port):
        if process.poll() is not None or time.monotonic() > deadline:
            stop_process_group(process.pid)
            pid_file.unlink(missing_ok=True)
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
            raise ServiceFailed(f"Dagster did not come up; the end of {log} says:\n{tail}")
        time.sleep(0.3)
    return process.pid


def run_dagster(project: Project, port: int) -> int:
    """Run webserver and daemon in the foreground until a signal ends them; returns their exit status."""
    _require_no_dagster(project)
    process = _spawn(project, port, WORKSPACE, out=None)

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    try:
        return process.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        stop_process_group(process.pid)
        _pid_file(project).unlink(missing_ok=True)


def _spawn(project: Project, port: int, workspace: Path, out: BinaryIO | None) -> "subprocess.Popen[bytes]":
    """Start Dagster as the leader of a process group of its own, so that all of it can be stopped."""
    process = subprocess.Popen(
        ["env", "--default-signal=INT,TERM,HUP", *dagster_command(project.settings.ui.host, port, workspace)],
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=out,
        env={**os.environ, **dagster_environment(project)},
        cwd=project.home / "dagster",
        start_new_session=True,
    )
    _pid_file(project).write_text(f"{process.pid} {port} {project.settings.ui.host}\n")
    return process


def stop_everything(config: Path) -> list[str]:
    """Stop Dagster and the embedded server of every configuration in a folder; returns what was stopped, in words."""
    stopped: list[str] = []
    for home in homes_beside(config):
        running = _running(home / PID_FILE)
        if running is not None:
            stop_process_group(running.pid)
            stopped.append(f"Dagster of {home.name} (process {running.pid})")
        (home / PID_FILE).unlink(missing_ok=True)
        if embedded.stop(home):
            stopped.append(f"the embedded PostgreSQL of {home.name}")
    return stopped


def stop_process_group(group: int) -> None:
    """Ask all processes of a group to end, and make those that do not."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(group, sign)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            if not _has_members(group):
                return
            time.sleep(0.1)


def require_free_port(host: str, port: int) -> None:
    """Raises ConfigurationError when the host is none of this machine's, or something else answers on its port."""
    import errno
    import socket

    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigurationError(f"port {port} of {host} is taken; choose another with --port") from None
        raise ConfigurationError(
            f"the UI cannot be served on {host!r}, port {port} ({error.strerror}); correct ui.host, or choose "
            "another port with --port"
        ) from None


def running_dagster(project: Project) -> RunningDagster | None:
    """The webserver and daemon of a project, if they run."""
    return _running(_pid_file(project))


def _require_no_dagster(project: Project) -> None:
    if (running := running_dagster(project)) is not None:
        raise ServiceFailed(
            f"Dagster of this configuration already runs (process {running.pid}, port {running.port}); two daemons on "
            "one storage fail. Stop it with `ldtm down`"
        )


def _pid_file(project: Project) -> Path:
    return project.home / PID_FILE


def _running(pid_file: Path) -> RunningDagster | None:
    try:
        pid, port, *host = pid_file.read_text().split()
        running = RunningDagster(pid=int(pid), port=int(port), host=host[0] if host else LOOPBACK)
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return running if b"dagster" in command else None


def _has_members(group: int) -> bool:
    """Whether a process of a group lives; zombies do not count."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_text().rsplit(")", 1)[1].split()[:3]
        except OSError:
            continue
        if int(its_group) == group and state != "Z":
            return True
    return False


def _url_host(host: str) -> str:
    """The host part of a URL; loopback for a host that means every address."""
    try:
        given = ipaddress.ip_address(host)
    except ValueError:
        return host
    if given.is_unspecified:
        given = ipaddress.ip_address(LOOPBACK if given.version == 4 else "::1")
    return str(given) if given.version == 4 else f"[{given}]"


def _ui_answers(host: str, port: int) -> bool:
    try:
        with urllib.request.urlopen(f"{ui_address(host, port)}/server_info", timeout=2) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False
