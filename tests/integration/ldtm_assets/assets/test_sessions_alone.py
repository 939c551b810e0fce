"""Daily runs whose partitions are sessions alone: the same tables as by date and ticker, and no ticker hidden."""

from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import polars as pl
from bokeh_sampledata import stocks

from ldtm_assets.automation.run_requests import run_request
from ldtm_assets.partitions import DAILY_ASSETS, partition_range
from ldtm_lib.daily_run.backlog import BacklogItem
from ldtm_lib.database.connection import Connection
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import PartitionConfig, Settings
from tests.integration.ldtm_assets.daily_runs import DailyRun

DAY = "2013-02-01"
SIMULATED_ROWS = """
select simulation_id, run_date::text, ticker, kind, direction_pred, abstained_reason, run_date_close, next_day_actual
from snapshot order by simulation_id, run_date, ticker
"""


def _metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, dict[str, dg.MetadataValue]]:
    """By partition."""
    return {
        str(event.partition): dict(event.materialization.metadata)
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(asset)
    }


def _table(metadata: dict[str, dg.MetadataValue]) -> dict[str, dict[str, object]]:
    found = metadata["by ticker"]
    assert isinstance(found, dg.TableMetadataValue)
    return {str(record.data["ticker"]): dict(record.data) for record in found.records}


def _write_bars(folder: Path, *tickers: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for ticker in tickers:
        bars = pl.DataFrame({name: values for name, values in getattr(stocks, ticker).items() if name != "adj_close"})
        bars.filter(pl.col("date").is_between(pl.lit("2012-01-01"), pl.lit("2013-02-20"))).write_csv(
            folder / f"{ticker}.csv"
        )


def test_a_session_is_one_partition_with_its_tickers_in_a_table(daily_run: DailyRun) -> None:
    result = daily_run(DAY, until="2013-02-05", by="date")
    assert result.success
    for asset in DAILY_ASSETS:
        found = _metadata(result, asset)
        assert sorted(found) == ["2013-02-01", "2013-02-04", "2013-02-05"]
        for metadata in found.values():
            assert metadata["tickers"] == dg.MetadataValue.int(2)
            assert metadata["failed"] == dg.MetadataValue.int(0)
            assert list(_table(metadata)) == ["AAPL", "MSFT"]
    closes = _table(_metadata(result, "prices")[DAY])
    assert closes["MSFT"]["close"] == "27.93"


def test_both_ways_write_the_same_rows(daily_run: DailyRun, conn: Connection) -> None:
    for by in ("date", "date_and_ticker"):
        assert daily_run(DAY, until="2013-02-06", by=by, simulated=True).success
    rows = conn.execute(SIMULATED_ROWS).fetchall()
    (first, second) = sorted({row[0] for row in rows})
    assert [row[1:] for row in rows if row[0] == first] == [row[1:] for row in rows if row[0] == second]
    assert len(rows) == 2 * 2 * 4


def test_a_ticker_without_a_bar_fails_by_name_beside_the_others(daily_run: DailyRun, tmp_path: Path) -> None:
    _write_bars(tmp_path / "data" / "bars", "AAPL")
    result = daily_run(DAY, source="files", by="date")
    assert not result.success
    (reason,) = [event.step_failure_data.error_display_string for event in result.get_step_failure_events()]
    assert "2013-02-01|MSFT (prices): " in reason
    bars = _metadata(result, "prices")[DAY]
    assert (bars["tickers"], bars["failed"]) == (dg.MetadataValue.int(1), dg.MetadataValue.int(1))
    assert str(bars["reasons"].value).startswith("- MSFT: ")
    rows = _table(_metadata(result, "snapshots")[DAY])
    assert rows.keys() == {"AAPL", "MSFT"}  # long after the open the ticker abstains


def test_a_session_of_which_nothing_is_done_is_not_materialized(daily_run: DailyRun) -> None:
    result = daily_run(DAY, source="files", by="date")
    assert not result.success
    assert _metadata(result, "prices") == {}
    assert _metadata(result, "snapshots").keys() == {DAY}


def test_a_retry_of_some_tickers_names_them_and_leaves_the_others(daily_run: DailyRun, conn: Connection) -> None:
    result = daily_run(DAY, by="date", only=["MSFT"])
    assert result.success
    assert _table(_metadata(result, "snapshots")[DAY]).keys() == {"MSFT"}
    assert conn.execute("select ticker from snapshot").fetchall() == [("MSFT",)]
    assert conn.execute("select ticker, done_at is not null from daily_attempt").fetchall() == [("MSFT", True)]


def test_retired_tickers_are_counted_and_take_no_row_of_the_table(daily_run: DailyRun) -> None:
    result = daily_run(DAY, by="date", more="[retired]\nMSFT = 2013-01-10")
    assert result.success
    metadata = _metadata(result, "snapshots")[DAY]
    assert metadata["left the universe"] == dg.MetadataValue.text("1")
    assert _table(metadata).keys() == {"AAPL"}


def test_the_backlog_asks_for_sessions_and_names_tickers_only_where_some_are_missing(
    settings: Settings, calendar: Calendar
) -> None:
    by_date = settings.replace(partitions=PartitionConfig(by="date", first_session=date(2013, 1, 2)))
    moment, days = datetime(2013, 2, 5, 12, tzinfo=UTC), (date(2013, 2, 1), date(2013, 2, 4))
    whole = run_request(BacklogItem(sessions=days, tickers=by_date.tickers), by_date, calendar, moment)
    assert partition_range("2013-02-01", "2013-02-04").items() <= whole.tags.items()
    assert whole.run_config == {}
    some = run_request(BacklogItem(sessions=days[:1], tickers=by_date.tickers[:1]), by_date, calendar, moment)
    assert partition_range("2013-02-01", "2013-02-01").items() <= some.tags.items()
    assert some.run_config == {"ops": {"daily_forecast": {"config": {"only": [by_date.tickers[0]]}}}}
