"""`ldtm prices download` writes files that the source `files` reads back equal, and resumes after an interruption."""

import json
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ldtm_cli.commands.prices import print_download
from ldtm_lib.errors import SourceError
from ldtm_lib.prices.bars import BAR_SCHEMA
from ldtm_lib.prices.downloads import DownloadReport, download
from ldtm_lib.prices.sources.files import FilesSource
from ldtm_lib.prices.sources.protocol import Delivery
from ldtm_lib.prices.sources.sample import SampleSource
from tests.integration.ldtm_cli.kept_outputs import compare_at_all_widths
from tests.integration.ldtm_cli.shell import run_ldtm
from tests.integration.prices.url.fetching import CLOSES, CSV, FIRST, LAST
from tests.integration.prices.url.web_service import KEY, Reply, WebService, serving

CONFIG = """
tickers = ["^GSPC", "RDS/A", "BRK.B", "XYZ"]
[source]
kind = "url"
basis = "adjusted"
[url]
url = "{url}/{{ticker}}?apikey={{env:LDTM_PRICES_KEY}}"
"""
NO_DATABASE = "postgresql://nobody@127.0.0.1:1/none"


@pytest.fixture
def service() -> Iterator[WebService]:
    with serving() as running:
        running.replies = {name: Reply(body=CSV.encode()) for name in ("%5EGSPC", "RDS%2FA", "BRK.B")}
        yield running


def run(folder: Path, service: WebService, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "universe.toml").write_text(CONFIG.format(url=service.url))
    days = ("--first", FIRST.isoformat(), "--last", LAST.isoformat())
    return run_ldtm(folder, NO_DATABASE, "prices", "download", "--to", "bars", *days, *words, LDTM_PRICES_KEY=KEY)


def test_files_are_written_without_a_database_and_failures_named(service: WebService, tmp_path: Path) -> None:
    done = run(tmp_path, service, "--json")
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert report["num_bars"] == {"BRK.B": 5, "RDS/A": 5, "^GSPC": 5}
    assert list(report["failures"]) == ["XYZ"]
    assert "status 404" in report["failures"]["XYZ"]
    assert KEY not in done.stdout + done.stderr
    names = sorted(path.name for path in (tmp_path / "bars").glob("*.csv"))
    assert names == ["%5EGSPC.csv", "BRK.B.csv", "RDS%2FA.csv"]
    read = FilesSource(tmp_path / "bars", "adjusted").fetch(["^GSPC", "RDS/A", "BRK.B", "XYZ"], FIRST, LAST)
    assert list(read.failures) == ["XYZ"]
    for ticker in ("^GSPC", "RDS/A", "BRK.B"):
        assert tuple(read.bars.filter(ticker=ticker)["close"]) == CLOSES


def test_complete_files_are_fetched_again_only_when_asked(service: WebService, tmp_path: Path) -> None:
    asked = ("^GSPC", "BRK.B")
    assert run(tmp_path, service, *asked).returncode == 0
    again = run(tmp_path, service, *asked)
    assert again.returncode == 0
    assert "2 files were complete already" in again.stdout
    assert (service.num_requests("%5EGSPC"), service.num_requests("BRK.B")) == (1, 1)
    (tmp_path / "bars" / "BRK.B.csv").write_text("cut")
    run(tmp_path, service, *asked)
    assert (service.num_requests("%5EGSPC"), service.num_requests("BRK.B")) == (1, 2), "a damaged file is replaced"
    run(tmp_path, service, *asked, "--again")
    assert (service.num_requests("%5EGSPC"), service.num_requests("BRK.B")) == (2, 3)


def test_an_unknown_ticker_and_an_empty_range_are_refused(service: WebService, tmp_path: Path) -> None:
    unknown = run(tmp_path, service, "NOPE")
    assert unknown.returncode == 1
    assert "NOPE is not in the universe" in unknown.stderr
    future = run(tmp_path, service, "--first", "2999-01-01")
    assert future.returncode == 2
    assert "no session from 2999-01-01 to 2026-11-20 has closed; change --first or --last" in future.stderr
    assert service.received == []


def test_prices_of_the_sample_are_read_back_equal_to_the_last_digit(tmp_path: Path) -> None:
    first, last = date(2000, 3, 1), date(2013, 3, 1)
    tickers = ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
    source = SampleSource()
    report = download(source, tickers, tmp_path / "bars", origin="sample", first=first, last=last)
    delivered = source.fetch(tickers, first, last).bars
    read = FilesSource(tmp_path / "bars", "adjusted").fetch(tickers, first, last).bars
    assert_frame_equal(read, delivered, check_exact=True)
    assert sum(report.num_bars.values()) == len(delivered)


class Random:
    """A source of random numbers with all of their digits, which may be interrupted."""

    name = "random"
    tickers_per_fetch = 100

    def __init__(self, fails_after: int) -> None:
        self.num_fetches = 0
        self.fails_after = fails_after

    def fetch(self, tickers: list[str], first: date, last: date) -> Delivery:
        if self.num_fetches == self.fails_after:
            raise KeyboardInterrupt
        self.num_fetches += 1
        values = np.exp(np.random.default_rng(1).normal(0, 30, (len(tickers), 5)))
        rows = [(ticker, first, *row) for ticker, row in zip(tickers, values.tolist(), strict=True)]
        return Delivery(bars=pl.DataFrame(rows, schema=BAR_SCHEMA, orient="row"))


def test_an_interrupted_download_goes_on_where_it_ended(tmp_path: Path) -> None:
    tickers = [f"T{n}" for n in range(25)]
    folder, day = tmp_path / "bars", date(2020, 1, 2)
    with pytest.raises(KeyboardInterrupt):
        download(Random(1), tickers, folder, origin="random", first=day, last=day)  # pyright: ignore[reportArgumentType]
    assert len(list(folder.glob("*.csv"))) == 10
    source = Random(9)
    report = download(source, tickers, folder, origin="random", first=day, last=day)  # pyright: ignore[reportArgumentType]
    assert (len(report.complete), len(report.num_bars), source.num_fetches) == (10, 15, 2)
    whole = Random(9).fetch(tickers[10:20], day, day).bars
    assert_frame_equal(FilesSource(folder, "adjusted").fetch(tickers[10:20], day, day).bars, whole, check_exact=True)
    other = download(Random(9), tickers, folder, origin="another", first=day, last=day)  # pyright: ignore[reportArgumentType]
    assert other.complete == [], "files of another source are not taken for its own"


def test_the_result_of_a_download_is_printed() -> None:
    report = DownloadReport(
        num_bars={"AAPL": 3270, "FB": 1},
        complete=["IBM"],
        notes=["MSFT: 2 of 3270 bars have no volume"],
        failures={"XYZ": "the web service answers with the status 404 Not Found; check the ticker"},
    )
    unwrapped = "note|failed|To use|To import"
    compare_at_all_widths(
        "prices-download", lambda console: print_download(console, report, Path("data/bars")), unwrapped=unwrapped
    )


def test_a_folder_that_takes_no_files_is_reported(tmp_path: Path) -> None:
    (tmp_path / "bars").write_text("a file in its place")
    day = date(2012, 6, 1)
    with pytest.raises(SourceError, match=r"bars cannot be written to .*choose another folder"):
        download(SampleSource(), ["IBM"], tmp_path / "bars", origin="sample", first=day, last=day)
