"""Measure the dashboard on a record of 103 tickers over three years: time per view and in a browser, and memory.

Run on an idle machine: `python benchmarks/bench_dashboard.py`. The script starts an embedded PostgreSQL in a temporary
folder, the server of the dashboard, and Chromium if it is installed. Views are read cold, without the pages' cache.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.temporary_database import temporary_database
from ldtm_cli.dashboard_process import dashboard_fault
from ldtm_dashboard.frames import leaderboard, models, operations, record, ticker, tonight
from ldtm_dashboard.reading import READER_VARIABLE, Reader, open_reader, reading_environment
from ldtm_dashboard.server import server_command
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.privileges import create_reader, grant_reader_privileges
from ldtm_lib.ledger.simulations import LIVE
from ldtm_lib.sessions import exchange_calendar
from tests.acceptance.browser import CHROMIUM, Tab, browser
from tests.acceptance.streamlit_lists import open_list, pick
from tests.large_record import write_large_record

REPEATS = 5
READY = "document.querySelector('[data-testid=\"stApp\"]')?.getAttribute('data-test-script-state') === 'notRunning'"
PAGES = {
    "Tonight": "▲ bullish",
    "Ticker": "Verdicts of the gate",
    "Models": "Coins that would pass",
    "Record": "Verify a proof",
    "Operations": "Needs attention",
    "Leaderboard": "Universe over time",
}
FILTERS = (
    ("Leaderboard", "Window", "252 filled sessions", "23,184 filled forecasts"),
    ("Leaderboard", "Window", "90 filled sessions", "8,280 filled forecasts"),
    ("Leaderboard", "Rows", "late", "No late forecast"),
    ("Leaderboard", "Rows", "live", "8,280 filled forecasts"),
    ("Ticker", "Ticker", "T003", "T003 was promoted as"),
    ("Ticker", "Span", "1 year", "T003 was promoted as"),
    ("Ticker", "Horizon", "one month", "Prices and one month forecasts"),
)
"""A page, the label of one of its lists, an option, and text that the page shows once it is drawn."""
WATCH = """(() => {
    const app = document.querySelector('[data-testid="stApp"]');
    window.watched?.disconnect();
    window.runs = 0;
    window.clicked = window.changed = performance.now();
    window.watched = new MutationObserver(all => {
        window.changed = performance.now();
        for (const each of all)
            if (each.attributeName === 'data-test-script-state'
                && app.getAttribute('data-test-script-state') === 'notRunning') window.runs += 1;
    });
    window.watched.observe(app, {subtree: true, childList: true, characterData: true, attributes: true});
})()"""
"""Counts the finished runs of the page's program, and records when the page last changed."""
QUIET_MS = 700
"""A page that has not changed for this long counts as drawn."""


def main() -> None:
    calendar = exchange_calendar()
    with temporary_database("ldtm", calendar) as (database, home):
        with database.connect() as conn:
            started = time.perf_counter()
            written = write_large_record(conn, calendar, calendar.last_closed(datetime.now(UTC)))
            print(f"built {written.num_rows:,} rows in {time.perf_counter() - started:.0f} s")
            create_reader(conn, "ldtm_reader")
            grant_reader_privileges(conn, "ldtm_reader", dagster_schema="ldtm_dagster")
            conn.commit()
        config = home / "universe.toml"
        config.write_text(f"tickers = {json.dumps(list(written.tickers))}\n")
        url = database.url.replace("//postgres:@", "//ldtm_reader:@").replace("//postgres@", "//ldtm_reader@")
        measure_views(open_reader(config, {READER_VARIABLE: url}))
        measure_server(config, url)


def measure_views(reader: Reader) -> None:
    """Print the shortest and longest time of each view; each reading has a new connection and transaction."""
    views: dict[str, Callable[[Connection], object]] = {
        **{
            f"leaderboard, {number} sessions": lambda conn, number=number: leaderboard.board_view(
                conn, leaderboard.BoardFilter(num_sessions=number), {}
            )
            for number in leaderboard.WINDOWS
        },
        "universe, 3 years": lambda conn: leaderboard.universe_over_time(conn, LIVE, 756),
        "tonight": tonight.tonight,
        "ticker, 3 years": lambda conn: ticker.ticker_view(conn, "T007", LIVE, 1097),
        "models": models.models_frame,
        "record": lambda conn: record.record_view(conn, reader.project),
        "operations": lambda conn: operations.operations_view(conn, reader.project),
    }
    for name, read in views.items():
        times: list[float] = []
        for _ in range(REPEATS):
            started = time.perf_counter()
            with reader.view() as conn:
                read(conn)
            times.append(time.perf_counter() - started)
        print(f"{name}: {1000 * min(times):.0f} ms, at most {1000 * max(times):.0f} ms")


def measure_server(config: Path, url: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**reading_environment(config, url), "PYTHONPATH": str(Path(__file__).parents[1])}
    process = subprocess.Popen(server_command(port), env=environment, stdout=subprocess.DEVNULL, cwd=config.parent)
    try:
        started = time.perf_counter()
        while dashboard_fault(port):
            time.sleep(0.1)
        print(f"server answers after {time.perf_counter() - started:.1f} s")
        if CHROMIUM is None:
            print("Chromium is not installed: nothing is measured in a browser")
        else:
            with browser() as tab:
                measure_pages(tab, f"http://127.0.0.1:{port}")
        print(f"memory of the server: {resident_mib(process.pid):.0f} MiB")
    finally:
        process.kill()
        process.wait()


def measure_pages(tab: Tab, url: str) -> None:
    tab.call("Emulation.setDeviceMetricsOverride", width=1400, height=1000, deviceScaleFactor=1, mobile=False)
    for name in ("first visit, empty browser cache", "second visit", "third visit"):
        started = time.perf_counter()
        tab.call("Page.navigate", url=url)
        until(tab, "document.querySelector('[data-testid=\"stMetric\"]')", started)
        shown = time.perf_counter() - started
        until(
            tab,
            f'{READY} && document.querySelectorAll(\'[data-testid="stVegaLiteChart"] canvas, '
            '[data-testid="stVegaLiteChart"] svg\').length >= 2',
            started,
        )
        paint = tab.js("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0")
        print(
            f"{name}: first paint {paint:.0f} ms, figures {1000 * shown:.0f} ms, "
            f"charts {1000 * (time.perf_counter() - started):.0f} ms"
        )
    for turn in ("first", "again"):
        for page, words in PAGES.items():
            started = time.perf_counter()
            tab.js(f"[...document.querySelectorAll('a')].find(each => each.innerText.trim() === '{page}').click()")
            until(
                tab,
                f"document.querySelector('h1')?.innerText.startsWith('{page}') && {READY} && "
                f"document.body.innerText.includes({json.dumps(words)})",
                started,
            )
            print(f"click on {page}, {turn}: {1000 * (time.perf_counter() - started):.0f} ms")
    for page, label, option, words in FILTERS:
        tab.js(f"[...document.querySelectorAll('a')].find(each => each.innerText.trim() === '{page}').click()")
        until(
            tab,
            f"document.querySelector('h1')?.innerText.startsWith('{page}') && {READY}",
            time.perf_counter(),
        )
        open_list(tab, label)
        tab.js(WATCH)
        pick(tab, option)
        drawn = f"{READY} && window.runs > 0 && document.body.innerText.includes({json.dumps(words)})"
        quiet = f"performance.now() - window.changed > {QUIET_MS}"
        until(tab, f"{drawn} && {quiet}", time.perf_counter())
        print(f"{page}, {label} {option}: {tab.js('window.changed - window.clicked'):.0f} ms until the last change")


def until(tab: Tab, expression: str, started: float) -> None:
    while not tab.js(f"!!({expression})"):
        assert time.perf_counter() - started < 60, tab.text()[:500]
        time.sleep(0.01)


def resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
