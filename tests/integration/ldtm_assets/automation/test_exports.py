"""Exports follow promotions: requested once per version, and again after an hour where files are still missing."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import dagster as dg
import pytest

from ldtm_assets.automation.exports import RETRY_AFTER, export_sensor
from ldtm_lib.database.connection import Connection
from ldtm_lib.project import Project
from ldtm_lib.registry.engines import export_engines
from ldtm_lib.registry.exports import export_folder, export_models
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import ExportConfig
from tests.integration.environment import ForecastEnvironment
from tests.integration.ldtm_assets.automation.sensor_ticks import MINUTE, SCHEDULED_AT, Tick, range_of


@pytest.fixture
def in_service_since() -> None:
    """No ticker is in service before it has a network."""


@pytest.fixture
def poll(tick: Callable[..., Tick]) -> Callable[..., Tick]:
    def sensor(project, settings, _calendar, clock) -> dg.SensorDefinition:
        return export_sensor(project, settings, clock)

    return lambda moment=SCHEDULED_AT: tick(sensor, moment)


@pytest.fixture
def activate(project: Project, conn: Connection, calendar: Calendar) -> Callable[[str], None]:
    environment = ForecastEnvironment(conn, calendar, project.settings, project.checkpoint_folder)

    def of_ticker(ticker: str) -> None:
        environment.deliver(environment.bars([ticker]))
        environment.network(ticker)
        conn.commit()

    return of_ticker


def test_nothing_is_requested_before_a_model_is_active(poll: Callable[..., Tick]) -> None:
    assert poll() == "every active model is exported"


def test_a_new_version_is_requested_once_and_again_after_an_hour(
    poll: Callable[..., Tick], activate: Callable[[str], None], project: Project, calendar: Calendar
) -> None:
    first = project.settings.tickers[0]
    activate(first)
    assert range_of(poll()) == (first, first)
    assert poll(SCHEDULED_AT + MINUTE) == f"the export of {first} was requested less than an hour ago"
    assert range_of(poll(SCHEDULED_AT + RETRY_AFTER)) == (first, first)
    export_models(project, calendar, made_at=SCHEDULED_AT)
    assert poll(SCHEDULED_AT + 2 * RETRY_AFTER) == "every active model is exported"


def assets_of(asked: Tick) -> list[str]:
    assert isinstance(asked, dg.RunRequest), asked
    return [key.to_user_string() for key in asked.asset_selection or ()]


def test_a_run_has_engines_only_where_the_configuration_names_a_tensorrt(
    poll: Callable[..., Tick],
    tick: Callable[..., Tick],
    activate: Callable[[str], None],
    project: Project,
    calendar: Calendar,
) -> None:
    first = project.settings.tickers[0]
    activate(first)
    assert assets_of(poll()) == ["onnx_model"]
    export_models(project, calendar, made_at=SCHEDULED_AT)
    assert poll(SCHEDULED_AT + MINUTE) == "every active model is exported"
    ada = ExportConfig(engine="tensorrt-rtx", engine_compute_capability="8.9")
    settings = project.settings.replace(export=ada)

    def with_engines(moment: datetime) -> Tick:
        return tick(lambda project, held, _, clock: export_sensor(project, held, clock), moment, said=settings)

    asked = with_engines(SCHEDULED_AT + 2 * MINUTE)
    assert (range_of(asked), assets_of(asked)) == ((first, first), ["onnx_model", "tensorrt_engine"])
    assert with_engines(SCHEDULED_AT + 3 * MINUTE) == f"the export of {first} was requested less than an hour ago"


@pytest.mark.slow
def test_an_engine_is_requested_again_when_its_onnx_file_changes(
    tick: Callable[..., Tick], activate: Callable[[str], None], project: Project, calendar: Calendar
) -> None:
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX has wheels for Linux x86_64 alone")
    first = project.settings.tickers[0]
    activate(first)
    ada = ExportConfig(engine="tensorrt-rtx", engine_compute_capability="8.9")
    settings = project.settings.replace(export=ada)
    installed = replace(project, settings=settings)
    sensor = export_sensor(lambda: installed, settings, lambda _: SCHEDULED_AT)
    export_engines(
        installed,
        calendar,
        made_at=SCHEDULED_AT,
        flavour="tensorrt-rtx",
        precision="fp32",
        compute_capability="8.9",
    )

    def poll() -> Tick:
        return tick(lambda *_, **__: sensor, SCHEDULED_AT)

    assert poll() == "every active model is exported"
    [record] = export_folder(project).glob("*.engine.json")
    record.write_text(record.read_text().replace('"onnx_sha256": "', '"onnx_sha256": "0'))
    asked = poll()
    assert (range_of(asked), assets_of(asked)) == ((first, first), ["onnx_model", "tensorrt_engine"])


def test_another_promotion_within_the_hour_is_requested_at_once(
    poll: Callable[..., Tick], activate: Callable[[str], None], project: Project
) -> None:
    first, second, *_ = project.settings.tickers
    activate(first)
    poll()
    activate(second)
    assert range_of(poll(SCHEDULED_AT + timedelta(minutes=2))) == (first, second)


@pytest.mark.parametrize("enabled", [False, True])
def test_the_sensor_is_on_by_its_setting(project: Project, enabled: bool) -> None:
    settings = project.settings.replace(export=ExportConfig(enabled=enabled))
    status = dg.DefaultSensorStatus.RUNNING if enabled else dg.DefaultSensorStatus.STOPPED
    assert export_sensor(lambda: project, settings).default_status == status
