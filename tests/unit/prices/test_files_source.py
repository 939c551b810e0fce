"""The files that people really have, and what is said about those that cannot be read."""

import gzip
import os
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ldtm_lib.errors import ConfigurationError, MalformedFile, MissingBar, SourceError
from ldtm_lib.prices.sources.files import FilesSource
from ldtm_lib.prices.sources.protocol import Delivery, SourceCoverage
from ldtm_lib.prices.sources.sample import SampleSource
from ldtm_lib.prices.splits import Split
from ldtm_lib.settings import PriceBasis

FIRST, LAST = date(1990, 1, 2), date(2026, 1, 2)
BARS = [
    (date(2024, 1, 29), 192.01, 192.2, 189.58, 1191.73, 47145622.0),
    (date(2024, 1, 30), 190.94, 191.8, 187.47, 1188.04, 55859370.0),
    (date(2024, 2, 1), 183.985, 186.95, 183.82, 1186.86, 64885408.0),
]
SPELLINGS = {
    "yahoo": (
        "Date,Open,High,Low,Close,Adj Close,Volume\n"
        "2024-01-29,192.01,192.2,189.58,1191.73,1190.5,47145622\n"
        "2024-01-30,190.94,191.8,187.47,1188.04,1187.1,55859370\n"
        "2024-02-01,183.985,186.95,183.82,1186.86,1185.9,64885408\n"
    ),
    "yfinance with time and zone": (
        "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits\n"
        "2024-01-29 00:00:00-05:00,192.01,192.2,189.58,1191.73,47145622,0.0,0.0\n"
        "2024-01-30 00:00:00-05:00,190.94,191.8,187.47,1188.04,55859370,0.0,0.0\n"
        "2024-02-01 00:00:00-05:00,183.985,186.95,183.82,1186.86,64885408,0.0,0.0\n"
    ),
    "stooq bulk": (
        "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>\n"
        "AAPL.US,D,20240129,000000,192.01,192.2,189.58,1191.73,47145622,0\n"
        "AAPL.US,D,20240130,000000,190.94,191.8,187.47,1188.04,55859370,0\n"
        "AAPL.US,D,20240201,000000,183.985,186.95,183.82,1186.86,64885408,0\n"
    ),
    "stooq": (
        "Date,Open,High,Low,Close,Volume\r\n"
        "2024-01-29,192.01,192.2,189.58,1191.73,47145622\r\n"
        "2024-01-30,190.94,191.8,187.47,1188.04,55859370\r\n"
        "2024-02-01,183.985,186.95,183.82,1186.86,64885408\r\n"
    ),
    "nasdaq, newest first, dollar signs": (
        "Date,Close/Last,Volume,Open,High,Low\n"
        '02/01/2024,"$1,186.86",64885408,$183.985,$186.95,$183.82\n'
        '01/30/2024,"$1,188.04",55859370,$190.94,$191.80,$187.47\n'
        '01/29/2024,"$1,191.73",47145622,$192.01,$192.20,$189.58\n'
    ),
    "interactive brokers": (
        "date,open,high,low,close,volume,average,barCount\n"
        "20240129  16:00:00,192.01,192.2,189.58,1191.73,47145622,190.1,1234\n"
        "20240130  16:00:00,190.94,191.8,187.47,1188.04,55859370,190.1,1234\n"
        "20240201  16:00:00,183.985,186.95,183.82,1186.86,64885408,190.1,1234\n"
    ),
    "schwab or fidelity, words around the bars": (
        '"Historical prices for AAPL as of 02/02/2024"\n'
        "\n"
        '"Date","Open","High","Low","Close","Volume"\n'
        '"02/01/2024","183.985","186.95","183.82","1,186.86","64,885,408"\n'
        '"01/30/2024","190.94","191.80","187.47","1,188.04","55,859,370"\n'
        '"01/29/2024","192.01","192.20","189.58","1,191.73","47,145,622"\n'
        "\n"
        '"The data is provided for information only. Past performance"\n'
    ),
    "semicolons and decimal commas, days first": (
        "\ufeffDate;Open;High;Low;Close;Volume\n"
        "29.01.2024;192,01;192,2;189,58;1.191,73;47.145.622\n"
        "30.01.2024;190,94;191,8;187,47;1.188,04;55.859.370\n"
        "01.02.2024;183,985;186,95;183,82;1.186,86;64.885.408\n"
    ),
    "timestamp and vol, tabs": (
        "timestamp\topen\thigh\tlow\tclose\tvol\n"
        "2024-01-29T21:00:00Z\t192.01\t192.2\t189.58\t1191.73\t47145622\n"
        "2024-01-30T21:00:00Z\t190.94\t191.8\t187.47\t1188.04\t55859370\n"
        "2024-02-01T21:00:00Z\t183.985\t186.95\t183.82\t1186.86\t64885408\n"
    ),
    "seconds since 1970": (
        "time,open,high,low,close,Volume\n"
        "1706538600,192.01,192.2,189.58,1191.73,47145622\n"
        "1706625000,190.94,191.8,187.47,1188.04,55859370\n"
        "1706797800,183.985,186.95,183.82,1186.86,64885408\n"
    ),
    "alpha vantage": (
        "timestamp,1. open,2. high,3. low,4. close,5. volume\n"
        "2024-01-29,192.01,192.2,189.58,1191.73,47145622\n"
        "2024-01-30,190.94,191.8,187.47,1188.04,55859370\n"
        "2024-02-01,183.985,186.95,183.82,1186.86,64885408\n"
    ),
    "investing, words for months and millions": (
        '"Date","Price","Open","High","Low","Vol.","Change %"\n'
        '"Feb 01, 2024","1,186.86","183.985","186.95","183.82","64.885408M","-0.1%"\n'
        '"Jan 30, 2024","1,188.04","190.94","191.80","187.47","55.859370M","-0.1%"\n'
        '"Jan 29, 2024","1,191.73","192.01","192.20","189.58","47.145622M","-0.1%"\n'
    ),
}


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def fetch(folder: Path, *tickers: str, basis: PriceBasis = "adjusted", last: date = LAST) -> Delivery:
    return FilesSource(folder, basis).fetch(tickers or ("AAPL",), FIRST, last)


def failure(folder: Path, ticker: str = "AAPL", basis: PriceBasis = "adjusted") -> str:
    """What is said about a ticker whose neighbour in the same folder is fine."""
    write(folder, "FINE.csv", SPELLINGS["yahoo"])
    delivery = fetch(folder, ticker, "FINE", basis=basis)
    assert delivery.bars["ticker"].unique().to_list() == ["FINE"]
    assert isinstance(delivery.failures[ticker], MalformedFile)
    return str(delivery.failures[ticker])


def rows(lines: Sequence[str]) -> str:
    return "Date,Open,High,Low,Close,Volume\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("name", ["AAPL.csv", "daily/us/aapl.us.txt"])
def test_every_spelling_gives_the_same_bars(tmp_path: Path, spelling: str, name: str) -> None:
    write(tmp_path, name, SPELLINGS[spelling])
    delivery = fetch(tmp_path)
    assert delivery.failures == {}
    assert delivery.bars.rows() == [("AAPL", *bar) for bar in BARS]


@pytest.mark.parametrize("session", ["date", "datetime", "zoned", "integer", "text"])
def test_parquet_files_of_many_types_give_the_same_bars(tmp_path: Path, session: str) -> None:
    frame = pl.DataFrame(BARS, schema=["Date", "Open", "High", "Low", "Close", "Volume"], orient="row")
    moment = pl.col("Date").cast(pl.Datetime("ns"))
    dates = {
        "date": pl.col("Date"),
        "datetime": moment,
        "zoned": moment.dt.replace_time_zone("America/New_York"),
        "integer": pl.col("Date").dt.to_string("%Y%m%d").cast(pl.Int64),
        "text": pl.col("Date").cast(pl.String),
    }
    frame.with_columns(dates[session], pl.col("Volume").cast(pl.Int64)).write_parquet(tmp_path / "AAPL.parquet")
    assert fetch(tmp_path).bars.rows() == [("AAPL", *bar) for bar in BARS]


def test_one_file_may_hold_many_tickers(tmp_path: Path) -> None:
    write(
        tmp_path,
        "all bars.csv",
        "symbol,date,open,high,low,close,volume\n"
        "AAPL,2024-01-29,1,1,1,1,1\nBRK.B,2024-01-29,2,2,2,2,2\nAAPL,2024-01-30,3,3,3,3,3\nOTHER,2024-01-30,3,3,3,3,3\n",
    )
    bars = fetch(tmp_path, "AAPL", "BRK-B").bars
    assert [(row[0], row[5]) for row in bars.rows()] == [("AAPL", 1), ("AAPL", 3), ("BRK-B", 2)]


def test_two_spellings_of_one_ticker_are_both_answered(tmp_path: Path) -> None:
    write(tmp_path, "BRK_B.csv", SPELLINGS["yahoo"])
    assert fetch(tmp_path, "BRK-B", "BRK.B").bars["ticker"].unique().sort().to_list() == ["BRK-B", "BRK.B"]


def test_history_may_be_spread_over_files_that_agree(tmp_path: Path) -> None:
    header = "ticker,date,open,high,low,close,volume\n"
    write(tmp_path, "2023.csv", header + "A,2023-12-28,1,1,1,1,1\nA,2023-12-29,1,1,1,1,1\n")
    write(tmp_path, "2024.csv", header + "A,2023-12-29,1,1,1,1,1\nA,2024-01-02,1,1,1,1,1\n")
    assert fetch(tmp_path, "A").bars.height == 3
    write(tmp_path, "2025.csv", header + "A,2023-12-29,1,1,1,1,2\n")
    message = str(fetch(tmp_path, "A").failures["A"])
    assert message.startswith("2023.csv and 2025.csv have different bars of A on 2023-12-29; remove one")


@given(close=st.lists(st.floats(min_value=0.1, max_value=1000), min_size=1, max_size=30))
@hypothesis_settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_float_is_rounded_on_its_way_out_of_a_csv(tmp_path: Path, close: list[float]) -> None:
    days = pl.date_range(date(2001, 1, 1), date(2001, 2, 28), eager=True)[: len(close)]
    write(tmp_path, "A.csv", rows([f"{d},{c!r},{c!r},{c!r},{c!r},{c!r}" for d, c in zip(days, close, strict=True)]))
    assert fetch(tmp_path, "A").bars["close"].to_list() == close


def test_only_bars_of_the_range_are_delivered_and_a_ticker_without_any_is_a_failure(tmp_path: Path) -> None:
    write(tmp_path, "AAPL.csv", SPELLINGS["yahoo"])
    source = FilesSource(tmp_path, "adjusted")
    assert source.fetch(["AAPL"], date(2024, 1, 30), date(2024, 1, 31)).bars["session"].to_list() == [date(2024, 1, 30)]
    delivery = source.fetch(["AAPL", "NONE"], date(2024, 1, 31), date(2024, 1, 31))
    assert isinstance(delivery.failures["AAPL"], MissingBar)
    assert "no bar of AAPL from 2024-01-31 to 2024-01-31, only from 2024-01-29 to 2024-02-01" in str(
        delivery.failures["AAPL"]
    )
    assert type(delivery.failures["NONE"]) is SourceError
    assert f"no file in {tmp_path} holds NONE; add NONE.csv" in str(delivery.failures["NONE"])
    assert delivery.bars.is_empty()


def test_a_folder_that_is_none_is_named_as_it_was_given(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        FilesSource(tmp_path / "nowhere", "raw")
    assert str(refused.value) == f"{tmp_path / 'nowhere'} is not a folder; create it or name another one"


def test_files_of_no_asked_ticker_are_reported(tmp_path: Path) -> None:
    write(tmp_path, "AAPL.csv", SPELLINGS["yahoo"])
    write(tmp_path, "APPL.csv", SPELLINGS["yahoo"])
    write(tmp_path, "daily/us/zzz.us.txt", SPELLINGS["stooq"])
    header = "symbol,date,open,high,low,close,volume\n"
    write(tmp_path, "others.csv", header + "OTHER,2024-01-29,1,1,1,1,1\n")
    write(tmp_path, "some.csv", header + "MSFT,2024-01-29,1,1,1,1,1\nOTHER,2024-01-29,1,1,1,1,1\n")
    write(tmp_path, "cut.csv", header + "OTHER,2024-01-29,1,1,1,1,1,9,9\n")
    delivery = fetch(tmp_path, "AAPL", "MSFT")
    *names, cut = delivery.ignored
    assert names == ["APPL.csv", "daily/us/zzz.us.txt", "others.csv"]
    assert cut.startswith("cut.csv, line 2 has 9 fields under 7 columns")


def test_coverage_goes_by_names_and_counts_the_files_that_may_hold_others(tmp_path: Path) -> None:
    header = "date,open,high,low,close,volume\n"
    write(tmp_path, "aapl.us.csv", header + "its bars are not read\n")
    source = FilesSource(tmp_path, "adjusted")
    assert source.coverage(["AAPL"]) == SourceCoverage()
    assert source.coverage(["AAPL", "BRK-B", "MSFT"]) == SourceCoverage(lacking=("BRK-B", "MSFT"))
    write(tmp_path, "BRK.B.csv", header)
    write(tmp_path, "all.csv", "symbol,date,open,high,low,close,volume\nMSFT,2024-01-29,1,1,1,1,1\n")
    assert source.coverage(["AAPL", "BRK-B", "MSFT"]) == SourceCoverage(lacking=("MSFT",), num_shared_files=1)


def test_coverage_counts_no_file_whose_header_cannot_be_read(tmp_path: Path) -> None:
    write(tmp_path, "AAPL.csv", "not even a header")
    write(tmp_path, "BRK.B.parquet", "no parquet either")
    (tmp_path / "MSFT.csv").symlink_to(tmp_path / "gone.csv")
    found = FilesSource(tmp_path, "adjusted").coverage(["AAPL", "BRK-B", "MSFT"])
    assert found.lacking == ("AAPL", "BRK-B", "MSFT")
    assert "AAPL.csv, line 1 names no columns of bars: 'not even a header'" in found.unreadable[0]
    assert found.unreadable[1].startswith("BRK.B.parquet is not a complete Parquet file (")


GOOD = "2024-01-29,192.01,192.2,189.58,191.73,47145622"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "AAPL.csv is empty; export it again"),
        ("Date,Open,High,Low,Close,Volume\n", "AAPL.csv has a header but no bars"),
        (
            "Date,Open,High,Low,Close\n2024-01-29,1,1,1,1\n",
            "AAPL.csv, line 1 has no column for volume; name it as one of",
        ),
        ("<html>\n<body>not found</body>\n", "AAPL.csv, line 1 names no columns of bars: '<html>'"),
        (
            rows([GOOD, "2024-01-30,190.94,oops,187.47,188.04,5"]),
            "AAPL.csv, line 3 has no readable high: 'oops'",
        ),
        (
            rows([GOOD, "", "30 Jan,1,1,1,1,5"]),
            "AAPL.csv, line 4 has no readable date: '30 Jan'; write dates as",
        ),
        (rows([GOOD, "2024-01-32,1,1,1,1,5"]), "AAPL.csv, line 3 has no readable date: '2024-01-32'"),
        (rows([GOOD, ",1,1,1,1,5"]), "AAPL.csv, line 3 has no readable date: None"),
        (rows([GOOD, GOOD]), "AAPL.csv, line 2 and line 3 are both of 2024-01-29; keep one row per session"),
        (
            rows([GOOD, "2024-01-30,1,234.5,1,1,1,5"]),
            "AAPL.csv, line 3 has 7 fields under 6 columns; quote fields that",
        ),
        (rows([GOOD, "2024-01-30,1,1,1"]), "AAPL.csv, line 3 ends after 4 fields: the file seems truncated; export"),
        (rows([GOOD, "2024-0"]), "AAPL.csv, line 3 has no readable date: '2024-0'"),
        (
            rows(["03/04/2024,1,1,1,1,1"]),
            "has dates that can be read as day/month and as month/day, such as '03/04/2024'",
        ),
        (
            "Date;Open;High;Low;Close;Volume\n2024-01-29;1,001;1,001;1,001;1,001;5\n",
            "line 2 has commas that may be thousands separators or decimal signs, such as '1,001'",
        ),
        (rows([GOOD, '2024-01-30,"12,5",13,12,12.5,5']), "line 3 has no readable open: '12,5'"),
        (
            "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>\nAAPL.US,5,20240129,093500,1,1,1,1,1\n",
            "line 2 holds a bar of period 5; export daily bars",
        ),
        (rows([GOOD, '2024-01-30,"1,1,1,1,5']), "line 3 has an open quote; close or remove it"),
    ],
)
def test_a_malformed_file_is_named_with_its_line_and_remedy(tmp_path: Path, text: str, expected: str) -> None:
    write(tmp_path, "AAPL.csv", text)
    assert expected in failure(tmp_path)


def test_bytes_that_are_no_text_and_parquet_that_was_cut_are_malformed(tmp_path: Path) -> None:
    (tmp_path / "AAPL.csv").write_bytes(rows([GOOD]).encode("utf-16"))
    assert "AAPL.csv is not UTF-8 text; save it as CSV in UTF-8" in failure(tmp_path)
    (tmp_path / "AAPL.csv").write_bytes((rows([GOOD] * 30) + "2024-01-30,\xff,1,1,1,1\n").encode("latin-1"))
    assert "AAPL.csv, line 32 is not UTF-8 text" in failure(tmp_path)
    (tmp_path / "AAPL.csv").unlink()
    path = tmp_path / "AAPL.parquet"
    pl.DataFrame(BARS, schema=["Date", "Open", "High", "Low", "Close", "Volume"], orient="row").write_parquet(path)
    path.write_bytes(path.read_bytes()[:-100])
    assert "AAPL.parquet is not a complete Parquet file" in failure(tmp_path)
    pl.DataFrame(
        {"date": [BARS[0][0]]} | {name: [[1.0]] for name in ("open", "high", "low", "close", "volume")}
    ).write_parquet(path)
    assert "AAPL.parquet has a column open with several values" in failure(tmp_path)
    path.write_bytes(b"")
    assert "AAPL.parquet is not a complete Parquet file" in failure(tmp_path)


def test_a_bad_row_of_one_ticker_leaves_the_others_of_its_file(tmp_path: Path) -> None:
    write(
        tmp_path, "all.csv", "symbol,date,open,high,low,close,volume\nA,2024-01-29,1,1,1,1,1\nB,2024-01-29,x,2,2,2,2\n"
    )
    delivery = fetch(tmp_path, "A", "B")
    assert delivery.bars["ticker"].to_list() == ["A"]
    assert "all.csv, line 3 has no readable open: 'x'" in str(delivery.failures["B"])


def test_a_shared_file_that_cannot_be_read_is_named_where_a_ticker_is_missing(tmp_path: Path) -> None:
    write(tmp_path, "all.csv", "symbol,date,open,high,low,close,volume\nA,2024-01-29,1,1,1,1,1,9,9\n")
    assert "(not read: all.csv, line 2 has 9 fields under 7 columns" in str(fetch(tmp_path, "A").failures["A"])


def test_bars_that_are_well_formed_but_wrong_are_left_to_the_quarantine(tmp_path: Path) -> None:
    lines = [GOOD, "2024-01-30,-1,1,2,NaN,5", "2024-01-31,null,,1,1,5"]
    write(tmp_path, "AAPL.csv", rows(lines))
    delivery = fetch(tmp_path)
    assert delivery.failures == {}
    assert str(delivery.bars.rows()[1]) == "('AAPL', datetime.date(2024, 1, 30), -1.0, 1.0, 2.0, nan, 5.0)"
    assert delivery.bars.rows()[2][2:4] == (None, None)


def raw_aapl(adj_close: bool) -> str:
    """The sample's raw bars around 2000-06-21 (2:1) and 2000-09-29 (a crash), as a Yahoo file."""
    from bokeh_sampledata import stocks

    frame = pl.DataFrame(stocks.AAPL).head(150)
    columns = ["date", "open", "high", "low", "close", *(["adj_close"] if adj_close else []), "volume"]
    return frame.select(columns).rename({"adj_close": "Adj Close"}, strict=False).write_csv()


@pytest.mark.parametrize("declared", ["adj_close", "2", "2:1", "4/2"])
def test_raw_files_are_adjusted_by_their_splits(tmp_path: Path, declared: str) -> None:
    write(tmp_path, "AAPL.csv", raw_aapl(declared == "adj_close"))
    if declared != "adj_close":
        write(tmp_path, "splits.csv", f"ticker,session,ratio\nAAPL,2000-06-21,{declared}\n")
    for last in (date(2000, 6, 20), date(2000, 6, 21)):
        delivery = fetch(tmp_path, basis="raw", last=last)
        expected = SampleSource().fetch(["AAPL"], FIRST, last)
        assert delivery.splits == expected.splits
        assert_frame_equal(delivery.bars, expected.bars)
        assert delivery.basis == {"AAPL": last}
        assert delivery.notes == ()


def test_raw_files_without_splits_are_loaded_with_a_note_on_jumps_that_look_like_one(tmp_path: Path) -> None:
    write(tmp_path, "AAPL.csv", raw_aapl(adj_close=False))
    delivery = fetch(tmp_path, basis="raw")
    assert delivery.splits == ()
    without, split, crash = delivery.notes
    assert "without an adjusted close and without a line in splits.csv are taken to have no split" in without
    assert split == (
        "AAPL goes from 101.25 to 55.63 on 2000-06-21: a crash, or a split of 2 for 1; if it was a split, "
        "declare it in splits.csv"
    )
    assert "53.5 to 25.75 on 2000-09-29" in crash


def test_a_bad_line_of_splits_fails_its_ticker_only(tmp_path: Path) -> None:
    write(tmp_path, "AAPL.csv", raw_aapl(adj_close=False))
    write(tmp_path, "splits.csv", "ticker,session,ratio\nAAPL,2000-06-21,two\nMSFT,2003-02-18,2\n")
    message = failure(tmp_path, basis="raw")
    assert message.startswith("splits.csv, line 2 is not a split: AAPL,2000-06-21,two; write lines such as AAPL,")
    write(tmp_path, "splits.csv", "name,when\nAAPL,2000-06-21\n")
    assert "splits.csv, line 1 has no column ratio" in str(fetch(tmp_path, basis="raw").failures["AAPL"])


def test_adjusted_files_stand_for_the_basis_of_their_newest_bar(tmp_path: Path) -> None:
    write(tmp_path, "AAPL.csv", SPELLINGS["yahoo"])
    write(tmp_path, "splits.csv", "ticker,session,ratio\nAAPL,2020-08-31,4\nAAPL,2030-01-02,2\n")
    delivery = fetch(tmp_path, last=date(2024, 1, 29))
    assert delivery.basis == {"AAPL": date(2024, 2, 1)}
    assert delivery.splits == (Split(ticker="AAPL", session=date(2020, 8, 31), ratio=4.0),)
    assert delivery.bars.rows() == [("AAPL", *BARS[0])]


WRITTEN_AT = datetime(2026, 11, 20, 23, 14, tzinfo=UTC)
TWO_TICKERS = (
    "ticker,date,open,high,low,close,volume\n"
    "AAPL,2026-11-19,100,101,99,100.5,51234567\n"
    "MSFT,2026-11-19,100.5,102.25,100.0,101.75,48765432\n"
)


def read_after(folder: Path, age: timedelta, *tickers: str, basis: PriceBasis = "adjusted") -> Delivery:
    """What is read so long after the newest change of any file."""
    for path in folder.iterdir():
        os.utime(path, (WRITTEN_AT.timestamp(), WRITTEN_AT.timestamp()))
    return FilesSource(folder, basis, WRITTEN_AT + age).fetch(tickers, FIRST, date(2026, 11, 20))


@pytest.mark.parametrize("num_missing", [1, 4, 9])
def test_the_last_line_of_a_file_that_is_being_written_is_not_believed(tmp_path: Path, num_missing: int) -> None:
    write(tmp_path, "all.csv", TWO_TICKERS[:-num_missing])
    for age in (timedelta(seconds=-20), timedelta(seconds=50)):
        delivery = read_after(tmp_path, age, "AAPL", "MSFT")
        assert delivery.bars["ticker"].to_list() == ["AAPL"]
        assert str(delivery.failures["MSFT"]) == (
            "all.csv, line 3 has no end yet: the file is being written; try again in a minute"
        )
    write(tmp_path, "all.csv", TWO_TICKERS)
    assert read_after(tmp_path, timedelta(0), "AAPL", "MSFT").failures == {}


def test_an_older_file_whose_last_line_has_no_end_is_fine_and_so_is_one_that_a_person_imports(tmp_path: Path) -> None:
    write(tmp_path, "all.csv", TWO_TICKERS[:-1])
    whole = read_after(tmp_path, timedelta(seconds=61), "AAPL", "MSFT")
    assert whole.bars["volume"].to_list() == [51234567, 48765432]
    assert fetch(tmp_path, "MSFT", last=date(2026, 11, 20)).bars.height == 1


def test_a_split_whose_ratio_may_go_on_is_not_believed(tmp_path: Path) -> None:
    write(tmp_path, "all.csv", TWO_TICKERS)
    write(tmp_path, "splits.csv", "ticker,session,ratio\nAAPL,2026-11-20,2")
    delivery = read_after(tmp_path, timedelta(seconds=1), "AAPL", basis="raw")
    assert "splits.csv has no end of its last line yet" in str(delivery.failures["AAPL"])
    assert read_after(tmp_path, timedelta(seconds=61), "AAPL", basis="raw").failures == {}


def test_line_ends_of_old_macs_are_read(tmp_path: Path) -> None:
    write(tmp_path, "AAPL.csv", SPELLINGS["yahoo"].replace("\n", "\r"))
    assert fetch(tmp_path).bars.rows() == [("AAPL", *bar) for bar in BARS]
    write(tmp_path, "AAPL.csv", rows([GOOD, "2024-01-30,190.94,oops,187.47,188.04,5"]).replace("\n", "\r"))
    assert "AAPL.csv, line 3 has no readable high: 'oops'" in failure(tmp_path)


@pytest.mark.parametrize("cell", ["x" * 200_000, '"' + "x" * 200_000 + '"'])
def test_a_huge_cell_is_no_obstacle_for_the_others(tmp_path: Path, cell: str) -> None:
    write(tmp_path, "AAPL.csv", f"Date,Open,High,Low,Close,Volume,Note\n{GOOD},{cell}\n")
    assert fetch(tmp_path).bars.height == 1
    write(tmp_path, "AAPL.csv", rows([f"{GOOD},{cell}"]))
    assert "AAPL.csv, line 2 has 7 fields under 6 columns" in failure(tmp_path)
    write(tmp_path, "AAPL.csv", f"<html>{cell}</html>")
    assert "AAPL.csv, line 1 names no columns of bars: '<html>" in failure(tmp_path)


def test_two_open_quotes_do_not_hide_the_bars_between_them(tmp_path: Path) -> None:
    lines = [
        f"2024-01-{day},1,1,1,1,5,{quote}0{end}" for day, quote, end in ((29, '"', ""), (30, "", ""), (31, "", '"'))
    ]
    write(tmp_path, "AAPL.csv", "Date,Open,High,Low,Close,Volume,Dividends\n" + "\n".join(lines) + "\n")
    assert "AAPL.csv, line 2 has an open quote; close or remove it" in failure(tmp_path)


YFINANCE_OF_ONE = (
    "Price,Close,High,Low,Open,Volume\nTicker,AAPL,AAPL,AAPL,AAPL,AAPL\nDate,,,,,\n"
    "2024-01-29,1191.73,192.2,189.58,192.01,47145622\n"
    "2024-01-30,1188.04,191.8,187.47,190.94,55859370\n"
    "2024-02-01,1186.86,186.95,183.82,183.985,64885408\n"
)
YFINANCE_OF_TWO = (
    "Ticker,MSFT,MSFT,MSFT,MSFT,MSFT,AAPL,AAPL,AAPL,AAPL,AAPL\n"
    "Price,Open,High,Low,Close,Volume,Open,High,Low,Close,Volume\n"
    "Date,,,,,,,,,,\n"
    "2024-01-29,1,1,1,1,1,192.01,192.2,189.58,1191.73,47145622\n"
    "2024-01-30,,,,,,190.94,191.8,187.47,1188.04,55859370\n"
    "2024-02-01,3,3,3,3,3,183.985,186.95,183.82,1186.86,64885408\n"
)


@pytest.mark.parametrize("name", ["AAPL.csv", "download.csv"])
@pytest.mark.parametrize("text", [YFINANCE_OF_ONE, YFINANCE_OF_TWO])
def test_tickers_beside_each_other_are_read_as_yfinance_writes_them(tmp_path: Path, name: str, text: str) -> None:
    write(tmp_path, name, text)
    delivery = fetch(tmp_path, "AAPL")
    assert delivery.bars.rows() == [("AAPL", *bar) for bar in BARS]
    assert FilesSource(tmp_path, "adjusted").coverage(["AAPL", "MSFT"]).num_shared_files == (name != "AAPL.csv")
    if text == YFINANCE_OF_TWO:
        assert fetch(tmp_path, "MSFT").bars["close"].to_list() == [1, 3]
        write(tmp_path, name, text.replace("190.94", "x").replace("3,3,3,3,3", "3,3,y,3,3"))
        failures = fetch(tmp_path, "AAPL", "MSFT").failures
        assert f"{name}, line 5 has no readable open: 'x'" in str(failures["AAPL"])
        assert f"{name}, line 6 has no readable low: 'y'" in str(failures["MSFT"])
        write(tmp_path, name, text[:-40])
        failures = fetch(tmp_path, "AAPL", "MSFT").failures
        assert f"{name}, line 6 ends after 6 fields: the file seems truncated" in str(failures["AAPL"])


@pytest.mark.parametrize(
    ("name", "shares"), [("Volume (000s)", 5000), ("Vol. (millions)", 5e6), ("Volume (shares)", 5)]
)
def test_the_unit_behind_the_name_of_the_volume_counts(tmp_path: Path, name: str, shares: float) -> None:
    write(tmp_path, "AAPL.csv", f"Date,Open (USD),High,Low,Close,{name}\n2024-01-29,1,1,1,1,5\n")
    assert fetch(tmp_path).bars["volume"].to_list() == [shares]
    pl.read_csv(tmp_path / "AAPL.csv").write_parquet(tmp_path / "B.parquet")
    assert fetch(tmp_path, "B").bars["volume"].to_list() == [shares]
    write(tmp_path, "AAPL.csv", "Date,Open,High,Low,Close,Volume (USD)\n2024-01-29,1,1,1,1,5\n")
    assert "AAPL.csv, line 1 has a volume in the unknown unit 'USD'; name the column Volume" in failure(tmp_path)


def test_compressed_texts_are_read_within_the_bounds_and_other_kinds_are_listed(tmp_path: Path) -> None:
    (tmp_path / "AAPL.csv.gz").write_bytes(gzip.compress(SPELLINGS["yahoo"].encode()))
    (tmp_path / "MSFT.xlsx").write_bytes(b"PK\3\4")
    (tmp_path / "notes.md").write_text("not bars")
    (tmp_path / "old.zip").write_text("neither")
    delivery = fetch(tmp_path, "AAPL", "MSFT")
    assert delivery.bars.rows() == [("AAPL", *bar) for bar in BARS]
    assert str(delivery.failures["MSFT"]) == "MSFT.xlsx is not a CSV or Parquet file; save it as MSFT.csv in UTF-8"
    reason = "(not a CSV or Parquet file)"
    assert delivery.ignored == (f"MSFT.xlsx {reason}", f"notes.md {reason}", f"old.zip {reason}")
    whole = (tmp_path / "AAPL.csv.gz").read_bytes()
    for damaged in (whole[:-9], whole[:20] + b"?" + whole[21:], b"no gzip"):
        (tmp_path / "AAPL.csv.gz").write_bytes(damaged)
        assert failure(tmp_path).startswith("AAPL.csv.gz is not a complete gzip file (")
    (tmp_path / "AAPL.csv.gz").write_bytes(gzip.compress(b"Date,Open\n" + b"," * 300 * 2**20, 1))
    assert failure(tmp_path).startswith("AAPL.csv.gz unpacks to more than 256 MiB, which is the bound; split it")


def test_bars_before_the_calendar_begins_are_counted(tmp_path: Path) -> None:
    write(tmp_path, "AAPL.csv", rows(["1989-12-28,1,1,1,1,1", "1989-12-29,1,1,1,1,1", "1990-01-02,1,1,1,1,1"]))
    write(tmp_path, "FINE.csv", SPELLINGS["yahoo"])
    assert fetch(tmp_path, "AAPL", "FINE").notes == (
        "bars before 1990-01-02, where the calendar begins, are left out: 2 of AAPL",
    )
    recent = FilesSource(tmp_path, "adjusted").fetch(["AAPL"], date(1990, 1, 3), LAST)
    assert recent.notes == (), "a daily run asks for a few sessions"


def test_columns_of_a_parquet_file_of_types_that_are_no_numbers_or_dates_are_refused(tmp_path: Path) -> None:
    good = {"date": [date(2024, 1, 29)]} | {name: [1.0] for name in ("open", "high", "low", "close", "volume")}
    for column, value in (("open", True), ("close", date(2024, 1, 29)), ("date", True)):
        pl.DataFrame(good | {column: [value]}).write_parquet(tmp_path / "AAPL.parquet")
        assert "AAPL.parquet has a column " in failure(tmp_path)
    pl.DataFrame(good | {"date": [45320.0]}).write_parquet(tmp_path / "AAPL.parquet")
    assert fetch(tmp_path).bars["session"].to_list() == [date(2024, 1, 29)]


EVER = date(2000, 1, 3), date(2026, 1, 5)
RAW = "date,open,high,low,close,volume\n"


def flat_lines(*bars: tuple[str, float]) -> str:
    """Lines of bars of one price each."""
    return RAW + "".join(f"{day},{price},{price},{price},{price},1000\n" for day, price in bars)


NVDA = flat_lines(("2024-06-07", 1208.88), ("2024-06-10", 121.79))


def test_a_line_of_splits_that_stands_twice_is_one_split(tmp_path: Path) -> None:
    write(tmp_path, "NVDA.csv", NVDA)
    write(tmp_path, "splits.csv", "ticker,session,ratio\nNVDA,2024-06-10,10\nNVDA,2024-06-10,10:1\n")
    delivery = FilesSource(tmp_path, "raw").fetch(["NVDA"], *EVER)
    assert delivery.bars["close"].to_list() == [120.888, 121.79]
    assert delivery.splits == (Split(ticker="NVDA", session=date(2024, 6, 10), ratio=10.0),)


def test_lines_of_splits_that_contradict_each_other_fail_their_ticker(tmp_path: Path) -> None:
    write(tmp_path, "NVDA.csv", NVDA)
    write(tmp_path, "MSFT.csv", flat_lines(("2024-06-10", 400)))
    write(tmp_path, "splits.csv", "ticker,session,ratio\nNVDA,2024-06-10,10\nNVDA,2024-06-10,4\n")
    delivery = FilesSource(tmp_path, "raw").fetch(["NVDA", "MSFT"], *EVER)
    assert str(delivery.failures["NVDA"]) == (
        "splits.csv, lines 2 and 3 contradict each other: NVDA has 10 for 1 and 4 for 1 on 2024-06-10; keep the right "
        "one"
    )
    assert delivery.bars["ticker"].to_list() == ["MSFT"]


def test_a_date_of_a_split_that_can_be_read_in_two_ways_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "GOOG.csv", flat_lines(("2014-03-03", 1200), ("2014-04-03", 600)))
    write(tmp_path, "splits.csv", "ticker,session,ratio\nGOOG,03/04/2014,2\n")
    delivery = FilesSource(tmp_path, "raw").fetch(["GOOG"], *EVER)
    assert "splits.csv, line 2 has dates that can be read as day/month and as month/day: GOOG,03/04/2014,2" in str(
        delivery.failures["GOOG"]
    )


def test_a_split_whose_jump_stands_on_another_session_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "XYZ.csv", flat_lines(("2017-01-10", 130), ("2017-01-11", 131), ("2017-01-12", 65)))
    write(tmp_path, "splits.csv", "ticker,session,ratio\nXYZ,2017-01-11,2\n")
    delivery = FilesSource(tmp_path, "raw").fetch(["XYZ"], *EVER)
    assert str(delivery.failures["XYZ"]) == (
        "XYZ: the declared split of 2 for 1 on 2017-01-11 does not fit the raw prices: the close goes from 130 to 131 "
        "there, and from 131 to 65 on 2017-01-12; correct the date"
    )


def test_a_split_that_raw_prices_do_not_show_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "XYZ.csv", flat_lines(("2017-01-10", 50), ("2017-01-11", 50), ("2017-01-12", 51)))
    write(tmp_path, "splits.csv", "ticker,session,ratio\nXYZ,2017-01-11,2\n")
    delivery = FilesSource(tmp_path, "raw").fetch(["XYZ"], *EVER)
    assert str(delivery.failures["XYZ"]).endswith(
        'goes from 50 to 50 there; correct the split, or set the basis "adjusted" if the prices are adjusted'
    )


def test_months_without_a_bar_are_named_before_a_split_is_suspected(tmp_path: Path) -> None:
    write(tmp_path, "META.csv", flat_lines(("2022-01-27", 12.4), ("2022-01-28", 12.31), ("2022-06-09", 184)))
    for basis in ("raw", "adjusted"):
        notes = FilesSource(tmp_path, basis).fetch(["META"], *EVER).notes
        assert notes[-1].startswith(
            "META: no bar for 132 days, and prices go from 12.31 on 2022-01-28 to 184 on 2022-06"
        )


@pytest.mark.parametrize(
    ("before", "adjusted", "says"),
    [(174, 138.86672, "moves by 1.253"), (132.4, 100, "moves by 1.324"), (100, 75.1, "moves by 1.33156")],
)
def test_an_adjustment_that_is_nearly_a_ratio_is_no_split(
    tmp_path: Path, before: float, adjusted: float, says: str
) -> None:
    lines = f"2024-04-01,{before},{before},{before},{before},{adjusted},5\n2024-04-02,100,100,100,100,100,9\n"
    write(tmp_path, "GE.csv", RAW.replace("volume", "adj_close,volume") + lines)
    delivery = FilesSource(tmp_path, "raw").fetch(["GE"], *EVER)
    assert delivery.splits == ()
    assert delivery.bars["close"].to_list() == [before, 100]
    assert delivery.notes[0].startswith(f"GE: close / adj_close {says} on 2024-04-02, which is not a ratio of small")
    assert "a spin-off or a special dividend, not a split" in delivery.notes[0]


def test_an_adjusted_close_that_is_too_coarse_to_tell_a_split_fails_its_ticker(tmp_path: Path) -> None:
    lines = "2024-04-01,12,12,12,12,0.10,5\n2024-04-02,100,100,100,100,10.00,9\n"
    write(tmp_path, "GE.csv", RAW.replace("volume", "adj_close,volume") + lines)
    failure = str(FilesSource(tmp_path, "raw").fetch(["GE"], *EVER).failures["GE"])
    assert failure.endswith("do not show the ratio of a split; declare it in splits.csv")


@pytest.mark.parametrize("name", ["Stock Splits", "splitFactor", "split_coefficient"])
@pytest.mark.parametrize("basis", ["raw", "adjusted"])
def test_a_column_of_splits_counts_before_the_adjusted_close(tmp_path: Path, name: str, basis: PriceBasis) -> None:
    none = "1.0" if name == "splitFactor" else "0.0"
    header = f"date,open,high,low,close,adj_close,volume,{name}\n"
    lines = f"2024-06-07,1200,1200,1200,1200,1,5,{none}\n2024-06-10,121,121,121,121,1,5,10.0\n"
    write(tmp_path, "NVDA.csv", header + lines)
    delivery = FilesSource(tmp_path, basis).fetch(["NVDA"], *EVER)
    assert delivery.splits == (Split(ticker="NVDA", session=date(2024, 6, 10), ratio=10.0),)
    assert delivery.bars["close"].to_list() == [120 if basis == "raw" else 1200, 121]
    write(tmp_path, "splits.csv", "ticker,session,ratio\nNVDA,2024-06-10,8\n")
    delivery = FilesSource(tmp_path, basis).fetch(["NVDA"], *EVER)
    assert delivery.splits[0].ratio == 8
    assert (
        "NVDA: the column of splits has 10 for 1 on 2024-06-10, and splits.csv, which takes precedence, has 8 for 1"
        in delivery.notes[0]
    )


def test_a_negative_ratio_in_a_column_of_splits_fails_its_ticker(tmp_path: Path) -> None:
    write(tmp_path, "NVDA.csv", "date,open,high,low,close,volume,Stock Splits\n2024-06-10,121,121,121,121,5,-2\n")
    failure = str(FilesSource(tmp_path, "raw").fetch(["NVDA"], *EVER).failures["NVDA"])
    assert failure.startswith("NVDA.csv, line 2 has a split ratio of -2; write the number of new shares per old share")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_of_splits_are_read_as_spreadsheets_write_them(tmp_path: Path, separator: str, end: str) -> None:
    write(tmp_path, "NVDA.csv", NVDA)
    lines = [["ticker", "session", "ratio"], ["NVDA", "2024-06-10", "10", "a note"]]
    write(tmp_path, "splits.csv", "".join(separator.join(line) + end for line in lines))
    assert FilesSource(tmp_path, "raw").fetch(["NVDA"], *EVER).splits[0].ratio == 10


def test_other_files_of_splits_are_listed(tmp_path: Path) -> None:
    write(tmp_path, "NVDA.csv", NVDA)
    (tmp_path / "old").mkdir()
    for name in ("Splits.CSV", "old/splits.csv"):
        write(tmp_path, name, "ticker,session,ratio\nNVDA,2024-06-10,10\n")
    delivery = FilesSource(tmp_path, "raw").fetch(["NVDA"], *EVER)
    assert delivery.splits == ()
    reason = "(splits are read from splits.csv in the folder itself)"
    assert delivery.ignored == (f"Splits.CSV {reason}", f"old/splits.csv {reason}")
    assert FilesSource(tmp_path, "raw").coverage(["NVDA"]).num_shared_files == 0
