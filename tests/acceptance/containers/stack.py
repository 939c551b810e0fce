"""The container stack as a user starts it: a copy of the tracked files, docker/new-env.sh, and Compose."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.acceptance.containers.engine import BASE_IMAGE, Engine, compose_command
from tests.acceptance.dagster_ui import DagsterUi
from tests.repository import REPOSITORY

LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
RUN = "query Run($id: ID!) { runOrError(runId: $id) { ... on Run { status tags { key value } } } }"
EVENTS = """
query Events($id: ID!) {
  runOrError(runId: $id) {
    ... on Run { eventConnection { events { ... on MessageEvent { timestamp eventType message } } } }
  }
}
"""
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}


@dataclass(slots=True)
class Stack:
    """One stack, in a folder with the project's files."""

    engine: Engine
    folder: Path
    port: int
    name: str = "ldtmtest"
    ui: DagsterUi = field(init=False)

    def __post_init__(self) -> None:
        self.ui = DagsterUi(self.port)

    def install(self, **settings: str) -> None:
        """Copy the tracked files and write docker/.env as docker/README.md says."""
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=REPOSITORY,
            check=True,
            capture_output=True,
            text=True,
        )
        for name in filter(None, listed.stdout.split("\0")):
            if (REPOSITORY / name).is_file():
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(REPOSITORY / name, self.folder / name)
        environment = self.engine.environment(DOCKER_SOCKET=str(self.engine.socket))
        subprocess.run([self.folder / "docker/new-env.sh"], env=environment, check=True, capture_output=True)
        path = self.folder / "docker/.env"
        own = {
            "COMPOSE_PROJECT_NAME": self.name,
            "BASE_IMAGE": BASE_IMAGE,
            "LDTM_IMAGE": "ldtm:test",
            "LDTM_UI_PORT": str(self.port),
            "COMMIT": "0123abc",
            **settings,
        }
        lines = [line for line in path.read_text().splitlines() if line.partition("=")[0] not in own]
        path.write_text("\n".join([*lines, *(f"{name}={value}" for name, value in own.items())]) + "\n")

    def build(self) -> None:
        """Build the image on the network of the host, since the engine has no bridge by default."""
        build = ("build", "--network", "host", "-f", "docker/Dockerfile", "-t", "ldtm:test")
        arguments = ("--build-arg", f"BASE_IMAGE={BASE_IMAGE}", "--build-arg", "COMMIT=0123abc")
        self.engine.docker(*build, *arguments, str(self.folder), timeout=900)

    def compose(self, *words: str, expect: int | None = 0, timeout: float = 300, **variables: str) -> str:
        """What a Compose command printed."""
        command = compose_command()
        assert command is not None
        files = ("-f", "compose.yaml", "-f", str(Path(__file__).with_name("compose.test.yaml")))
        done = subprocess.run(
            [*command, *files, *words],
            cwd=self.folder / "docker",
            env=self.engine.environment(**variables),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert expect is None or done.returncode == expect, (
            f"compose {words}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        )
        return done.stdout + ("" if expect == 0 else done.stderr)

    def remove(self) -> None:
        """Remove every container and volume of the stack."""
        for container in self.engine.docker("ps", "-aq", expect=None).split():
            self.engine.docker("rm", "--force", "--volumes", container, expect=None)
        self.compose("down", "--volumes", expect=None)

    def up(self) -> float:
        """Start everything; returns the seconds until every service is healthy."""
        began = time.monotonic()
        self.compose("up", "-d", "--no-build")
        self.wait_until_healthy("webserver", "daemon", "code", "dashboard")
        return time.monotonic() - began

    def wait_until_healthy(self, *services: str, seconds: float = 240) -> None:
        for service in services:
            self.eventually(lambda name=service: self.health(name) == "healthy", f"{service} is healthy", seconds)

    def health(self, service: str) -> str:
        return self.engine.docker(
            "inspect", "--format", "{{.State.Health.Status}}", self.container(service), expect=None
        ).strip()

    def container(self, service: str) -> str:
        """The name of a service's container: version 1 of Compose joins it by underscores."""
        names = self.engine.docker(
            *("ps", "-a", "--format", "{{.Names}}"),
            *("--filter", f"label=com.docker.compose.project={self.name}"),
            *("--filter", f"label=com.docker.compose.service={service}"),
            *("--filter", "label=com.docker.compose.oneoff=False"),
        ).split()
        assert names, f"{service} has no container"
        return names[0]

    def inspect(self, container: str) -> dict[str, Any]:
        return json.loads(self.engine.docker("inspect", container))[0]

    def ldtm(self, *words: str, expect: int | None = 0, **options: Any) -> str:
        """What the command printed in a container of its own."""
        return self.compose("run", "--rm", "-T", "ldtm", *words, expect=expect, **options)

    def sql(self, statement: str, role: str = "ldtm_owner", expect: int | None = 0) -> str:
        """Rows of the database, asked as a role by its password."""
        password = self.setting(f"{role.upper()}_PASSWORD")
        command = ("psql", "-v", "ON_ERROR_STOP=1", "-At", f"postgresql://{role}@127.0.0.1/ldtm", "-c", statement)
        return self.engine.docker(
            "exec", "-e", f"PGPASSWORD={password}", self.container("postgres"), *command, expect=expect
        ).strip()

    def setting(self, name: str) -> str:
        """A line of docker/.env."""
        lines = (self.folder / "docker/.env").read_text().splitlines()
        return next(line.partition("=")[2] for line in lines if line.startswith(f"{name}="))

    def launch(self, job: str, partitions: Sequence[str], ops: dict[str, Any] | None = None) -> str:
        """Launch a job through the UI's GraphQL; returns the run's id."""
        first, last = partitions[0], partitions[-1]
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        params = {
            "selector": {"repositoryLocationName": "ldtm", "repositoryName": "__repository__", "jobName": job},
            "runConfigData": {"ops": ops} if ops else {},
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        }
        launched = self.ui.ask(LAUNCH, params=params)["launchPipelineExecution"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return launched["run"]["runId"]

    def status(self, run: str) -> str:
        return self.ui.ask(RUN, id=run)["runOrError"]["status"]

    def tags(self, run: str) -> dict[str, str]:
        return {tag["key"]: tag["value"] for tag in self.ui.ask(RUN, id=run)["runOrError"]["tags"]}

    def events(self, run: str) -> list[dict[str, str]]:
        return [event for event in self.ui.ask(EVENTS, id=run)["runOrError"]["eventConnection"]["events"] if event]

    def end_of(self, run: str, seconds: float = 400) -> str:
        """The status with which a run ends."""
        self.eventually(lambda: self.status(run) in ENDED, f"run {run} ends", seconds)
        return self.status(run)

    def run_container(self, run: str, seconds: float = 120) -> str:
        """The id of a run's container, once it is running."""
        self.eventually(lambda: "docker/container_id" in self.tags(run), f"run {run} has a container", seconds)
        return self.tags(run)["docker/container_id"]

    def eventually(self, claim: Callable[[], bool], words: str, seconds: float = 60) -> None:
        """Wait until a claim holds. A service that does not answer yet makes none."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if claim():
                    return
            except OSError:
                pass
            if time.monotonic() > deadline:
                logs = self.compose("logs", "--no-color", "--tail", "30", expect=None)
                raise AssertionError(f"not within {seconds:g} s: {words}\n{logs[-6000:]}")
            time.sleep(1)
