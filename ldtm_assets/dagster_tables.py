"""The tables of Dagster's storage, created as a whole.

Dagster creates them one by one, and only where the first one of a storage is missing: it never continues a creation
that was interrupted, and fails at the first query of a missing table.
"""

from dagster._core.storage.event_log.schema import SqlEventLogStorageMetadata
from dagster._core.storage.runs.schema import RunStorageSqlMetadata
from dagster._core.storage.schedules.schema import ScheduleStorageSqlMetadata
from dagster_postgres import DagsterPostgresStorage

from ldtm_lib.maintenance.dagster_storage import discard_incomplete_tables, hold_schema
from ldtm_lib.project import Project

STORAGES = (RunStorageSqlMetadata, SqlEventLogStorageMetadata, ScheduleStorageSqlMetadata)
TABLES = frozenset(name for storage in STORAGES for name in storage.tables)


def create_dagster_tables(project: Project) -> None:
    """Create the tables where any is missing; an interrupted creation, which has no run yet, is started over."""
    database = project.dagster_database
    with database.transaction() as holding:
        hold_schema(holding, database.schema)
        with database.transaction() as conn:
            is_complete = discard_incomplete_tables(conn, TABLES)
        if not is_complete:
            DagsterPostgresStorage(database.sqlalchemy_url())
