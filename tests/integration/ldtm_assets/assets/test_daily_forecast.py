"""Whole daily runs through Dagster's job, in this process, on real PostgreSQL: what goes wrong costs only itself."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest

from ldtm_assets.definitions import definitions_for
from ldtm_assets.partitions import DAILY_ASSETS, partition_range
from ldtm_lib.audit.verify import verify
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import load_settings
from tests.integration.dagster_storage import dagster_instance
from tests.integration.ldtm_assets.daily_runs import CONFIG, DailyRun
from tests.integration.ledger_rows import LedgerRows, enter_service


def _reason(result: dg.ExecuteInProcessResult) -> str:
    return " ".join(event.step_failure_data.error_display_string for event in result.get_step_failure_events())


def _materialized(result: dg.ExecuteInProcessResult, asset: str) -> set[str]:
    events = result.get_asset_materialization_events()
    return {str(event.partition) for event in events if event.asset_key == dg.AssetKey(asset)}


def test_a_session_that_has_not_closed_is_refused_with_the_newest_one(daily_run: DailyRun) -> None:
    result = daily_run("2026-12-30", last="2026-12-31")
    assert not result.success
    assert "session 2026-12-30 has not closed; the newest closed one is" in _reason(result)
    assert _materialized(result, "snapshots") == set()


def test_a_source_that_cannot_be_opened_costs_bars_of_long_ago_and_no_row(
    daily_run: DailyRun, conn: Connection
) -> None:
    result = daily_run("2013-02-01", source="files")
    assert not result.success
    assert "data/bars" in _reason(result)
    assert "2 partitions failed, the others are recorded" in _reason(result)
    assert _materialized(result, "prices") == set()
    assert _materialized(result, "snapshots") == {"2013-02-01|AAPL", "2013-02-01|MSFT"}
    assert conn.execute("select ticker, kind from snapshot order by ticker").fetchall() == [
        ("AAPL", "late"),
        ("MSFT", "late"),
    ]


def test_a_source_that_is_away_after_the_open_costs_no_row_before_it_has_been_tried_often(
    daily_run: DailyRun, conn: Connection, calendar: Calendar
) -> None:
    """As when a computer comes up again before TWS on it does. Simulated daily runs wait for nobody."""
    session = calendar.offset(calendar.last_closed(datetime.now(UTC)), -1)
    day, more = session.isoformat(), "[automation]\nreport_after_attempts = 2"
    first = daily_run(day, source="files", more=more, last=day)
    assert "waits for its bar; this was attempt 1, and the ticker abstains after attempt 2" in _reason(first)
    assert _materialized(first, "snapshots") == set()
    assert conn.execute("select count(*) from snapshot").fetchone() == (0,)
    conn.commit()
    daily_run(day, source="files", more=more, last=day, only=["AAPL"])
    daily_run(day, source="files", more=more, last=day, only=["MSFT"], simulated=True)
    rows = conn.execute("select ticker, kind, abstained_reason is not null from snapshot order by ticker").fetchall()
    assert rows == [("AAPL", "late", True), ("MSFT", "simulated", True)]


def test_a_daily_run_that_is_run_again_changes_nothing_and_succeeds(daily_run: DailyRun, conn: Connection) -> None:
    assert daily_run("2013-02-01").success
    before = conn.execute("select * from snapshot order by ticker").fetchall()
    conn.commit()
    assert daily_run("2013-02-01").success
    assert conn.execute("select * from snapshot order by ticker").fetchall() == before
    assert len(before) == 2


def test_the_newest_event_of_the_forecasts_has_all_tickers_in_a_table(
    daily_run: DailyRun, database: Database, tmp_path: Path
) -> None:
    assert daily_run("2013-02-01", until="2013-02-04").success
    with dagster_instance(database, tmp_path) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("snapshots"))
    assert event is not None
    assert event.asset_materialization is not None
    table = event.asset_materialization.metadata["all tickers"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [row.data["ticker"] for row in table.records] == ["AAPL", "MSFT"]
    assert event.asset_materialization.partition is not None
    assert event.asset_materialization.partition.startswith("2013-02-04|")


def test_a_ticker_that_left_is_followed_until_its_forecasts_are_filled(
    daily_run: DailyRun, conn: Connection, calendar: Calendar
) -> None:
    LedgerRows(conn, calendar).forecast("MSFT", date(2013, 1, 31), close=27.45, preds=(28, 28, 28))
    conn.commit()
    result = daily_run("2013-02-01", more="[retired]\nMSFT = 2013-02-01")
    assert result.success
    assert conn.execute(
        "select ticker, run_date::text, next_day_actual from snapshot order by run_date"
    ).fetchall() == [
        ("MSFT", "2013-01-31", 27.93),
        ("AAPL", "2013-02-01", None),
    ]


def test_a_daily_run_of_delisted_tickers_alone_succeeds_with_its_checks(daily_run: DailyRun) -> None:
    retired = "[retired]\nAAPL = 2013-01-10\nMSFT = 2013-01-10"
    result = daily_run("2013-02-01", more=retired)
    assert result.success
    assert {check.check_name for check in result.get_asset_check_evaluations()} == {
        "no_bar_in_quarantine",
        "no_stored_bar_is_an_outlier",
        "windows_have_no_look_ahead",
        "forecasts_are_point_in_time",
        "active_models_are_not_degraded",
        "interval_coverage_holds",
        "every_ticker_has_a_row",
        "every_due_actual_is_filled",
        "record_is_intact",
        "seals_are_published",
    }


ATTEMPTS = "select session::text, ticker, num_attempts, done_at is not null, reason from daily_attempt order by 1, 2"


def test_only_the_tickers_that_are_named_are_worked_on_and_shown_as_materialized(
    daily_run: DailyRun, conn: Connection
) -> None:
    result = daily_run("2013-01-31", until="2013-02-01", only=["MSFT"])
    assert result.success
    for asset in DAILY_ASSETS:
        assert _materialized(result, asset) == {"2013-01-31|MSFT", "2013-02-01|MSFT"}
    rows = conn.execute("select run_date::text, ticker from snapshot order by run_date").fetchall()
    assert rows == [("2013-01-31", "MSFT"), ("2013-02-01", "MSFT")]
    assert conn.execute(ATTEMPTS).fetchall() == [
        ("2013-01-31", "MSFT", 1, True, None),
        ("2013-02-01", "MSFT", 1, True, None),
    ]


def test_an_attempt_ends_with_what_was_not_enough_and_the_next_one_counts(
    daily_run: DailyRun, conn: Connection
) -> None:
    assert not daily_run("2013-02-01", source="files").success
    first = conn.execute(ATTEMPTS).fetchall()
    conn.commit()
    assert [row[1:4] for row in first] == [("AAPL", 1, False), ("MSFT", 1, False)]
    assert all("data/bars" in reason for *_, reason in first)
    assert daily_run("2013-02-01").success
    assert [row[1:] for row in conn.execute(ATTEMPTS)] == [("AAPL", 2, True, None), ("MSFT", 2, True, None)]


def test_a_ticker_that_left_after_its_run_was_launched_has_been_tried_and_is_whole(
    daily_run: DailyRun, conn: Connection
) -> None:
    """Or whoever launched it would launch it again at once."""
    assert daily_run("2013-02-01", more="[retired]\nMSFT = 2013-02-01").success
    assert [row[1:] for row in conn.execute(ATTEMPTS)] == [("AAPL", 1, True, None), ("MSFT", 1, True, None)]


def test_a_run_that_failed_for_its_partitions_alone_says_how_many(
    daily_run: DailyRun, database: Database, tmp_path: Path
) -> None:
    failed, whole = daily_run("2013-02-01", source="files"), daily_run("2013-02-01")
    with dagster_instance(database, tmp_path) as instance:
        runs = {run.run_id: run for run in instance.get_runs()}
    assert runs[failed.run_id].tags["ldtm/partitions_pending_retry"] == f"{failed.run_id} 2"
    assert "ldtm/partitions_pending_retry" not in runs[whole.run_id].tags


def test_simulated_daily_runs_and_parts_of_one_are_no_attempts(daily_run: DailyRun, conn: Connection) -> None:
    assert daily_run("2013-02-01", simulated=True).success
    assert daily_run("2013-02-01", assets=["prices", "features"]).success
    assert conn.execute(ATTEMPTS).fetchall() == []


def test_two_runs_of_the_same_partitions_at_once_leave_one_row_each_and_an_intact_record(
    tmp_path: Path, database: Database, calendar: Calendar, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a person has started need not be waited for when the open is near."""
    monkeypatch.setenv("LDTM_DATABASE_URL", database.url)
    config = tmp_path / "universe.toml"
    config.write_text(CONFIG.format(source="sample", more="", last="2013-03-01", by="date_and_ticker"))
    for ticker in ("AAPL", "MSFT"):
        enter_service(conn, ticker, date(2013, 1, 2))
    conn.commit()
    job = definitions_for(load_settings(config), calendar).resolve_job_def("daily_job")
    together = threading.Barrier(2)

    def run(session: str) -> bool:
        (folder := tmp_path / session).mkdir()
        with dagster_instance(database, folder) as instance:
            together.wait(timeout=60)
            return job.execute_in_process(
                instance=instance,
                tags=partition_range(f"{session}|AAPL", "2013-02-01|MSFT"),
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                raise_on_error=False,
            ).success

    with ThreadPoolExecutor(2) as pool:
        assert [*pool.map(run, ("2013-01-28", "2013-01-30"))] == [True, True]
    rows = conn.execute("select count(*), count(distinct (ticker, run_date)) from snapshot").fetchone()
    assert rows == (10, 10)
    assert [row[1:] for row in conn.execute(ATTEMPTS) if row[1] == "AAPL"] == [
        ("AAPL", num_attempts, True, None) for num_attempts in (1, 1, 2, 2, 2)
    ]
    report = verify(database, calendar)
    assert (report.num_events, report.discrepancies) == (10 + 3, ()), (
        "ten rows, two entries into service, a configuration"
    )
