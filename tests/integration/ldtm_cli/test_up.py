"""`ldtm up` where Dagster runs already, and `ldtm down` in a folder with several configurations."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from ldtm_assets.automation.loaded_code import report_loaded_code
from ldtm_cli import services
from ldtm_cli.dagster_process import RunningDagster
from ldtm_cli.services import ServiceFailed, restart_reason
from ldtm_lib.daily_run.loaded_settings import frozen_settings
from ldtm_lib.database import embedded
from ldtm_lib.database.connection import Database
from ldtm_lib.installation import code_sha256
from ldtm_lib.maintenance.loaded_code import LoadedCode
from ldtm_lib.project import Project
from ldtm_lib.settings import Settings
from tests.integration.dagster_storage import copied_template, dagster_instance
from tests.integration.ldtm_cli.shell import run_ldtm

__all__ = ["copied_template"]


@dataclass(frozen=True)
class Running:
    """A Dagster that runs, and what it has loaded."""

    project: Project
    instance: dg.DagsterInstance
    monkeypatch: pytest.MonkeyPatch

    def has_loaded(self, settings: Settings, code: str) -> None:
        report_loaded_code(
            self.instance, LoadedCode(code_sha256=code, settings=frozen_settings(settings), automation=())
        )

    def is_found(self, *, is_foreground: bool = False) -> None:
        running = RunningDagster(pid=4711, port=3000, host="127.0.0.1", is_foreground=is_foreground)
        self.monkeypatch.setattr(services, "running_dagster", lambda _project: running)


@pytest.fixture
def running(
    database: Database, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Running]:
    project = Project(settings=settings, home=tmp_path / ".ldtm" / "ldtm", database=database)
    with dagster_instance(database, tmp_path) as instance:
        found = Running(project, instance, monkeypatch)
        found.is_found()
        yield found


def test_nothing_is_restarted_where_code_and_settings_are_those_that_run(running: Running) -> None:
    assert restart_reason(running.project) is None, "nothing is reported yet"
    running.has_loaded(running.project.settings, code_sha256())
    assert restart_reason(running.project) is None


def test_changed_code_and_settings_are_the_reason_of_a_restart(running: Running) -> None:
    settings = running.project.settings
    running.has_loaded(settings.replace(automation=settings.automation.replace(enabled=True)), "older code")
    assert restart_reason(running.project) == (
        "the code of LDTM and automation.enabled of universe.toml changed since Dagster was started"
    )


def test_a_restart_ends_no_run_and_leaves_a_service_to_its_manager(running: Running) -> None:
    running.has_loaded(running.project.settings, "older code")
    running.is_found(is_foreground=True)
    with pytest.raises(ServiceFailed, match="process 4711 runs in the foreground of a terminal or a service: restart"):
        restart_reason(running.project)
    create_run_for_test(running.instance, job_name="retraining_job", status=dg.DagsterRunStatus.STARTED)
    with pytest.raises(ServiceFailed, match=r"would end 1 run under way \(retraining_job\): call `ldtm up` again when"):
        restart_reason(running.project)


def test_down_stops_its_own_configuration_and_with_all_every_one_of_the_folder(home: Path) -> None:
    for name in ("first", "second"):
        (home / f"{name}.toml").write_text(f'tickers = ["AAPL"]\n[database]\nldtm_schema = "{name}"\n')
        embedded.start(home / ".ldtm" / name)
    try:
        stopped = run_ldtm(home, "", "-c", "first.toml", "down", COLUMNS="200")
        assert stopped.stdout.strip() == "stopped the embedded PostgreSQL of first"
        assert embedded.is_running(home / ".ldtm" / "second")
        stopped = run_ldtm(home, "", "-c", "first.toml", "down", "--all", COLUMNS="200")
        assert stopped.stdout.strip() == "stopped the embedded PostgreSQL of second"
    finally:
        embedded.stop(home / ".ldtm" / "second")
