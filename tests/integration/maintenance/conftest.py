"""An installation with a real Dagster storage on PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from psycopg import sql

from ldtm_lib.database.connection import Database
from ldtm_lib.project import Project
from ldtm_lib.settings import RetentionConfig, Settings
from tests.integration.maintenance.dagster_installation import (
    SCHEMA,
    TICKERS,
    DagsterInstallation,
)


@pytest.fixture
def installation(database: Database, tmp_path: Path) -> Iterator[DagsterInstallation]:
    settings = Settings(path=tmp_path / "universe.toml", tickers=tuple(TICKERS), retention=RetentionConfig(log_mib=1))
    project = Project(settings=settings, home=tmp_path / ".ldtm" / "ldtm", database=database)
    with database.transaction() as conn:
        conn.execute(sql.SQL("create schema {}").format(sql.Identifier(SCHEMA)))
    storage = {"postgres": {"postgres_url": project.dagster_database.sqlalchemy_url()}}
    (tmp_path / "dagster").mkdir()
    with dg.instance_for_test(temp_dir=str(tmp_path / "dagster"), overrides={"storage": storage}) as instance:
        yield DagsterInstallation(project=project, instance=instance)
