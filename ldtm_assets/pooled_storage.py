"""Dagster's storage in PostgreSQL with open connections: dagster.yaml names it.

Dagster 1.13.27 opens a connection for every statement outside of its webserver, and a run records an event, of which
there are some for each ticker, in three or four of them. Most of the time of recording is then PostgreSQL's start of
processes: the gate over 103 tickers opens 2,664 connections that way and 53 this way, and takes 15 to 70 s and 5 to
24 s on two busy cores (two runs each, 2026-12-01, `benchmarks/scale_stages.py`).
"""

from dagster._core.storage.config import PostgresStorageConfig
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import create_pg_engine, get_token_provider_from_config, pg_url_from_config


class PooledPostgresStorage(DagsterPostgresStorage):
    """Storage each part of which, runs, events and schedules, keeps one connection open.

    More are opened while several threads need one, and closed again. A connection is tried before it is used: one that
    the server has ended, as at its restart, is replaced.
    """

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,
        inst_data: ConfigurableClassData | None = None,
        token_provider: None = None,
    ) -> None:
        super().__init__(postgres_url, should_autocreate_tables, inst_data, token_provider)
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            storage._engine = create_pg_engine(
                postgres_url,
                token_provider,
                isolation_level="AUTOCOMMIT",
                pool_size=1,
                max_overflow=-1,
                pool_pre_ping=True,
            )

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: PostgresStorageConfig
    ) -> "PooledPostgresStorage":
        """The storage that a section of dagster.yaml describes; Dagster's own method makes one of its own class."""
        return cls(
            pg_url_from_config(config_value),
            config_value.get("should_autocreate_tables", True),
            inst_data,
            get_token_provider_from_config(config_value),  # pyright: ignore[reportArgumentType]
        )
