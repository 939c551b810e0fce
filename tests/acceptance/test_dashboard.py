"""The dashboard in a real browser: pages, filters, a download, proofs, an empty database, and one that is away."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.resources import files
from pathlib import Path

import polars as pl
import pytest

from ldtm_cli.dashboard_process import start_dashboard, stop_dashboard
from ldtm_cli.services import prepare
from ldtm_lib.audit.proof import prove
from ldtm_lib.audit.sealing import create_seal
from ldtm_lib.database import embedded
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar
from tests.acceptance.browser import CHROMIUM, Tab, browser
from tests.acceptance.streamlit_lists import open_list, pick
from tests.databases import do_not_wait_for_the_disk, in_memory, server_home
from tests.integration.ledger_rows import LedgerRows
from tests.large_record import write_large_record

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed here"),
]
RUN_DATE = date(2013, 1, 11)
PAGES = {
    "": "Universe over time",
    "tonight": "▲ bullish",
    "ticker": "Verdicts of the gate",
    "models": "Coins that would pass",
    "record": "Verify a proof",
    "operations": "Needs attention",
}
"""Addresses of the pages, with words that each shows of a full record."""
DRAWN = "document.querySelector('[data-testid=\"stApp\"]')?.getAttribute('data-test-script-state') === 'notRunning'"
SERIOUS = """axe.run().then(found => JSON.stringify(found.violations
    .filter(each => ['serious', 'critical'].includes(each.impact))
    .map(each => [each.id, each.nodes[0].html.slice(0, 200)])))"""


@dataclass(frozen=True, slots=True)
class Served:
    """An installation with its dashboard, and a browser."""

    project: Project
    tab: Tab
    url: str

    def open(self, page: str, *words: str) -> None:
        self.tab.open(f"{self.url}/{page}")
        self.wait(*words)

    def wait(self, *words: str) -> None:
        for said in words:
            self.tab.wait_for(f"document.body.innerText.includes({json.dumps(said)})")
        self.tab.wait_for(DRAWN)

    def choose(self, label: str, option: str) -> None:
        """Pick an option of a drop-down list."""
        open_list(self.tab, label)
        pick(self.tab, option)

    def upload(self, path: Path) -> None:
        self.tab.wait_for("!!document.querySelector('input[type=file]')")
        self.tab.call("DOM.getDocument")
        found = self.tab.call("Runtime.evaluate", expression="document.querySelector('input[type=file]')")
        self.tab.call("DOM.setFileInputFiles", files=[str(path)], objectId=found["result"]["objectId"])


@contextmanager
def served(tickers: tuple[str, ...], sections: str = "") -> Iterator[Served]:
    """A new installation on an embedded server, as `ldtm up` serves it."""
    with server_home(in_memory()) as folder, pytest.MonkeyPatch.context() as environment, browser() as tab:
        for variable in ("LDTM_DATABASE_URL", "LDTM_READER_URL", "LDTM_CONFIG"):
            environment.delenv(variable, raising=False)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        config = folder / "universe.toml"
        names = ", ".join(f'"{ticker}"' for ticker in tickers)
        config.write_text(f"tickers = [{names}]\n[dashboard]\non = true\nport = {port}\n{sections}")
        project, _ = prepare(config)
        do_not_wait_for_the_disk(project.database.url)
        try:
            running = start_dashboard(project)
            assert start_dashboard(project).pid == running.pid, "it runs already"
            yield Served(project, tab, running.address)
        finally:
            stop_dashboard(project.home)
            embedded.stop(project.home)


@pytest.fixture(scope="module")
def small() -> Iterator[Served]:
    with served(("AAPL", "MSFT")) as found:
        yield found


@pytest.fixture(scope="module")
def large(calendar: Calendar) -> Iterator[Served]:
    """103 tickers over three years; T004 left."""
    tickers = tuple(f"T{number:03d}" for number in range(103))
    with served(tickers, "[retired]\nT004 = 2026-06-01\n") as found:
        with found.project.database.connect() as conn:
            write_large_record(conn, calendar, calendar.last_closed(datetime.now(UTC)))
        yield found


def test_an_empty_database_is_served_and_a_new_row_appears_by_itself(small: Served, calendar: Calendar) -> None:
    small.open("tonight", "No forecast is on record.", "ldtm bootstrap")
    with small.project.database.transaction() as conn:
        LedgerRows(conn, calendar).forecast("AAPL", RUN_DATE)
    started = time.monotonic()
    small.wait("Forecasts of 2013-01-11, simulation 1", "none of them counts as live")
    assert "in time." not in small.tab.text(), "a simulated row was never made in time"
    assert time.monotonic() - started < 60
    assert small.tab.failures() == [] or all("/tonight/_stcore/" in url for _, url in small.tab.failures())


def test_a_proof_is_verified_and_an_altered_one_is_not(small: Served, calendar: Calendar, tmp_path: Path) -> None:
    with small.project.database.transaction() as conn:
        LedgerRows(conn, calendar).forecast("MSFT", RUN_DATE)
        create_seal(conn)
    with small.project.database.transaction() as conn:
        document = json.dumps(prove(conn, "MSFT", RUN_DATE, simulation_id=1).document)
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(document)
    bad.write_text(document.replace('"next_day_pred": 101.0', '"next_day_pred": 101.5'))
    small.open("record", "Verify a proof")
    small.upload(good)
    small.wait("✓ proven: MSFT on 2013-01-11, 1 event in 1 seal of this record")
    small.open("record", "Verify a proof")
    small.upload(bad)
    small.wait("✗ not proven: the forecast with number")


def test_a_database_that_is_away_is_said_and_found_again(small: Served) -> None:
    small.open("tonight", "Forecasts of 2013-01-11")
    embedded.stop(small.project.home)
    small.open("tonight", "The dashboard cannot show this page", "start the server (ldtm up starts the embedded one)")
    assert "Traceback" not in small.tab.text()
    embedded.start(small.project.home)
    small.wait("Forecasts of 2013-01-11")


def test_every_page_of_103_tickers_over_three_years(large: Served) -> None:
    axe = files("axe_core_python").joinpath("axe.min.js").read_text()
    for page, words in PAGES.items():
        large.open(page, words)
        assert "Traceback" not in large.tab.text(), page
        assert "cannot show this page" not in large.tab.text(), page
        for width in (1400, 420):
            large.tab.call(
                "Emulation.setDeviceMetricsOverride", width=width, height=1000, deviceScaleFactor=1, mobile=width < 500
            )
            overflow = large.tab.js("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert overflow <= 0, f"{page} is wider than a screen of {width} pixels"
        large.tab.call("Emulation.clearDeviceMetricsOverride")
        large.tab.js(f"{axe}; 0")
        assert json.loads(large.tab.js(SERIOUS)) == [], f"serious faults of accessibility: {page}"


def test_filters_change_the_board_and_a_download_has_every_ticker(large: Served, tmp_path: Path) -> None:
    large.open("", "2,760 filled forecasts")
    large.choose("Window", "252 filled sessions")
    large.wait("23,184 filled forecasts")
    large.choose("Rows", "late")
    large.wait("No forecast has been filled yet (late, all versions)")
    large.choose("Rows", "live")
    large.wait("23,184 filled forecasts")
    large.tab.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    large.tab.js(
        "[...document.querySelectorAll('button')].find(each => each.innerText.includes('Download CSV')).click()"
    )
    file = tmp_path / "ldtm_leaderboard_live_252.csv"
    deadline = time.monotonic() + 30
    while not file.exists():
        assert time.monotonic() < deadline, [path.name for path in tmp_path.iterdir()]
        time.sleep(0.1)
    board = pl.read_csv(file)
    assert board.height == 103
    assert {"accuracy_low", "accuracy_high", "next_day_no_change_error", "rank_low"} <= set(board.columns)


def test_a_ticker_that_left_keeps_its_page(large: Served) -> None:
    large.open("ticker?ticker=T004", "T004 left the universe on 2026-06-01. Its history stays on record.")
    large.choose("Span", "3 years")
    large.wait("Prices and next day forecasts")


def test_a_page_of_another_site_gets_nothing(large: Served) -> None:
    """Pages read by a websocket, which is refused to other origins; uploads need the token of the session."""
    opened = large.tab.js(
        f"""new Promise(done => {{
            const socket = new WebSocket({json.dumps(large.url.replace("http", "ws"))} + '/_stcore/stream');
            socket.onopen = () => done('open'); socket.onerror = () => done('refused');
        }})"""
    )
    assert opened == "open", "the page's own"
    large.tab.call("Page.navigate", url="data:text/html,<p>another site</p>")
    time.sleep(0.5)
    refused = large.tab.js(
        f"""new Promise(done => {{
            const socket = new WebSocket({json.dumps(large.url.replace("http", "ws"))} + '/_stcore/stream');
            socket.onopen = () => done('open'); socket.onerror = () => done('refused');
        }})"""
    )
    assert refused == "refused"
