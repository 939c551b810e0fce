"""An installation with one sealed forecast, and an archive of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ldtm_lib.database.connection import Database
from ldtm_lib.sessions import Calendar
from tests.databases import fresh_database
from tests.integration.backup.installation import Installation


@pytest.fixture
def installation(tmp_path: Path, database: Database, calendar: Calendar) -> Installation:
    installation = Installation.in_folder(tmp_path / "first", database, calendar)
    installation.forecast()
    return installation


@pytest.fixture(scope="module")
def saved(
    server_url: str, template: str, calendar: Calendar, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Installation, Path]]:
    """An installation and its archive for tests that change neither."""
    folder = tmp_path_factory.mktemp("saved")
    with fresh_database(server_url, template) as database:
        installation = Installation.in_folder(folder / "first", database, calendar)
        installation.forecast()
        installation.backup(folder / "backup.tar")
        yield installation, folder / "backup.tar"


@pytest.fixture
def archive(installation: Installation, tmp_path: Path) -> Path:
    path = tmp_path / "backup.tar"
    installation.backup(path)
    return path
