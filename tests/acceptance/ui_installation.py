"""An installation of four tickers with Dagster's webserver and daemon."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from bokeh_sampledata import stocks

from ldtm_assets.assets.prices import load_histories
from ldtm_assets.ui_guard import ui_token
from ldtm_cli.dagster_process import stop
from ldtm_cli.services import prepare, start_dagster
from ldtm_lib.project import Project
from ldtm_lib.sessions import exchange_calendar
from tests.acceptance.dagster_ui import DagsterUi
from tests.databases import server_home
from tests.integration.ledger_rows import enter_service

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
by = "date_and_ticker"
"""


@dataclass(frozen=True, slots=True)
class UiInstallation:
    project: Project
    folder: Path
    ui: DagsterUi

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with self.project.database.transaction() as conn:
            return conn.execute(query.encode()).fetchall()


def write_bars(folder: Path, ticker: str, without: str | None = None) -> None:
    """The real bars of a ticker as a CSV file, perhaps with a day missing."""
    bars = pl.DataFrame({name: values for name, values in getattr(stocks, ticker).items() if name != "adj_close"})
    kept = bars.filter((pl.col("date") >= FIRST) & (pl.col("date") != (without or "")))
    kept.write_csv(folder / f"{ticker}.csv")


@contextmanager
def installed_with_ui(sections: str = "") -> Iterator[UiInstallation]:
    """Webserver and daemon on an installation of its own: an embedded PostgreSQL, four tickers in service as files."""
    with server_home() as folder, pytest.MonkeyPatch.context() as environment:
        environment.delenv("LDTM_DATABASE_URL", raising=False)
        (folder / "bars").mkdir()
        for ticker in TICKERS:
            write_bars(folder / "bars", ticker, without=HOLED_DAY if ticker == "IBM" else None)
        config = folder / "universe.toml"
        config.write_text(CONFIG + sections)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        project, _ = prepare(config)
        start_dagster(project, port)
        ui = DagsterUi(port, ui_token(project.home) if project.settings.ui.token else None)
        try:
            load_histories(project, exchange_calendar(), TICKERS, "2013-02-25")
            with project.database.transaction() as conn:
                for ticker in TICKERS:
                    enter_service(conn, ticker, date(2013, 1, 2))
            yield UiInstallation(project, folder, ui)
        finally:
            stop(project.home)
