"""`ldtm serve`: waiting for the database and its schema, the command lines of the roles, and their health checks."""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import get_args

import pytest
import yaml

from ldtm_cli.services import DAGSTER_YAML_VARIABLE, browser_address, dagster_environment, webserver_fault
from ldtm_cli.serving import Role, command_of, unhealthy_reason, wait_for_schema
from ldtm_lib.database.connection import Database
from ldtm_lib.database.migrate import migrate
from ldtm_lib.installation import IMAGE_VARIABLE, reload_command, start_command
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings
from tests.integration.ldtm_cli.shell import run_ldtm
from tests.repository import REPOSITORY

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "universe.toml"
    path.write_text(
        'tickers = ["AAPL"]\n[database]\nldtm_schema = "ldtm_served"\ndagster_schema = "ldtm_served_dagster"\n'
    )
    return path


def test_a_database_that_never_answers_ends_the_wait_with_the_reason(config: Path) -> None:
    done = run_ldtm(config.parent, NOWHERE, "serve", "code", "--wait-minutes", "0.01")
    assert done.returncode == 1
    assert "waiting: PostgreSQL at 127.0.0.1:1/none does not answer" in done.stdout
    assert "gave up after 0.6 s" in done.stderr


def test_a_schema_that_another_role_applies_is_waited_for(
    config: Path, database: Database, calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LDTM_DATABASE_URL", database.url)
    lines: list[str] = []
    own = database.with_schema("ldtm_served")

    def apply() -> None:
        time.sleep(1.0)
        migrate(own, calendar)

    applying = threading.Thread(target=apply)
    applying.start()
    project = wait_for_schema(config, 60, lines.append)
    applying.join()
    assert project.database.schema == "ldtm_served"
    [line] = lines
    assert line.startswith("waiting: the schema lacks ")
    assert "`ldtm db migrate`" in line


def test_every_role_has_a_command_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(IMAGE_VARIABLE, raising=False)
    commands = {role: " ".join(command_of(role, "/etc/w.yaml")[2:]) for role in get_args(Role)}
    assert commands["code"] == (
        "dagster code-server start -h 0.0.0.0 -p 4000 -m ldtm_assets.definitions --location-name ldtm "
        "--log-level warning"
    )
    assert commands["webserver"] == "ldtm_assets.guarded_dagster webserver -h 0.0.0.0 -p 3000 -w /etc/w.yaml"
    assert commands["daemon"] == "dagster._daemon run -w /etc/w.yaml"
    monkeypatch.setenv(IMAGE_VARIABLE, "ldtm:1")
    assert command_of("code", "")[-2:] == ["--container-image", "ldtm:1"], "runs get the image of the code server"


def test_a_check_without_a_process_names_the_role(
    config: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ldtm_cli.serving.CODE_PORT", 1)
    monkeypatch.setattr("ldtm_cli.serving.UI_PORT", 1)
    assert "the code server does not answer" in str(unhealthy_reason("code", config))
    assert "the webserver does not answer" in str(unhealthy_reason("webserver", config))
    monkeypatch.setenv("LDTM_DATABASE_URL", NOWHERE)
    assert "does not answer" in str(unhealthy_reason("daemon", config))
    monkeypatch.setenv("LDTM_DATABASE_URL", database.url)
    assert "Dagster's storage cannot be read" in str(unhealthy_reason("daemon", config)), "no daemon was ever started"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "fault"),
    [
        (["ldtm_assets.guarded_dagster", "webserver"], None),
        (
            ["dagster_webserver"],
            "the webserver answers to any host: this release of Dagster does not apply the access rules of the UI",
        ),
    ],
)
def test_a_webserver_without_the_access_rules_is_unhealthy(config: Path, module: list[str], fault: str | None) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    variables = {"DAGSTER_HOME": str(config.parent), "LDTM_CONFIG": str(config), "PYTHONPATH": str(REPOSITORY)}
    (config.parent / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    command = [sys.executable, "-m", *module, "-p", str(port), "--empty-workspace"]
    process = subprocess.Popen(command, env={**os.environ, **variables})
    try:
        deadline = time.monotonic() + 120
        while "does not answer" in (found := webserver_fault(address) or ""):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
    finally:
        process.terminate()
        process.wait(timeout=60)
    assert found == (fault or "")


def test_the_address_for_a_browser_has_the_token_where_the_ui_asks_for_it(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    project = Project(settings=settings, home=tmp_path, database=database)
    assert browser_address(project, "http://127.0.0.1:3000") == "http://127.0.0.1:3000"
    assert not (tmp_path / "ui-token").exists()
    closed = settings.replace(ui=settings.ui.replace(token=True))
    link = browser_address(Project(settings=closed, home=tmp_path, database=database), "http://127.0.0.1:3000")
    assert link == f"http://127.0.0.1:3000/?token={(tmp_path / 'ui-token').read_text().strip()}"


def test_the_section_of_the_stack_is_added_to_the_projects_dagster_yaml(
    settings: Settings, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(settings=settings, home=tmp_path, database=database)
    plain = yaml.safe_load(Path(dagster_environment(project)["DAGSTER_HOME"], "dagster.yaml").read_text())
    monkeypatch.setenv(DAGSTER_YAML_VARIABLE, str(REPOSITORY / "docker/dagster.yaml"))
    joined = yaml.safe_load(Path(dagster_environment(project)["DAGSTER_HOME"], "dagster.yaml").read_text())
    assert joined.pop("run_launcher")["class"] == "ContainerRunLauncher"
    assert joined == plain


def test_remedies_name_the_command_of_the_stack_in_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(IMAGE_VARIABLE, raising=False)
    assert (start_command(), reload_command()) == ("ldtm up", "ldtm up")
    monkeypatch.setitem(os.environ, IMAGE_VARIABLE, "ldtm:1")
    assert (start_command(), reload_command()) == ("docker compose up -d", "docker compose restart code webserver")
