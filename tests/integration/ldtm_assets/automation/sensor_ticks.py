"""Ticks of sensors at a chosen moment, on an installation whose bars come as files."""

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from ldtm_assets.run_tags import PROCESS_TAG, process_tag
from ldtm_cli.services import dagster_environment
from ldtm_lib.database.connection import Database
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings, SourceConfig
from tests.integration.ledger_rows import enter_service

FRIDAY = date(2026, 11, 20)
SCHEDULED_AT = datetime(2026, 11, 20, 18, 15, tzinfo=ZoneInfo("America/New_York"))
MINUTE = timedelta(minutes=1)
Sensor = Callable[..., dg.SensorDefinition]
Tick = dg.RunRequest | str


@pytest.fixture
def in_service_since() -> date | None:
    """The first session in service of every ticker; a test may name another one, or None for no service."""
    return FRIDAY


@pytest.fixture
def project(
    settings: Settings, database: Database, in_service_since: date | None, monkeypatch: pytest.MonkeyPatch
) -> Project:
    """An installation whose bars come as files; its Dagster has a schema of its own."""
    (settings.path.parent / "data" / "bars").mkdir(parents=True)
    of_files = settings.replace(source=SourceConfig(kind="files", basis="adjusted"))
    project = Project(settings=of_files, home=settings.path.parent, database=database)
    with database.transaction() as conn:
        if in_service_since is not None:
            for ticker in of_files.tickers:
                enter_service(conn, ticker, in_service_since)
    for name, value in dagster_environment(project).items():
        monkeypatch.setenv(name, value)
    return project


@pytest.fixture
def instance(project: Project) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as instance:
        yield instance


@pytest.fixture
def tick(project: Project, instance: dg.DagsterInstance, calendar: Calendar) -> Callable[..., Tick]:
    """What a sensor launches at a moment, or why it launches nothing; a sensor keeps its cursor."""
    cursors: dict[str, str | None] = {}

    def evaluate(sensor: Sensor, moment: datetime, held: Settings | None = None, said: Settings | None = None) -> Tick:
        present = replace(project, settings=said or project.settings)
        made = sensor(lambda: present, held or present.settings, calendar, clock=lambda _: moment)
        with dg.build_sensor_context(instance=instance, cursor=cursors.get(made.name)) as context:
            ticked = made.evaluate_tick(context)
        cursors[made.name] = ticked.cursor
        if not ticked.run_requests:
            assert ticked.skip_message is not None
            return ticked.skip_message
        (asked,) = ticked.run_requests
        return asked

    return evaluate


def range_of(asked: Tick) -> tuple[str, str]:
    assert isinstance(asked, dg.RunRequest), asked
    return asked.tags["dagster/asset_partition_range_start"], asked.tags["dagster/asset_partition_range_end"]


def identity_of_a_dead_process(run_id: str) -> dict[str, str]:
    """The tag of a run whose process has ended on this machine."""
    gone = subprocess.Popen(["true"])
    mark = process_tag(run_id)[PROCESS_TAG].replace(f" {os.getpid()} ", f" {gone.pid} ")
    gone.wait()
    return {PROCESS_TAG: mark}
