"""Dagster instances whose storage is in the database of a test, as in production."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from ldtm_lib.database.connection import Database


@contextmanager
def dagster_instance(database: Database, folder: Path, **overrides: Any) -> Iterator[dg.DagsterInstance]:
    """An instance with its files in a folder. In copies of `template_with_dagster` its tables are there already."""
    storage = database.with_schema(f"{database.schema}_dagster").sqlalchemy_url()
    custom = {
        "module": "ldtm_assets.pooled_storage",
        "class": "PooledPostgresStorage",
        "config": {"postgres_url": storage},
    }
    overrides = {"storage": {"custom": custom}, **overrides}
    with dg.DagsterInstance.local_temp(str(folder), overrides=overrides) as instance:
        yield instance


@pytest.fixture(scope="session")
def copied_template(template_with_dagster: str) -> str:
    """Tests that see this fixture have the tables of Dagster's storage in their database."""
    return template_with_dagster
