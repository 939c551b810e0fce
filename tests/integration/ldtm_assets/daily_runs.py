"""Whole daily runs through Dagster's job, in this process."""

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from ldtm_assets.definitions import definitions_for
from ldtm_assets.partitions import all_tickers_of
from ldtm_lib.database.connection import Database
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import PartitionsBy, load_settings
from tests.integration.dagster_storage import dagster_instance
from tests.integration.ledger_rows import enter_service

CONFIG = """
tickers = ["AAPL", "MSFT"]
{more}
[source]
kind = "{source}"
basis = "adjusted"
[partitions]
first_session = 2013-01-02
last_session = {last}
by = "{by}"
"""
FIRST_SESSION = date(2013, 1, 2)
DailyRun = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def daily_run(tmp_path: Path, database: Database, calendar: Calendar, monkeypatch: pytest.MonkeyPatch) -> DailyRun:
    """Run the daily job for AAPL and MSFT, which are in service, with a configuration."""
    with database.transaction() as conn:
        for ticker in ("AAPL", "MSFT"):
            enter_service(conn, ticker, FIRST_SESSION)
    monkeypatch.setenv("LDTM_DATABASE_URL", database.url)

    def run(
        session: str,
        *,
        source: str = "sample",
        more: str = "",
        last: str = "2013-03-01",
        until: str | None = None,
        by: PartitionsBy = "date_and_ticker",
        assets: Sequence[str] = (),
        **step: object,
    ):
        config = tmp_path / "universe.toml"
        config.write_text(CONFIG.format(source=source, more=more, last=last, by=by))
        settings = load_settings(config)
        first_day, last_day = date.fromisoformat(session), date.fromisoformat(until or session)
        job = definitions_for(settings, calendar).resolve_job_def("daily_job")
        with dagster_instance(database, tmp_path) as instance:
            return job.execute_in_process(
                instance=instance,
                tags=all_tickers_of(settings.partitions, first_day, last_day, settings.tickers),
                asset_selection=[dg.AssetKey(name) for name in assets] or None,
                run_config={
                    "ops": {"daily_forecast": {"config": step}},
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                },
                raise_on_error=False,
            )

    return run
