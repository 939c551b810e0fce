"""Measure the time of purges of Dagster's storage and what they leave, compared with deleting runs one by one.

Dagster itself records one daily run of 103 tickers, 412 partitions in one run. The script copies it with another date
for every session. Then, each on a copy of that database, it purges the logs of all daily runs, purges all daily runs as
a whole, deletes them one by one with Dagster's `delete_run`, and adds weeks of five daily runs with a purge each.

    .venv/bin/python benchmarks/bench_retention.py [--sessions 300] [--weeks 10]
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

REPOSITORY = Path(__file__).parents[1]
sys.path.append(str(REPOSITORY))
from ldtm_assets.jobs import RETENTION_ASSETS  # noqa: E402
from ldtm_assets.partitions import partition_range  # noqa: E402
from ldtm_lib.database import embedded  # noqa: E402
from ldtm_lib.database.connection import Database  # noqa: E402
from ldtm_lib.database.migrate import migrate  # noqa: E402
from ldtm_lib.maintenance.retention import purge_expired  # noqa: E402
from ldtm_lib.project import Project  # noqa: E402
from ldtm_lib.sessions import exchange_calendar  # noqa: E402
from ldtm_lib.settings import RetentionConfig, Settings  # noqa: E402

TICKERS = [f"T{number:03d}" for number in range(103)]
FIRST = date(2025, 1, 2)
NAMES = ("prices", "features", "snapshots", "fillbacks")
CHECKS = [("prices", f"check_{number}") for number in range(10)]
NUM_LINES = 60
PARTITIONS = dg.MultiPartitionsDefinition(
    {"date": dg.StaticPartitionsDefinition([FIRST.isoformat()]), "ticker": dg.StaticPartitionsDefinition(TICKERS)}
)
RUN_ONCE_MORE = """
with made as (
    insert into runs (run_id, snapshot_id, pipeline_name, status, run_body, create_timestamp, update_timestamp,
                      start_time, end_time)
    select %(new)s::text, snapshot_id, pipeline_name, status, replace(run_body, run_id, %(new)s::text), now(), now(),
           extract(epoch from now() - %(age)s::interval) - 60, extract(epoch from now() - %(age)s::interval)
    from runs where run_id = %(run_id)s
    returning run_id
), tagged as (
    insert into run_tags (run_id, key, value)
    select made.run_id, key, value from run_tags, made where run_tags.run_id = %(run_id)s
), numbered as (
    select nextval(pg_get_serial_sequence('event_logs', 'id')) as new_id, e.*
    from (select * from event_logs where run_id = %(run_id)s order by id) e
), happened as (
    insert into event_logs (id, run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition)
    select new_id, %(new)s::text, replace(replace(event, run_id, %(new)s::text), %(first)s::text, %(session)s::text),
           dagster_event_type, now() - %(age)s::interval, step_key, asset_key,
           replace(partition, %(first)s::text, %(session)s::text)
    from numbered
), labelled as (
    insert into asset_event_tags (event_id, asset_key, key, value, event_timestamp)
    select new_id, t.asset_key, key, replace(value, %(first)s::text, %(session)s::text), event_timestamp
    from asset_event_tags t join numbered n on n.id = t.event_id
)
insert into asset_check_executions (asset_key, check_name, run_id, execution_status, evaluation_event,
                                    evaluation_event_timestamp, evaluation_event_storage_id)
select c.asset_key, check_name, %(new)s::text, execution_status, evaluation_event, evaluation_event_timestamp, n.new_id
from asset_check_executions c join numbered n on n.id = c.evaluation_event_storage_id
"""
SIZE = """
select sum(pg_total_relation_size(c.oid))::bigint from pg_class c
where relnamespace = 'ldtm_dagster'::regnamespace and relkind = 'r'
"""


@dg.multi_asset(
    specs=[dg.AssetSpec(name, partitions_def=PARTITIONS, skippable=True) for name in NAMES],
    check_specs=[dg.AssetCheckSpec(name, asset=asset) for asset, name in CHECKS],
    partitions_def=PARTITIONS,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def daily_run(context: dg.AssetExecutionContext) -> Any:
    """Record as many events, with as much in them, as a daily run of the real assets."""
    for number in range(NUM_LINES):
        context.log.info(f"line {number} of what a daily run logs about its tickers")
    for name in NAMES:
        for key in context.partition_keys:
            context.add_asset_metadata(
                asset_key=dg.AssetKey(name), partition_key=key, metadata={"close": 123.45, "source": "ib", "row": key}
            )
        yield dg.MaterializeResult(asset_key=name)
    for asset, name in CHECKS:
        yield dg.AssetCheckResult(asset_key=asset, check_name=name, passed=True, metadata={"cohort": "x" * 300})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=300)
    parser.add_argument("--weeks", type=int, default=10)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ldtm-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        try:
            measure(embedded.start(home), home, given.sessions, given.weeks)
        finally:
            embedded.stop(home)


def measure(server: str, home: Path, num_sessions: int, num_weeks: int) -> None:
    """Print a line for every kind of purge."""
    project = installation(server, home, "recorded")
    run_id = record_a_daily_run(project)
    for number in range(1, num_sessions):
        once_more(project, run_id, number, days_ago=31 + number)
    set_end(project, run_id, days_ago=31)
    vacuum(project)
    mib, num_events = size_of(project)
    print(f"{num_sessions} daily runs: {num_events:,} events, {mib:,.0f} MiB")

    def tell(what: str, name: str, work: Callable[[Project], object]) -> None:
        own = copied(server, project, name)
        started = time.perf_counter()
        work(own)
        seconds = time.perf_counter() - started
        left, num_left = size_of(own)
        vacuum(own, fully=True)
        print(
            f"{what}: {seconds:.1f} s, {num_left:,} events left, {left:,.0f} MiB, "
            f"{size_of(own)[0]:,.0f} MiB after VACUUM FULL"
        )

    def weeks(own: Project) -> None:
        for week in range(num_weeks):
            for day in range(5):
                once_more(own, run_id, num_sessions + 5 * week + day, days_ago=31)
            purge(own)
            if week % 3 == 0:
                print(f"    week {week + 1}: {size_of(own)[0]:,.0f} MiB")

    tell("purge their logs", "logs", purge)
    tell("purge again, nothing to do", "logs_again", lambda own: (purge(own), timed("    ", lambda: purge(own))))
    tell("purge all runs", "all_of_it", lambda own: purge(old(own)))
    tell("delete all runs one by one with delete_run", "plain", delete_one_by_one)
    tell(f"{num_weeks} weeks of five daily runs and a purge", "weeks", weeks)


def timed(what: str, work: Callable[[], object]) -> None:
    started = time.perf_counter()
    work()
    print(f"{what}{time.perf_counter() - started:.2f} s")


def installation(server: str, home: Path, name: str) -> Project:
    """Create a database with LDTM's schema and one for Dagster."""
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    settings = Settings(path=home / "universe.toml", tickers=tuple(TICKERS), retention=RetentionConfig())
    project = Project(settings=settings, home=home / "state", database=Database(url=url(server, name), schema="ldtm"))
    migrate(project.database, exchange_calendar())
    with project.database.transaction() as conn:
        conn.execute("create schema ldtm_dagster")
    return project


def url(server: str, name: str) -> str:
    return f"postgresql://postgres@/{name}?host={psycopg.conninfo.conninfo_to_dict(server)['host']}"


def copied(server: str, project: Project, name: str) -> Project:
    """The same installation on a copy of its database."""
    with psycopg.connect(make_conninfo(server, dbname="template1"), autocommit=True) as admin:
        admin.execute(sql.SQL("create database {} template recorded").format(sql.Identifier(name)))
    return replace(project, database=Database(url=url(server, name), schema="ldtm"))


def instance_of(project: Project, home: Path) -> Any:
    storage = {"postgres": {"postgres_url": project.dagster_database.sqlalchemy_url()}}
    home.mkdir(parents=True, exist_ok=True)
    return dg.instance_for_test(temp_dir=str(home), overrides={"storage": storage})


def record_a_daily_run(project: Project) -> str:
    job = dg.Definitions(assets=[daily_run], executor=dg.in_process_executor).resolve_implicit_global_asset_job_def()
    with instance_of(project, project.home / "recorder") as instance:
        result = job.execute_in_process(
            instance=instance,
            tags=partition_range(f"{FIRST}|{TICKERS[0]}", f"{FIRST}|{TICKERS[-1]}"),
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        assert result.success
    return result.run_id


def once_more(project: Project, run_id: str, number: int, *, days_ago: int) -> None:
    session = (FIRST + timedelta(days=number)).isoformat()
    new = f"{number:08d}{run_id[8:]}"
    with project.dagster_database.transaction() as conn:
        conn.execute(
            RUN_ONCE_MORE,
            {"run_id": run_id, "new": new, "age": timedelta(days=days_ago), "first": str(FIRST), "session": session},
        )


def set_end(project: Project, run_id: str, *, days_ago: int) -> None:
    with project.dagster_database.transaction() as conn:
        age = timedelta(days=days_ago)
        conn.execute(
            "update runs set end_time = extract(epoch from now() - %s::interval) where run_id = %s", (age, run_id)
        )


def old(project: Project) -> Project:
    """Make every run a thousand days older; returns the project."""
    with project.dagster_database.transaction() as conn:
        conn.execute("update runs set end_time = end_time - 86400 * 1000")
    return project


def purge(project: Project) -> None:
    done = purge_expired(project, RETENTION_ASSETS)
    assert done.failures == (), done.failures


def delete_one_by_one(project: Project) -> None:
    with instance_of(project, project.home / "plain") as instance:
        for run in instance.get_runs():
            instance.delete_run(run.run_id)


def size_of(project: Project) -> tuple[float, int]:
    """MiB of Dagster's tables with their indexes, and the number of events."""
    with project.dagster_database.transaction() as conn:
        (num_bytes,) = conn.execute(SIZE).fetchone() or (0,)
        (num_events,) = conn.execute("select count(*) from event_logs").fetchone() or (0,)
    return num_bytes / 2**20, num_events


def vacuum(project: Project, *, fully: bool = False) -> None:
    with project.dagster_database.connect() as conn:
        conn.autocommit = True
        conn.execute("vacuum full" if fully else "vacuum analyze")


if __name__ == "__main__":
    main()
