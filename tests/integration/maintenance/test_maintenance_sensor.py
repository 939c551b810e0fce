"""The sensor that looks after the disk: logs are cut between two Sundays, and little room is told once and ended."""

from pathlib import Path

import dagster as dg
import pytest

from ldtm_assets.automation.maintenance import upkeep_sensor
from ldtm_lib.alerts.alert import open_troubles
from ldtm_lib.database.connection import Database
from ldtm_lib.errors import DatabaseUnavailable
from ldtm_lib.maintenance import disk
from ldtm_lib.maintenance.log_files import dagster_log
from ldtm_lib.project import Project, home_of
from ldtm_lib.settings import RetentionConfig, Settings

MORE_THAN_ANY_DISK_GIB = 1e9


@pytest.fixture
def project(tmp_path: Path, database: Database) -> Project:
    settings = Settings(path=tmp_path / "universe.toml", tickers=("AAPL",), retention=RetentionConfig(log_mib=1))
    home_of(settings).mkdir(parents=True)
    return Project(settings=settings, home=home_of(settings), database=database)


def look(project: Project) -> str:
    said = upkeep_sensor(lambda: project, project.settings)(dg.build_sensor_context())
    assert isinstance(said, dg.SkipReason)
    assert said.skip_message is not None
    return said.skip_message


def troubles(project: Project) -> list[tuple[str, str]]:
    with project.database.transaction() as conn:
        return [(trouble.key, trouble.summary) for trouble in open_troubles(conn)]


def test_logs_are_cut_at_each_look(project: Project) -> None:
    log = dagster_log(project.home)
    log.parent.mkdir()
    log.write_bytes(b"a line\n" * 500_000)
    assert "2.5 MiB of 1 logs went" in look(project)
    assert log.stat().st_size < 1 << 20
    assert "0.0 MiB of 0 logs went" in look(project)


def test_logs_are_cut_also_when_the_database_does_not_answer(project: Project) -> None:
    log = dagster_log(project.home)
    log.parent.mkdir()
    log.write_bytes(b"a line\n" * 500_000)

    def gone() -> Project:
        raise DatabaseUnavailable("the disk is full")

    with pytest.raises(DatabaseUnavailable):
        upkeep_sensor(gone, project.settings)(dg.build_sensor_context())
    assert log.stat().st_size < 1 << 20


def test_a_disk_that_fills_up_is_one_trouble_and_ends_when_there_is_room(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "there is room on the disk" in look(project)
    assert troubles(project) == []
    with monkeypatch.context() as little:
        little.setattr(disk, "LITTLE_DISK_GIB", MORE_THAN_ANY_DISK_GIB)
        assert "GiB free at" in look(project)
        noticed = troubles(project)
        assert [key for key, _ in noticed] == ["disk"]
        assert "free some, or see `ldtm retention`" in noticed[0][1]
        look(project)
        assert troubles(project) == noticed, "seen again it is nothing new"
    free_gib = disk.free_bytes(project.home) / disk.GIB
    with monkeypatch.context() as just_enough:
        just_enough.setattr(disk, "LITTLE_DISK_GIB", 0.95 * free_gib)
        assert "there is room" in look(project)
        assert troubles(project) == noticed, "around the limit it is not over yet"
    look(project)
    assert troubles(project) == []
