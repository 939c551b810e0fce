"""The project as a run opens it: a schema that lacks steps of the code is reported with the remedy."""

from pathlib import Path

import pytest

from ldtm_assets.resources import ProjectResource
from ldtm_lib.database.connection import Database
from ldtm_lib.database.migrate import migrations
from ldtm_lib.errors import MigrationError


def test_a_run_of_newer_code_on_an_older_schema_says_what_is_missing_and_how_to_restart(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "universe.toml"
    config.write_text('tickers = ["AAPL"]\n')
    monkeypatch.setenv("LDTM_DATABASE_URL", database.url)
    assert ProjectResource(config_path=str(config)).open().database.schema == "ldtm"
    newest = migrations()[-1].name
    with database.transaction() as conn:
        conn.execute("delete from schema_migration where file_name = %s", (newest,))
    with pytest.raises(MigrationError) as refused:
        ProjectResource(config_path=str(config)).open()
    assert str(refused.value) == (
        f"schema ldtm lacks {newest}, which this code needs: the code was updated while Dagster was running. `ldtm up` "
        "applies it and restarts Dagster"
    )
