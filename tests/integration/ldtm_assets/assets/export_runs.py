"""Runs of exports in process, in an installation of three tickers of which two have an active model."""

from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from ldtm_assets.definitions import definitions_for
from ldtm_assets.partitions import partition_range
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import load_settings
from tests.integration.dagster_storage import dagster_instance
from tests.integration.environment import ForecastEnvironment

TICKERS = ("AAA", "BBB", "CCC")


class ExportRuns:
    """An installation with active models of AAA and BBB, and the runs of its exports."""

    def __init__(self, folder: Path, database: Database, conn: Connection, calendar: Calendar, config: str) -> None:
        self._folder, self._database = folder, database
        path = folder / "universe.toml"
        path.write_text(f"tickers = {list(TICKERS)}\n{config}")
        self.settings = load_settings(path)
        self.environment = ForecastEnvironment(conn, calendar, self.settings, folder / ".ldtm/ldtm/checkpoints")
        self.environment.deliver(self.environment.bars(TICKERS))
        for seed, ticker in enumerate(TICKERS[:2]):
            self.environment.network(ticker, seed=seed)
        conn.commit()

    def run(
        self, first: str, last: str, *, job: str = "export_job", assets: Sequence[str] | None = None
    ) -> dg.ExecuteInProcessResult:
        """Execute a job for a range of tickers, or some of its assets."""
        definition = definitions_for(self.settings, self.environment.calendar).resolve_job_def(job)
        with dagster_instance(self._database, self._folder) as instance:
            return definition.execute_in_process(
                instance=instance,
                tags=partition_range(first, last),
                asset_selection=[dg.AssetKey(name) for name in assets] if assets else None,
                raise_on_error=False,
            )

    def damage(self, ticker: str) -> None:
        """Cut the checkpoint file of a ticker."""
        [path] = self.environment.folder.glob(f"{ticker}*.pt")
        path.write_bytes(path.read_bytes()[:-10])


def materialized(result: dg.ExecuteInProcessResult) -> set[tuple[str, str | None]]:
    return {
        (event.asset_key.to_user_string(), event.partition)
        for event in result.get_asset_materialization_events()
        if event.asset_key
    }


def checks(result: dg.ExecuteInProcessResult, name: str) -> dict[str | None, bool]:
    """The results of a check by ticker; None stands for all tickers of the run."""
    return {e.partition: e.passed for e in result.get_asset_check_evaluations() if e.check_name == name}


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    [failure] = result.get_step_failure_events()
    return str(failure.step_failure_data.error)
