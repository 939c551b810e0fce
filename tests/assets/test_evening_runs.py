"""Whole evenings through Dagster's job, in this process, on real PostgreSQL: what goes wrong costs only itself."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from ldtm_assets.definitions import definitions_for
from ldtm_assets.partitions import partition_range
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings_file import load_settings
from tests.integration.conftest import LedgerRows

CONFIG = """
tickers = ["AAPL", "MSFT"]
{retired}
[source]
kind = "{source}"
basis = "adjusted"
[partitions]
first_session = 2013-01-02
last_session = {last}
"""
Evening = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def evening(tmp_path: Path, database: Database, calendar: Calendar, monkeypatch: pytest.MonkeyPatch) -> Evening:
    """Runs an evening of AAPL and MSFT with a configuration."""
    monkeypatch.setenv("LDTM_DATABASE_URL", database.url)

    def run(session: str, *, source: str = "sample", retired: str = "", last: str = "2013-03-01"):
        config = tmp_path / "universe.toml"
        config.write_text(CONFIG.format(source=source, retired=retired, last=last))
        job = definitions_for(load_settings(config), calendar).resolve_job_def("evening_job")
        with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
            return job.execute_in_process(
                instance=instance,
                tags=partition_range(f"{session}|AAPL", f"{session}|MSFT"),
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                raise_on_error=False,
            )

    return run


def _reason(result: dg.ExecuteInProcessResult) -> str:
    return " ".join(event.step_failure_data.error_display_string for event in result.get_step_failure_events())


def _materialized(result: dg.ExecuteInProcessResult, asset: str) -> set[str]:
    events = result.get_asset_materialization_events()
    return {str(event.partition) for event in events if event.asset_key == dg.AssetKey(asset)}


def test_a_session_that_has_not_closed_is_refused_with_the_newest_one(evening: Evening) -> None:
    result = evening("2026-12-30", last="2026-12-31")
    assert not result.success
    assert "session 2026-12-30 has not closed; the newest closed one is" in _reason(result)
    assert _materialized(result, "snapshots") == set()


def test_a_source_that_cannot_be_opened_costs_the_bars_and_no_row(evening: Evening, conn: Connection) -> None:
    result = evening("2013-02-01", source="files")
    assert not result.success
    assert "data/bars" in _reason(result)
    assert "2 partitions failed, the others are recorded" in _reason(result)
    assert _materialized(result, "prices") == set()
    assert _materialized(result, "snapshots") == {"2013-02-01|AAPL", "2013-02-01|MSFT"}
    assert conn.execute("select ticker, kind from snapshot order by ticker").fetchall() == [
        ("AAPL", "late"),
        ("MSFT", "late"),
    ]


def test_an_evening_that_is_run_again_changes_nothing_and_succeeds(evening: Evening, conn: Connection) -> None:
    assert evening("2013-02-01").success
    before = conn.execute("select * from snapshot order by ticker").fetchall()
    conn.commit()
    assert evening("2013-02-01").success
    assert conn.execute("select * from snapshot order by ticker").fetchall() == before
    assert len(before) == 2


def test_a_ticker_that_left_is_followed_until_its_forecasts_are_filled(
    evening: Evening, conn: Connection, calendar: Calendar
) -> None:
    LedgerRows(conn, calendar).forecast("MSFT", date(2013, 1, 31), close=27.45, preds=(28, 28, 28))
    conn.commit()
    result = evening("2013-02-01", retired="[retired]\nMSFT = 2013-02-01")
    assert result.success
    assert conn.execute(
        "select ticker, run_date::text, next_day_actual from snapshot order by run_date"
    ).fetchall() == [
        ("MSFT", "2013-01-31", 27.93),
        ("AAPL", "2013-02-01", None),
    ]


def test_an_evening_of_departed_tickers_alone_succeeds_with_its_checks(evening: Evening) -> None:
    retired = "[retired]\nAAPL = 2013-01-10\nMSFT = 2013-01-10"
    result = evening("2013-02-01", retired=retired)
    assert result.success
    assert {check.check_name for check in result.get_asset_check_evaluations()} == {
        "no_bar_in_quarantine",
        "windows_know_no_future",
        "no_forecast_saw_later_bars",
        "active_models_hold_up",
        "every_ticker_has_a_row",
        "every_due_actual_came",
        "record_is_intact",
        "seals_are_published",
    }
