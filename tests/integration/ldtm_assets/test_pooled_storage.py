"""Dagster's storage with open connections, on real PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import yaml
from sqlalchemy import event
from sqlalchemy.engine import Engine

from ldtm_assets.pooled_storage import PooledPostgresStorage
from ldtm_lib.database.connection import Database
from tests.integration.dagster_storage import dagster_instance
from tests.repository import REPOSITORY

NUM_EVENTS = 30
APPLICATION = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"


@dg.asset
def noted(context: dg.AssetExecutionContext) -> None:
    for number in range(NUM_EVENTS):
        context.log_event(dg.AssetObservation("noted", metadata={"number": number}))


def test_a_run_opens_a_few_connections_for_all_of_its_events(database: Database, tmp_path: Path) -> None:
    opened: list[object] = []
    with dagster_instance(database, tmp_path) as instance:
        event.listen(Engine, "connect", lambda *_: opened.append(1))
        assert dg.materialize([noted], instance=instance).success
        events = instance.fetch_observations(dg.AssetKey("noted"), limit=NUM_EVENTS + 1).records
    assert len(events) == NUM_EVENTS
    assert len(opened) <= 6


def test_connections_that_the_server_has_ended_are_replaced(database: Database, tmp_path: Path) -> None:
    with dagster_instance(database, tmp_path) as instance:
        assert dg.materialize([noted], instance=instance).success
        with database.connect() as conn:
            ended = conn.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            ).fetchall()
        assert ended, "the pool holds connections"
        assert dg.materialize([noted], instance=instance).success
        assert len(instance.fetch_observations(dg.AssetKey("noted"), limit=100).records) == 2 * NUM_EVENTS


def test_threads_do_not_wait_for_each_other_and_one_connection_a_part_stays(database: Database, tmp_path: Path) -> None:
    with dagster_instance(database, tmp_path) as instance, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: instance.get_runs(limit=1), range(40)))
        with database.connect() as conn:
            (num_open,) = conn.execute(APPLICATION).fetchone() or (None,)
    assert num_open is not None
    assert 1 <= num_open <= 3


def test_the_projects_dagster_yaml_names_the_storage(database: Database, tmp_path: Path, monkeypatch) -> None:
    section = yaml.safe_load((REPOSITORY / "dagster.yaml").read_text())["storage"]
    monkeypatch.setenv("LDTM_DAGSTER_URL", database.with_schema("ldtm_dagster").sqlalchemy_url())
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"storage": section}) as instance:
        assert isinstance(instance.get_ref().storage, PooledPostgresStorage), "as the process of a run opens it"
        assert dg.materialize([noted], instance=instance).success
