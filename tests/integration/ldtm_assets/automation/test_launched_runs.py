"""From an item to its run and back to the tables: what a run was launched for is not due again at once."""

import itertools
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from ldtm_assets.automation.run_requests import run_request
from ldtm_assets.definitions import definitions_for
from ldtm_assets.partitions import requested_corners
from ldtm_lib.daily_run.backlog import due_at, next_backlog_item
from ldtm_lib.daily_run.pending_partitions import daily_run_start, pending_partitions
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import load_settings
from tests.integration.dagster_storage import dagster_instance
from tests.integration.ledger_rows import LedgerRows, enter_service

IS_THERE = ("in the universe", "left it")
TRIED = ("never", "in vain", "killed", "whole")
FORECAST = ("none", "open", "its bar came")
STATES = list(itertools.product(IS_THERE, TRIED, FORECAST))
TICKERS = {f"T{number:02}": state for number, state in enumerate(STATES)}
NUM_RUNS = 12
"""More than it takes: a run asks for tickers side by side."""


@pytest.fixture
def newest(conn: Connection, calendar: Calendar) -> date:
    """The newest session whose daily run may have started, with every ticker in its state."""
    session = calendar.last_closed(datetime.now(UTC))
    if daily_run_start(session) > datetime.now(UTC):
        session = calendar.offset(session, -1)
    rows, an_hour_ago = LedgerRows(conn, calendar), datetime.now(UTC) - timedelta(hours=1)
    for ticker, (_, tried, forecast) in TICKERS.items():
        enter_service(conn, ticker, session)
        if forecast != "none":
            rows.forecast(ticker, calendar.offset(session, -1), kind="late")
        if forecast == "its bar came":
            rows.bar(ticker, session, 100)
        if tried != "never":
            conn.execute(
                "insert into daily_attempt values (%s, %s, 4, %s, %s, %s, %s)",
                (
                    *(session, ticker, an_hour_ago, an_hour_ago - timedelta(days=2)),
                    *(an_hour_ago if tried == "whole" else None, "no bar" if tried == "in vain" else None),
                ),
            )
    conn.commit()
    return session


@pytest.mark.nightly
def test_after_a_requested_run_none_of_its_partitions_is_due_at_the_same_moment(
    newest: date,
    tmp_path: Path,
    database: Database,
    conn: Connection,
    calendar: Calendar,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever became of a ticker before, also one that failed and was taken out of the universe for it."""
    monkeypatch.setenv("LDTM_DATABASE_URL", database.url)
    (tmp_path / "bars").mkdir()
    config = tmp_path / "universe.toml"
    left = "\n".join(f"{ticker} = {newest}" for ticker, state in TICKERS.items() if state[0] == "left it")
    config.write_text(
        f"tickers = {list(TICKERS)}\n[retired]\n{left}\n[partitions]\nlast_session = {newest}\n"
        "[source]\nkind = 'files'\nfolder = 'bars'\nbasis = 'adjusted'"
    )
    settings = load_settings(config)
    job = definitions_for(settings, calendar).resolve_job_def("daily_job")
    moment, num_runs = datetime.now(UTC), 0

    def due() -> set[str]:
        found = pending_partitions(conn, settings, calendar, moment)
        conn.commit()
        return {partition.ticker for partition in found if due_at(partition, settings.automation) <= moment}

    assert {ticker for ticker, state in TICKERS.items() if state[:2] == ("in the universe", "never")} <= due()
    while due():
        partitions = pending_partitions(conn, settings, calendar, moment)
        item = next_backlog_item(partitions, calendar=calendar, moment=moment, config=settings.automation)
        conn.commit()
        assert item is not None
        asked = run_request(item, settings, calendar, moment)
        with dagster_instance(database, tmp_path) as instance:
            job.execute_in_process(
                instance=instance,
                tags=dict(asked.tags),
                run_config={**asked.run_config, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                raise_on_error=False,
            )
        corners = requested_corners(asked.tags, settings.tickers)
        assert corners is not None
        again = {ticker for ticker in due() if corners[0].ticker <= ticker <= corners[1].ticker}
        assert not again & set(item.tickers), {ticker: TICKERS[ticker] for ticker in again}
        num_runs += 1
        assert num_runs < NUM_RUNS
