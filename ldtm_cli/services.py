"""Services that outlive a command: the database with its schema, the GPU pool, Dagster's webserver and daemon."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ldtm_assets.guarded_dagster import MODULE as GUARDED
from ldtm_cli.dagster_process import FOREGROUND, pid_file_of, running_dagster, stop_process_group, ui_address
from ldtm_lib.alerts.channels import valid_channels
from ldtm_lib.atomic_io import write_whole
from ldtm_lib.database.migrate import migrate
from ldtm_lib.errors import ConfigurationError, LdtmError
from ldtm_lib.installation import FILES
from ldtm_lib.maintenance.dagster_status import running_jobs
from ldtm_lib.maintenance.dagster_storage import claim_dagster_schema
from ldtm_lib.maintenance.disk import dagster_log, truncate_logs
from ldtm_lib.maintenance.heartbeat import heartbeat_url
from ldtm_lib.maintenance.loaded_code import loaded_code
from ldtm_lib.project import (
    CONFIG_VARIABLE,
    DATABASE_VARIABLE,
    Project,
    claim_folder,
    home_of,
    open_project,
    require_own_database,
)
from ldtm_lib.registry.configurations import require_listed
from ldtm_lib.sessions import exchange_calendar
from ldtm_lib.settings import load_settings
from ldtm_lib.wording import counted

if TYPE_CHECKING:
    from dagster import DagsterInstance

WORKSPACE = FILES / "workspace.yaml"
DAGSTER_YAML_VARIABLE = "LDTM_DAGSTER_YAML"
"""A file with further sections of dagster.yaml, such as the `run_launcher` of the container stack."""
EVENTS_PER_BATCH = "1000"
MPS_PRIORITY, BELOW_NORMAL = "CUDA_MPS_CLIENT_PRIORITY", "1"
"""Under CUDA's Multi-Process Service other processes on the GPU go first (CUDA MPS documentation); else no effect."""
ANSWER_TIMEOUT_SECONDS = 120
ANSWER_SECONDS = 5.0


class ServiceFailed(LdtmError):
    """A service did not start."""


def prepare(config: Path) -> tuple[Project, list[str]]:
    """Return the project with its database up to date, and the names of the applied migrations.

    Logs are truncated before the database starts, because a full disk would prevent its start. Raises
    ConfigurationError if the folder belongs to another database, if the schema of Dagster's storage belongs to another
    installation, or if the file lacks a ticker that is in service.
    """
    settings = load_settings(config)
    truncate_logs(home_of(settings), settings.retention)
    project = open_project(config, os.environ)
    _require_parameters_of_dagster(project)
    with project.database.transaction() as conn:
        require_own_database(project, conn)
    applied = migrate(project.database, exchange_calendar())
    with project.database.transaction() as conn:
        require_listed(conn, settings)
    claim_folder(project)
    claim_dagster_schema(project)
    return project, applied


def _require_parameters_of_dagster(project: Project) -> None:
    """Raise ConfigurationError if the URL has a parameter unknown to Dagster's driver; opens no connection."""
    from psycopg2 import ProgrammingError
    from psycopg2.extensions import make_dsn

    try:
        make_dsn(**project.dagster_database.parameters)
    except ProgrammingError as error:
        raise ConfigurationError(
            f"{DATABASE_VARIABLE} is a URL that Dagster's driver psycopg2 cannot use: {str(error).strip()}; remove "
            "that parameter"
        ) from None


def dagster_environment(project: Project) -> dict[str, str]:
    """The variables that a Dagster process of this project needs; writes the current dagster.yaml into its home."""
    folder = project.home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    added = os.environ.get(DAGSTER_YAML_VARIABLE)
    sections = [FILES / "dagster.yaml", *([Path(added)] if added else [])]
    write_whole(folder / "dagster.yaml", b"\n".join(path.read_bytes() for path in sections))
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

    Raises ConfigurationError for an invalid URL of notifications or of the heartbeat, which would fail unnoticed later.
    """
    valid_channels(os.environ)
    heartbeat_url(os.environ)
    os.environ.update(dagster_environment(project))
    from dagster import DagsterInstance

    from ldtm_assets.automation.loaded_code import clear_report
    from ldtm_assets.dagster_tables import create_dagster_tables

    create_dagster_tables(project)
    with DagsterInstance.get() as instance:
        clear_report(instance)
        return prepare_instance(instance, project)


def prepare_instance(instance: "DagsterInstance", project: Project) -> int:
    """Reap runs that died, and set the limit of the pool `gpu` to what fits now; returns it."""
    from ldtm_assets.automation.dead_runs import reap_dead_runs
    from ldtm_assets.automation.gpu_pool import refresh_gpu_pool
    from ldtm_lib.models.visible_gpus import gpus_here

    reap_dead_runs(instance, dagster_is_running=running_dagster(project) is not None)
    return refresh_gpu_pool(instance, project, gpus_here(os.environ)).limit


def restart_reason(project: Project) -> str | None:
    """Describe the changes of code and settings that a running Dagster has not loaded; None if there are none.

    Raises ServiceFailed, with the remedy, if a restart would end runs in progress, or if Dagster runs in the
    foreground of a terminal or a service.
    """
    running = running_dagster(project)
    with project.dagster_database.transaction() as conn:
        loaded, jobs = loaded_code(conn), running_jobs(conn)
    if running is None or loaded is None or not (changes := loaded.changes(project.settings)):
        return None
    reason = f"{' and '.join(changes)} changed since Dagster was started"
    if jobs:
        raise ServiceFailed(
            f"{reason}, and a restart would end {counted(len(jobs), 'run')} under way "
            f"({', '.join(sorted(set(jobs)))}): call `ldtm up` again when nothing "
            "runs, or `ldtm down` and `ldtm up` now"
        )
    if running.is_foreground:
        raise ServiceFailed(
            f"{reason}; process {running.pid} runs in the foreground of a terminal or a service: restart it there"
        )
    return reason


def dagster_command(host: str, port: int, workspace: Path = WORKSPACE) -> list[str]:
    """The command line of Dagster's webserver and daemon."""
    return [sys.executable, "-m", GUARDED, "dev", "-w", str(workspace), "-h", host, "-p", str(port)]


def start_dagster(project: Project, port: int, workspace: Path = WORKSPACE) -> int:
    """Start webserver and daemon in the background; returns their process group once the UI answers.

    Raises ServiceFailed when they are running already, do not answer, or answer without the access rules.
    """
    pid_file = pid_file_of(project)
    log = dagster_log(project.home)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        process = _spawn(project, port, workspace, out)
    deadline = time.monotonic() + ANSWER_TIMEOUT_SECONDS
    while fault := webserver_fault(ui_address(project.settings.ui.host, port)):
        if process.poll() is not None or time.monotonic() > deadline:
            stop_process_group(process.pid)
            pid_file.unlink(missing_ok=True)
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
            raise ServiceFailed(f"Dagster did not start: {fault}; end of {log}:\n{tail}")
        time.sleep(0.3)
    return process.pid


def run_dagster(project: Project, port: int) -> int:
    """Run webserver and daemon in the foreground until a signal ends them; returns their exit status."""
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
        pid_file_of(project).unlink(missing_ok=True)


def _spawn(project: Project, port: int, workspace: Path, out: BinaryIO | None) -> "subprocess.Popen[bytes]":
    """Start Dagster as the leader of a process group of its own, so that all of it can be stopped.

    Raises ServiceFailed when it runs already.
    """
    if (running := running_dagster(project)) is not None:
        raise ServiceFailed(
            f"Dagster of this configuration already runs (process {running.pid}, port {running.port}); two daemons on "
            "one storage fail. Stop it with `ldtm down`"
        )
    process = subprocess.Popen(
        ["env", "--default-signal=INT,TERM,HUP", *dagster_command(project.settings.ui.host, port, workspace)],
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=out,
        env={**os.environ, **dagster_environment(project)},
        cwd=project.home / "dagster",
        start_new_session=True,
    )
    pid_file_of(project).write_text(
        f"{process.pid} {port} {project.settings.ui.host}{'' if out else f' {FOREGROUND}'}\n"
    )
    return process


def browser_address(project: Project, address: str) -> str:
    """Return the URL that opens the UI at an address, with the token if one is required.

    Raises ConfigurationError if other users may read the file of the token.
    """
    if not project.settings.ui.token:
        return address
    from ldtm_assets.ui_guard import login_link

    return login_link(address, project.home)


def webserver_fault(address: str) -> str | None:
    """The reason why a webserver does not answer, or answers without the access rules of the UI; None if healthy."""
    try:
        if (status := _status(address, {})) != 200:
            return f"the webserver answers {status}"
        if _status(address, {"Host": "ldtm.invalid"}) != 421:
            return (
                "the webserver answers to any host: this release of Dagster does not apply the access rules of the UI"
            )
    except OSError as error:
        return f"the webserver does not answer: {error}"
    return None


def _status(address: str, headers: dict[str, str]) -> int:
    """The status of an answer to a request for the versions of Dagster."""
    request = urllib.request.Request(f"{address}/server_info", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code
