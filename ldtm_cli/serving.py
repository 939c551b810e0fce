"""Single Dagster processes: code server, webserver and daemon, each in a container or under a service manager."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

from ldtm_assets.guarded_dagster import MODULE as GUARDED
from ldtm_cli.services import ANSWER_SECONDS, ServiceFailed, browser_address, dagster_environment, webserver_fault
from ldtm_dashboard.reading import Reader, open_reader
from ldtm_lib.alerts.channels import valid_channels
from ldtm_lib.database.migrate import pending_migrations
from ldtm_lib.errors import DatabaseUnavailable
from ldtm_lib.installation import FILES, IMAGE_VARIABLE
from ldtm_lib.maintenance.dagster_status import dagster_status
from ldtm_lib.maintenance.dagster_storage import claim_dagster_schema
from ldtm_lib.maintenance.heartbeat import heartbeat_url
from ldtm_lib.project import Project, claim_folder, open_project, require_own_database
from ldtm_lib.wording import counted

CODE_PORT, UI_PORT, DASHBOARD_PORT = 4000, 3000, 8501
ALL_ADDRESSES = "0.0.0.0"
Role = Literal["code", "webserver", "daemon"]
POLL_SECONDS = 1.0
Awaited = TypeVar("Awaited", Project, Reader)


def wait_for_schema(config: Path, seconds: float, log: Callable[[str], None]) -> Project:
    """The project once its database answers with an applied schema; `log` gets each new reason to wait.

    Raises ServiceFailed when the time is up, and ConfigurationError at once for problems that waiting does not solve.
    """

    def ready() -> Project | str:
        project = open_project(config, os.environ)
        if pending := pending_migrations(project.database):
            return f"the schema lacks {counted(len(pending), 'migration')}, which `ldtm db migrate` applies"
        with project.database.transaction() as conn:
            require_own_database(project, conn)
        return project

    return _wait(ready, seconds, log)


def wait_for_reader(config: Path, seconds: float, log: Callable[[str], None]) -> Reader:
    """The installation once the reader role of LDTM_READER_URL can read the record; as `wait_for_schema`."""

    def ready() -> Reader | str:
        found = open_reader(config, os.environ)
        if pending := pending_migrations(found.project.database):
            return f"the schema lacks {counted(len(pending), 'migration')}, which `ldtm db migrate` applies"
        return found

    return _wait(ready, seconds, log)


def _wait(ready: Callable[[], Awaited | str], seconds: float, log: Callable[[str], None]) -> Awaited:
    """Wait until `ready` returns something other than a reason to wait, and return it."""
    deadline, said = time.monotonic() + seconds, ""
    while True:
        try:
            found = ready()
            if not isinstance(found, str):
                return found
            reason = found
        except DatabaseUnavailable as error:
            reason = str(error)
        if time.monotonic() > deadline:
            raise ServiceFailed(f"gave up after {seconds:g} s: {reason}")
        if reason != said:
            log(f"waiting: {reason}")
            said = reason
        time.sleep(POLL_SECONDS)


def run_role(role: Role, project: Project, workspace: str | None, log: Callable[[str], None]) -> None:
    """Replace this process by the Dagster process of a role; `log` gets the link to a UI that needs a token.

    Raises ConfigurationError for an invalid URL of notifications or of the heartbeat, which would fail unnoticed later.
    """
    valid_channels(os.environ)
    heartbeat_url(os.environ)
    claim_folder(project)
    claim_dagster_schema(project)
    os.environ.update(dagster_environment(project))
    _prepare_storage(role, project)
    if role == "webserver" and project.settings.ui.token:
        log(f"UI: {browser_address(project, project.settings.ui.url.rstrip('/'))}")
    command = command_of(role, workspace or str(FILES / "workspace.yaml"))
    os.chdir(project.home / "dagster")
    os.execv(command[0], command)


def command_of(role: Role, workspace: str) -> list[str]:
    """The command line of a role."""
    python = [sys.executable, "-m"]
    if role == "code":
        image = os.environ.get(IMAGE_VARIABLE)
        return [
            *(*python, "dagster", "code-server", "start", "-h", ALL_ADDRESSES, "-p", str(CODE_PORT)),
            *("-m", "ldtm_assets.definitions", "--location-name", "ldtm", "--log-level", "warning"),
            *(("--container-image", image) if image else ()),
        ]
    if role == "webserver":
        return [*python, GUARDED, "webserver", "-h", ALL_ADDRESSES, "-p", str(UI_PORT), "-w", workspace]
    return [*python, "dagster._daemon", "run", "-w", workspace]


def _prepare_storage(role: Role, project: Project) -> None:
    """Create Dagster's tables; the code server deletes the report of the code that was loaded before."""
    from ldtm_assets.dagster_tables import create_dagster_tables

    create_dagster_tables(project)
    if role != "code":
        return
    from dagster import DagsterInstance

    from ldtm_assets.automation.loaded_code import clear_report

    with DagsterInstance.get() as instance:
        clear_report(instance)


def unhealthy_reason(role: Role, config: Path) -> str | None:
    """The reason why the process of a role does not answer; None when it does."""
    if role == "code":
        return _silent_code_server()
    if role == "webserver":
        return webserver_fault(f"http://127.0.0.1:{UI_PORT}")
    try:
        status = dagster_status(open_project(config, os.environ))
    except DatabaseUnavailable as error:
        return str(error)
    return None if status.is_alive else f"no heartbeat of {' and '.join(status.silent)}"


def _silent_code_server() -> str | None:
    """The reason why the code server here does not answer gRPC's health check."""
    import grpc
    from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
    from grpc_health.v1.health_pb2_grpc import HealthStub

    with grpc.insecure_channel(f"127.0.0.1:{CODE_PORT}") as channel:
        try:
            check: Callable[..., HealthCheckResponse] = HealthStub(channel).Check  # pyright: ignore[reportAttributeAccessIssue]
            answer = check(HealthCheckRequest(service="DagsterApi"), timeout=ANSWER_SECONDS)
        except grpc.RpcError as error:
            return f"the code server does not answer: {error}"
    return None if answer.status == HealthCheckResponse.SERVING else f"the code server answers {answer.status}"
