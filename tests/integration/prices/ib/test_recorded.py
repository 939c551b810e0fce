"""Bars of IB in the store, and in a run of Dagster's: over a split, and when one ticker is refused."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from ldtm_assets.definitions import definitions_for
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.prices.ingest import ingest
from ldtm_lib.prices.stored_bars import current_bars
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import load_settings
from tests.integration.prices.ib.asking import WALKS, peer_of, source_of
from tests.integration.prices.ib.market import LaterSplit
from tests.integration.prices.ib.peer import TwsPeer
from tests.integration.prices.ib.reactions import Error

CONFIG = """
tickers = ["AAPL", "MSFT"]
[source]
kind = "ib"
[partitions]
first_session = 2013-01-02
last_session = 2013-03-01
"""
Run = Callable[[TwsPeer], dg.ExecuteInProcessResult]


def after_close(day: int) -> datetime:
    return datetime(2013, 2, day, 23, 15, tzinfo=UTC)


def test_a_split_of_later_is_noticed_and_every_stored_bar_is_on_one_basis(conn: Connection, calendar: Calendar) -> None:
    now = [after_close(20)]
    split = LaterSplit(symbol="AAPL", session=date(2013, 2, 21), ratio=2.0, applied_from=after_close(21))
    halved = pl.when((pl.col("ticker") == "AAPL") & (pl.col("session") >= split.session)).then(0.5).otherwise(1.0)
    traded = WALKS.with_columns(pl.col("open", "high", "low", "close") * halved)

    with peer_of(traded, clock=lambda: now[0], splits=[split]) as peer:
        first = source_of(peer, moment=now[0]).fetch(["AAPL"], date(2013, 1, 2), date(2013, 2, 20))
        ingest(conn, first, source="ib", calendar=calendar)
        now[0] = after_close(21)
        again = source_of(peer, moment=now[0]).fetch(["AAPL"], date(2013, 2, 13), date(2013, 2, 21))
        recorded = ingest(conn, again, source="ib", calendar=calendar)

    assert [(s.session, s.ratio) for s in recorded.splits] == [(split.session, 2.0)]
    closes = current_bars(conn, ["AAPL"], first=date(2013, 1, 2), last=date(2013, 2, 21))["close"]
    before = WALKS.filter(ticker="AAPL").filter(pl.col("session").is_between(date(2013, 1, 2), date(2013, 2, 21)))
    assert closes.to_list() == (before["close"] * 0.5).to_list()


def test_an_old_gap_is_filled_on_the_basis_of_today(conn: Connection, calendar: Calendar) -> None:
    split = LaterSplit(symbol="AAPL", session=date(2013, 2, 21), ratio=2.0, applied_from=after_close(21))
    halved = pl.when((pl.col("ticker") == "AAPL") & (pl.col("session") >= split.session)).then(0.5).otherwise(1.0)
    traded = WALKS.with_columns(pl.col("open", "high", "low", "close") * halved)
    with peer_of(traded, clock=lambda: after_close(28), splits=[split]) as peer:
        source = source_of(peer, moment=after_close(28))
        for first, last in ((date(2013, 2, 11), date(2013, 2, 28)), (date(2013, 1, 2), date(2013, 2, 8))):
            ingest(conn, source.fetch(["AAPL"], first, last), source="ib", calendar=calendar)
    closes = current_bars(conn, ["AAPL"], first=date(2013, 1, 2), last=date(2013, 2, 28))["close"]
    expected = WALKS.filter(ticker="AAPL").filter(pl.col("session").is_between(date(2013, 1, 2), date(2013, 2, 28)))
    assert closes.to_list() == (expected["close"] * 0.5).to_list()


@pytest.fixture
def histories(tmp_path: Path, database: Database, calendar: Calendar, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the histories of AAPL and MSFT from a peer, in this process."""
    monkeypatch.setenv("LDTM_DATABASE_URL", database.url)
    config = tmp_path / "universe.toml"
    config.write_text(CONFIG)

    def run(peer: TwsPeer) -> dg.ExecuteInProcessResult:
        monkeypatch.setenv("LDTM_IB_PORT", str(peer.port))
        job = definitions_for(load_settings(config), calendar).resolve_job_def("price_history_job")
        with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
            return job.execute_in_process(
                instance=instance,
                tags={"dagster/asset_partition_range_start": "AAPL", "dagster/asset_partition_range_end": "MSFT"},
                run_config={
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                    "ops": {"price_history": {"config": {"last_session": "2013-02-28"}}},
                },
                raise_on_error=False,
            )

    return run


def test_a_run_of_dagster_records_what_ib_has(histories: Run, conn: Connection) -> None:
    with peer_of(clock=lambda: datetime.now(UTC), identical_seconds=15.0) as peer:
        assert histories(peer).success
    counted = conn.execute("select ticker, count(*), max(session) from current_bar group by 1 order by 1").fetchall()
    sessions = WALKS.filter(ticker="AAPL").filter(pl.col("session") <= date(2013, 2, 28)).height
    assert counted == [("AAPL", sessions, date(2013, 2, 28)), ("MSFT", sessions, date(2013, 2, 28))]


def test_a_ticker_that_ib_refuses_fails_alone_and_the_run_says_why(histories: Run, conn: Connection) -> None:
    with peer_of(clock=lambda: datetime.now(UTC)) as peer:
        peer.script("AAPL", Error(354, "Requested market data is not subscribed."))
        result = histories(peer)
    assert not result.success
    reason = " ".join(event.step_failure_data.error_display_string for event in result.get_step_failure_events())
    assert "AAPL: IB says 354, 'Requested market data is not subscribed.'; subscribe to the market data" in reason
    assert conn.execute("select distinct ticker from current_bar").fetchall() == [("MSFT",)]
