"""Answers of many shapes are read alike: CSV and JSON, dates and epochs, adjusted and raw."""

import json
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from ldtm_lib.errors import ConfigurationError, MissingBar
from ldtm_lib.prices.bars import BAR_COLUMNS
from ldtm_lib.prices.sources.url.secrets import read_secrets
from ldtm_lib.prices.splits import Split
from ldtm_lib.settings import UrlConfig
from tests.integration.prices.url.fetching import CLOSES, CSV, FIRST, LAST, SESSIONS, VARIABLE, closes, fetch, source_of
from tests.integration.prices.url.web_service import Reply, WebService

BARS = [
    (day, close, close + 1, close - 1, close, 1000.0 + n)
    for n, (day, close) in enumerate(zip(SESSIONS, CLOSES, strict=True))
]
MIDNIGHT_IN_NEW_YORK = 1_794_805_200_000
"""2026-11-16 00:00 in New York (UTC-5), in milliseconds since 1970."""
DAY = 86_400_000


def rows(delivery_bars: pl.DataFrame) -> list[tuple[object, ...]]:
    return delivery_bars.select(BAR_COLUMNS[1:]).rows()


def test_a_list_of_objects_with_epochs_is_read(service: WebService, tmp_path: Path) -> None:
    results = [
        {"t": MIDNIGHT_IN_NEW_YORK + n * DAY, "o": o, "h": h, "l": low, "c": c, "v": v, "n": 12, "vw": None}
        for n, (_, o, h, low, c, v) in enumerate(BARS)
    ]
    service.replies["AAPL"] = Reply(body=json.dumps({"status": "OK", "results": results}).encode())
    columns = {"date": "t"}
    delivery = fetch(service, tmp_path, format="json", records="results", columns=columns)
    assert rows(delivery.bars) == BARS


@pytest.mark.parametrize(("first", "unit"), [(date(2001, 9, 7), 1000), (date(2001, 9, 7), 1), (date(1985, 1, 2), 1)])
def test_epochs_around_the_second_with_ten_digits_are_read(
    service: WebService, tmp_path: Path, first: date, unit: int
) -> None:
    seconds = (first - date(1970, 1, 1)).days * 86_400
    bars = [[(seconds + n * 86_400) * unit, 2, 3, 1, 2, 5] for n in (0, 3)]
    text = "time,open,high,low,close,volume\n" + "\n".join(",".join(map(str, bar)) for bar in bars)
    service.replies["AAPL"] = Reply(body=text.encode())
    delivery = source_of(service, tmp_path).fetch(["AAPL"], first, date(2001, 12, 31))
    assert [(day - first).days for day in delivery.bars["session"]] == [0, 3]


def test_an_object_with_one_bar_per_date_is_read(service: WebService, tmp_path: Path) -> None:
    names = ("1. open", "2. high", "3. low", "4. close", "5. volume")
    series = {day.isoformat(): dict(zip(names, map(str, values), strict=True)) for day, *values in reversed(BARS)}
    body = {"Meta Data": {"2. Symbol": "AAPL"}, "Time Series (Daily)": series}
    service.replies["AAPL"] = Reply(body=json.dumps(body).encode())
    assert rows(fetch(service, tmp_path, format="json", records="Time Series (Daily)").bars) == BARS


def test_a_place_may_lead_through_lists_and_objects(service: WebService, tmp_path: Path) -> None:
    names = ("date", "open", "high", "low", "close", "volume")
    bars = [dict(zip(names, map(str, bar), strict=True)) for bar in BARS]
    service.replies["AAPL"] = Reply(body=json.dumps({"data": [{"prices": bars}]}).encode())
    assert rows(fetch(service, tmp_path, format="json", records="data.0.prices").bars) == BARS


def test_columns_and_dates_of_another_language_are_read_as_the_settings_say(
    service: WebService, tmp_path: Path
) -> None:
    text = "Dzień;Otw;Max;Min;Kurs;Obrót\n" + "\n".join(
        ";".join([f"{day:%d/%m/%Y}", *(f"{value:.4f}".replace(".", ",") for value in values)]) for day, *values in BARS
    )
    service.replies["AAPL"] = Reply(body=text.encode())
    columns = {"date": "Dzień", "open": "Otw", "high": "Max", "low": "Min", "close": "Kurs", "volume": "Obrót"}
    assert rows(fetch(service, tmp_path, columns=columns, date_format="%d/%m/%Y").bars) == BARS


def test_a_named_column_counts_even_where_another_has_a_known_name(service: WebService, tmp_path: Path) -> None:
    text = "Date,Open,High,Low,Close,Volume,Shares\n2026-11-20,2,3,1,2,5,500\n"
    service.replies["AAPL"] = Reply(body=text.encode())
    assert fetch(service, tmp_path, columns={"volume": "Shares"}).bars["volume"].to_list() == [500.0]
    (error,) = fetch(service, tmp_path, columns={"volume": "Turnover"}).failures.values()
    assert "has no column for volume; compare [url]" in str(error)


def test_another_name_of_the_ticker_inside_of_the_answer_does_not_matter(service: WebService, tmp_path: Path) -> None:
    lines = CSV.splitlines()
    named = "\n".join([f"Symbol,{lines[0]}", *(f"brk-b.us,{line}" for line in lines[1:])])
    service.replies["brk-b.us"] = Reply(body=named.encode())
    delivery = fetch(service, tmp_path, ["BRK.B"], symbols={"BRK.B": "brk-b.us"})
    assert set(delivery.bars["ticker"]) == {"BRK.B"}
    assert closes(delivery, "BRK.B") == CLOSES


@pytest.mark.parametrize(
    ("ticker", "path"), [("^GSPC", "/%5EGSPC"), ("RDS/A", "/RDS%2FA"), ("EURUSD=X", "/EURUSD%3DX"), ("BRK.B", "/BRK.B")]
)
def test_a_ticker_is_quoted_in_the_address(service: WebService, tmp_path: Path, ticker: str, path: str) -> None:
    service.replies[path.removeprefix("/")] = Reply(body=CSV.encode())
    assert closes(fetch(service, tmp_path, [ticker], num_attempts=1), ticker) == CLOSES
    assert [request.path for request in service.received] == [path]


def test_dates_are_written_as_the_address_asks(service: WebService, tmp_path: Path) -> None:
    fetch(service, tmp_path, query="?d1={first:%Y%m%d}&to={last}")
    assert service.received[0].path == "/AAPL?d1=20261116&to=2026-11-20"


def test_bars_outside_of_the_range_and_of_the_session_that_trades_are_left_out(
    service: WebService, tmp_path: Path
) -> None:
    source = source_of(service, tmp_path)
    assert source.fetch(["AAPL"], SESSIONS[1], SESSIONS[3]).bars["session"].to_list() == SESSIONS[1:4]
    service.replies["AAPL"] = Reply(body=f"{CSV}2026-11-23,1,2,1,1,5\n".encode())
    assert source.fetch(["AAPL"], FIRST, date(2026, 11, 24)).bars["session"].to_list() == SESSIONS
    none = source.fetch(["AAPL"], date(2026, 10, 1), date(2026, 10, 2)).failures["AAPL"]
    assert isinstance(none, MissingBar)
    assert "has no bar of AAPL from 2026-10-01 to 2026-10-02, only from 2026-11-16 to 2026-11-23" in str(none)


def test_raw_bars_are_adjusted_by_their_adjusted_close(service: WebService, tmp_path: Path) -> None:
    raw = [200.0, 203.0, 99.25, 102.0, 103.125]
    text = "date,open,high,low,close,volume,adjClose\n" + "\n".join(
        f"{day},{price},{price},{price},{price},100,{close * 0.99}"
        for day, price, close in zip(SESSIONS, raw, CLOSES, strict=True)
    )
    service.replies["AAPL"] = Reply(body=text.encode())
    delivery = fetch(service, tmp_path, basis="raw")
    assert delivery.splits == (Split(ticker="AAPL", session=SESSIONS[2], ratio=2.0),)
    assert closes(delivery) == CLOSES
    assert delivery.bars["volume"].to_list() == [200.0, 200.0, 100.0, 100.0, 100.0]
    assert delivery.basis == {"AAPL": LAST}


def test_raw_bars_without_an_adjusted_close_take_declared_splits(service: WebService, tmp_path: Path) -> None:
    unknown = fetch(service, tmp_path, basis="raw")
    assert "AAPL: raw bars without an adjusted close" in unknown.notes[0]
    assert (unknown.basis, unknown.splits_from) == ({"AAPL": date.min}, {}), "splits on record are applied to them"
    (tmp_path / "bars").mkdir()
    (tmp_path / "bars" / "splits.csv").write_text("ticker,session,ratio\nAAPL,2026-11-18,5:4\nMSFT,nonsense,2\n")
    delivery = fetch(service, tmp_path, ["AAPL", "MSFT"], basis="raw")
    assert closes(delivery)[:3] == (CLOSES[0] / 1.25, CLOSES[1] / 1.25, CLOSES[2])
    assert delivery.splits_from == {"AAPL": date.min}, "the file has all of them"
    assert "splits.csv, line 3 is not a split" in str(delivery.failures["MSFT"])


def test_missing_variables_are_named_all_at_once() -> None:
    config = UrlConfig(url="https://prices.example.org/{ticker}?key={env:LDTM_A_KEY}", headers={"X-Key": "LDTM_B_KEY"})
    with pytest.raises(ConfigurationError, match="not set: LDTM_A_KEY, LDTM_B_KEY; export LDTM_A_KEY="):
        read_secrets(config, {"LDTM_B_KEY": "  "})
    with pytest.raises(
        ConfigurationError, match="LDTM_A_KEY, which \\[url\\] names, must hold printable ASCII"
    ) as refused:
        read_secrets(config, {"LDTM_A_KEY": "s3cret\r\nX: y", "LDTM_B_KEY": "s3cret"})
    assert "s3cret" not in str(refused.value)
    assert VARIABLE not in str(refused.value)
