"""What an owner does in the Dagster pages, done through a real webserver and daemon: choose cells, wait, look."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from bokeh_sampledata import stocks

from ldtm_assets.assets.prices import load_histories
from ldtm_cli.services import prepare, start_dagster, stop_everything
from ldtm_lib.project import Project
from ldtm_lib.sessions import exchange_calendar
from tests.acceptance.dagster_ui import WORKSPACE, DagsterPages
from tests.conftest import server_home

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TICKERS = ("AAPL", "GOOG", "IBM", "MSFT")
FIRST, ONE_DAY, OTHER_DAY, HOLED_DAY = "2012-06-01", "2013-02-26", "2013-02-27", "2013-02-28"
CHAIN = ["prices", "features", "snapshots", "fillbacks"]
CONFIG = """
tickers = ["AAPL", "GOOG", "IBM", "MSFT"]
[source]
kind = "files"
folder = "bars"
basis = "adjusted"
[partitions]
first_session = 2013-02-01
last_session = 2013-03-01
"""


@dataclass(frozen=True, slots=True)
class Installation:
    project: Project
    folder: Path
    pages: DagsterPages

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with self.project.database.transaction() as conn:
            return conn.execute(query.encode()).fetchall()


def write_bars(folder: Path, ticker: str, without: str | None = None) -> None:
    """The real bars of a ticker as a CSV file, perhaps with a day missing."""
    bars = pl.DataFrame({name: values for name, values in getattr(stocks, ticker).items() if name != "adj_close"})
    kept = bars.filter((pl.col("date") >= FIRST) & (pl.col("date") != (without or "")))
    kept.write_csv(folder / f"{ticker}.csv")


@contextmanager
def installed_with_pages() -> Iterator[Installation]:
    """Webserver and daemon on an installation of its own: an embedded PostgreSQL, four tickers as CSV files."""
    with server_home() as folder, pytest.MonkeyPatch.context() as environment:
        environment.delenv("LDTM_DATABASE_URL", raising=False)
        (folder / "bars").mkdir()
        for ticker in TICKERS:
            write_bars(folder / "bars", ticker, without=HOLED_DAY if ticker == "IBM" else None)
        config = folder / "universe.toml"
        config.write_text(CONFIG)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        project, _ = prepare(config)
        start_dagster(project, port)
        pages = DagsterPages(port)
        try:
            load_histories(project, exchange_calendar(), TICKERS, "2013-02-25")
            yield Installation(project, folder, pages)
        finally:
            stop_everything(config)


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    with installed_with_pages() as installed:
        yield installed


def test_the_code_location_loads_without_an_error(installation: Installation) -> None:
    entries = installation.pages.ask(WORKSPACE)["workspaceOrError"]["locationEntries"]
    assert [(e["name"], e["loadStatus"], e["locationOrLoadError"]["__typename"]) for e in entries] == [
        ("ldtm", "LOADED", "RepositoryLocation")
    ]


@pytest.fixture(scope="module")
def asked(installation: Installation) -> dict[str, str]:
    """Three requests at once, as three people would make them: some cells of one date, all cells of two others."""
    wanted = {ONE_DAY: ("AAPL", "MSFT"), OTHER_DAY: TICKERS, HOLED_DAY: TICKERS}
    return {
        day: installation.pages.launch(CHAIN, [f"{day}|{ticker}" for ticker in tickers])
        for day, tickers in wanted.items()
    }


def test_two_tickers_of_one_date_and_no_others(installation: Installation, asked: dict[str, str]) -> None:
    assert installation.pages.wait_for(asked[ONE_DAY]).status == "COMPLETED_SUCCESS"
    for asset in CHAIN:
        assert installation.pages.cells(asset, ONE_DAY) == ({"AAPL", "MSFT"}, set())
    rows = installation.rows(f"select ticker from snapshot where run_date = '{ONE_DAY}' order by ticker")
    assert rows == [("AAPL",), ("MSFT",)]


def test_all_tickers_of_a_date_are_one_run(installation: Installation, asked: dict[str, str]) -> None:
    assert installation.pages.wait_for(asked[OTHER_DAY]).runs == ["SUCCESS"]
    for asset in CHAIN:
        assert installation.pages.cells(asset, OTHER_DAY) == (set(TICKERS), set())


def test_a_ticker_without_a_bar_fails_alone_and_is_retried_alone(
    installation: Installation, asked: dict[str, str]
) -> None:
    assert installation.pages.wait_for(asked[HOLED_DAY]).runs == ["FAILURE"]
    assert installation.pages.cells("prices", HOLED_DAY) == (set(TICKERS) - {"IBM"}, {"IBM"})
    assert installation.pages.cells("snapshots", HOLED_DAY)[0] == set(TICKERS), "an abstention is on record, too"
    of_ibm = f"from current_input_window where ticker = 'IBM' and session = '{HOLED_DAY}'"
    assert installation.rows(f"select not_ready {of_ibm}") == [(f"has no bar for {HOLED_DAY}",)]

    write_bars(installation.folder / "bars", "IBM")
    retried = installation.pages.wait_for(installation.pages.launch(CHAIN, [f"{HOLED_DAY}|IBM"]))
    assert retried.runs == ["SUCCESS"]
    for asset in CHAIN:
        assert installation.pages.cells(asset, HOLED_DAY) == (set(TICKERS), set())
