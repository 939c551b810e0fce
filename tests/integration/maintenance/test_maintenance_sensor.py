"""The maintenance sensor: it truncates logs, and raises and resolves one alert on free disk space."""

from pathlib import Path

import dagster as dg
import pytest

from ldtm_assets.automation.maintenance import maintenance_sensor
from ldtm_lib.alerts.alert import open_alerts
from ldtm_lib.database.connection import Database
from ldtm_lib.errors import DatabaseUnavailable
from ldtm_lib.maintenance import disk
from ldtm_lib.maintenance.disk import dagster_log
from ldtm_lib.project import Project, home_of
from ldtm_lib.settings import RetentionConfig, Settings

MORE_THAN_ANY_DISK_GIB = 1e9


@pytest.fixture
def project(tmp_path: Path, database: Database) -> Project:
    settings = Settings(path=tmp_path / "universe.toml", tickers=("AAPL",), retention=RetentionConfig(log_mib=1))
    home_of(settings).mkdir(parents=True)
    return Project(settings=settings, home=home_of(settings), database=database)


def tick(project: Project) -> str:
    said = maintenance_sensor(lambda: project, project.settings)(dg.build_sensor_context())
    assert isinstance(said, dg.SkipReason)
    assert said.skip_message is not None
    return said.skip_message


def alerts(project: Project) -> list[tuple[str, str]]:
    with project.database.transaction() as conn:
        return [(alert.key, alert.summary) for alert in open_alerts(conn)]


def test_logs_are_truncated_at_each_tick(project: Project) -> None:
    log = dagster_log(project.home)
    log.parent.mkdir()
    log.write_bytes(b"a line\n" * 500_000)
    assert "2.5 MiB of 1 log removed" in tick(project)
    assert log.stat().st_size < 1 << 20
    assert "0.0 MiB of 0 logs removed" in tick(project)


def test_logs_are_truncated_also_when_the_database_does_not_answer(project: Project) -> None:
    log = dagster_log(project.home)
    log.parent.mkdir()
    log.write_bytes(b"a line\n" * 500_000)

    def gone() -> Project:
        raise DatabaseUnavailable("the disk is full")

    with pytest.raises(DatabaseUnavailable):
        maintenance_sensor(gone, project.settings)(dg.build_sensor_context())
    assert log.stat().st_size < 1 << 20


def test_a_disk_that_fills_up_is_one_alert_and_resolved_when_space_is_free(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "enough disk space is free" in tick(project)
    assert alerts(project) == []
    with monkeypatch.context() as little:
        little.setattr(disk, "LOW_DISK_GIB", MORE_THAN_ANY_DISK_GIB)
        assert "GiB free at" in tick(project)
        raised = alerts(project)
        assert [key for key, _ in raised] == ["disk"]
        assert "free some space, or see `ldtm retention`" in raised[0][1]
        tick(project)
        assert alerts(project) == raised, "raised again it is unchanged"
    free_gib = disk.free_bytes(project.home) / disk.GIB
    with monkeypatch.context() as just_enough:
        just_enough.setattr(disk, "LOW_DISK_GIB", 0.95 * free_gib)
        assert "enough disk space is free" in tick(project)
        assert alerts(project) == raised, "around the limit it stays open"
    tick(project)
    assert alerts(project) == []
