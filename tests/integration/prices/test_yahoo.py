"""Downloads of the real package yfinance from a service of the tests that answers as Yahoo does."""

import json
import os
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from importlib.util import find_spec
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from ldtm_lib.errors import ConfigurationError, LdtmError, MissingBar, SourceError
from ldtm_lib.prices.sources import yahoo
from ldtm_lib.prices.sources.open import open_source
from ldtm_lib.prices.sources.yahoo import YahooSource, load_yfinance
from ldtm_lib.prices.splits import Split
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings, SourceConfig
from tests.integration.prices.url.fetching import EVENING, FIRST, LAST, SESSIONS
from tests.integration.prices.url.web_service import Received, Reply, WebService, serving

needs_yfinance = pytest.mark.skipif(
    find_spec("yfinance") is None, reason="yfinance is not installed here: pip install 'ldtm[yfinance]'"
)
NEW_YORK = ZoneInfo("America/New_York")
OPEN = [10.0, 11.0, 12.0, 13.0, 14.0]
CLOSE = [10.5, 11.5, 12.5, 13.5, 14.5]
CHART = "v8/finance/chart/"


def chart(symbol: str, closes: list[float | None], split_at: date | None = None) -> Callable[[Received], Reply]:
    """Yahoo's chart of one symbol over a week: prices adjusted for splits, and the close adjusted for dividends."""
    opens_at = [int(datetime(day.year, day.month, day.day, 9, 30, tzinfo=NEW_YORK).timestamp()) for day in SESSIONS]
    splits = {
        str(at): {"date": at, "numerator": 2.0, "denominator": 1.0, "splitRatio": "2:1"}
        for at, day in zip(opens_at, SESSIONS, strict=True)
        if day == split_at
    }
    quote = {
        "open": [None if close is None else price for price, close in zip(OPEN, closes, strict=True)],
        "high": [None if close is None else close + 1 for close in closes],
        "low": [None if close is None else close - 2 for close in closes],
        "close": closes,
        "volume": [None if close is None else 1000 + n for n, close in enumerate(closes)],
    }
    meta = {
        "currency": "USD",
        "symbol": symbol,
        "exchangeName": "NMS",
        "instrumentType": "EQUITY",
        "firstTradeDate": 345479400,
        "regularMarketTime": opens_at[-1] + 23_400,
        "gmtoffset": -18000,
        "timezone": "EST",
        "exchangeTimezoneName": "America/New_York",
        "regularMarketPrice": closes[-1],
        "priceHint": 2,
        "dataGranularity": "1d",
        "range": "",
        "validRanges": ["1d", "5d", "max"],
    }
    result = {
        "meta": meta,
        "timestamp": opens_at,
        "events": {"splits": splits} if splits else {},
        "indicators": {
            "quote": [quote],
            "adjclose": [{"adjclose": [None if close is None else close * 0.97 for close in closes]}],
        },
    }
    body = json.dumps({"chart": {"result": [result], "error": None}}).encode()
    return lambda request: Reply(body=body, headers={"Content-Type": "application/json"})


UNKNOWN = Reply(
    status=404,
    body=json.dumps(
        {
            "chart": {
                "result": None,
                "error": {"code": "Not Found", "description": "No data found, symbol may be delisted"},
            }
        }
    ).encode(),
)


@pytest.fixture
def yahoo_service(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebService]:
    """A service that yfinance takes for Yahoo's; no cookie and crumb are asked for."""
    with serving() as service:
        monkeypatch.setattr("yfinance.base._tz_info_fetch_ctr", 2)  # a time zone is not looked up in another way
        for module in ("base", "scrapers.history"):
            monkeypatch.setattr(f"yfinance.{module}._BASE_URL_", service.url)
        data = load_yfinance().data.YfData
        monkeypatch.setattr(data, "_get_cookie_and_crumb", lambda *_, **__: (None, "basic"))
        data.cache_get.cache_clear()
        service.replies = {
            f"{CHART}AAPL": chart("AAPL", list(CLOSE), SESSIONS[2]),
            f"{CHART}BRK-B": chart("BRK-B", [None, *CLOSE[1:]]),
            f"{CHART}GONE": UNKNOWN,
        }
        yield service


@pytest.fixture
def source(tmp_path: Path, calendar: Calendar) -> YahooSource:
    folder = tmp_path / "yfinance"
    return YahooSource(symbols={"BRK.B": "brk-b"}, calendar=calendar, moment=EVENING, cache_folder=folder)


@needs_yfinance
@pytest.mark.usefixtures("yahoo_service")
def test_several_tickers_are_read_from_one_download(source: YahooSource, tmp_path: Path) -> None:
    delivery = source.fetch(["BRK.B", "AAPL", "GONE"], FIRST, LAST)
    apple = delivery.bars.filter(ticker="AAPL")
    assert apple.rows() == [
        ("AAPL", day, OPEN[n], CLOSE[n] + 1, CLOSE[n] - 2, CLOSE[n], 1000.0 + n) for n, day in enumerate(SESSIONS)
    ], "the close that is adjusted for dividends is not read"
    assert delivery.bars.filter(ticker="BRK.B")["session"].to_list() == SESSIONS[1:], "no bar, no value"
    assert delivery.splits == (Split(ticker="AAPL", session=SESSIONS[2], ratio=2.0),)
    assert delivery.basis == {"AAPL": LAST, "BRK.B": LAST}
    assert list(delivery.failures) == ["GONE"]
    assert isinstance(delivery.failures["GONE"], SourceError)
    assert str(delivery.failures["GONE"]).startswith("GONE: yfinance reports '")
    assert "write Yahoo's own spelling under [symbols]" in str(delivery.failures["GONE"])
    assert (tmp_path / "yfinance").is_dir(), "yfinance keeps its files in the installation's folder"


@needs_yfinance
@pytest.mark.usefixtures("yahoo_service")
def test_only_sessions_of_the_range_that_have_closed_are_delivered(tmp_path: Path, calendar: Calendar) -> None:
    noon = datetime(2026, 11, 20, 17, 0, tzinfo=UTC)
    source = YahooSource(symbols={}, calendar=calendar, moment=noon, cache_folder=tmp_path / "yfinance")
    delivery = source.fetch(["AAPL"], SESSIONS[1], LAST)
    assert delivery.bars["session"].to_list() == SESSIONS[1:4]
    assert delivery.basis == {"AAPL": SESSIONS[3]}


@needs_yfinance
def test_a_download_without_any_bar_fails_every_ticker(yahoo_service: WebService, source: YahooSource) -> None:
    yahoo_service.replies = {f"{CHART}GONE": UNKNOWN, f"{CHART}AWAY": chart("AWAY", [None] * 5)}
    delivery = source.fetch(["GONE", "AWAY"], FIRST, LAST)
    assert delivery.bars.is_empty()
    assert set(delivery.failures) == {"GONE", "AWAY"}
    assert all(isinstance(error, (SourceError, MissingBar)) for error in delivery.failures.values())


@needs_yfinance
def test_a_limit_of_yahoo_is_named(yahoo_service: WebService, source: YahooSource) -> None:
    yahoo_service.replies = {f"{CHART}AAPL": Reply(status=429, body=b"Too Many Requests")}
    (error,) = source.fetch(["AAPL"], FIRST, LAST).failures.values()
    assert str(error) == "AAPL: Yahoo reports too many requests; try again in an hour"


def test_a_missing_package_is_reported_with_the_extra(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yahoo, "find_spec", lambda name: None)
    source = open_source(settings.replace(source=SourceConfig(kind="yfinance")), {}, EVENING)
    with pytest.raises(
        ConfigurationError, match=r"yfinance is not installed; run .*yfinance>=1.7,<2.*ldtm\[yfinance\]"
    ):
        source.fetch(["AAPL"], FIRST, LAST)


@pytest.mark.nightly
@needs_yfinance
def test_yahoo_itself_delivers_a_known_split(tmp_path: Path, calendar: Calendar) -> None:
    try:
        socket.create_connection(("query2.finance.yahoo.com", 443), timeout=5).close()
    except OSError as error:
        pytest.skip(f"query2.finance.yahoo.com cannot be reached from here: {error}")
    source = YahooSource(
        symbols={}, calendar=calendar, moment=datetime.now(UTC), cache_folder=tmp_path / f"yfinance-{os.getpid()}"
    )
    delivery = source.fetch(["AAPL"], date(2020, 8, 24), date(2020, 9, 4))
    failures: dict[str, LdtmError] = dict(delivery.failures)
    assert failures == {}
    assert delivery.splits == (Split(ticker="AAPL", session=date(2020, 8, 31), ratio=4.0),)
    assert len(delivery.bars) == 10
