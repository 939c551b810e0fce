"""From what is written to a session: dates, times with and without an offset, numbers since 1970, serial numbers."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Literal

import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ldtm_lib.prices.sources.files import FilesSource
from ldtm_lib.prices.sources.protocol import Delivery

FIRST, LAST = date(1990, 1, 2), date(2026, 1, 2)
GOOD = "2024-01-29,192.01,192.2,189.58,191.73,47145622"


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)


def rows(lines: Sequence[str]) -> str:
    return "Date,Open,High,Low,Close,Volume\n" + "\n".join(lines) + "\n"


def fetch(folder: Path, *tickers: str) -> Delivery:
    return FilesSource(folder, "adjusted").fetch(tickers or ("AAPL",), FIRST, LAST)


def failure(folder: Path) -> str:
    return str(fetch(folder).failures["AAPL"])


TIMES_OF_TWO_SESSIONS = {
    "midnight in UTC, shown in New York": ["2024-01-28 19:00:00-05:00", "2024-01-29 19:00:00-05:00"],
    "midnight in New York": ["2024-01-29 00:00:00-05:00", "2024-01-30T00:00-05:00[America/New_York]"],
    "the close, by the name of its zone": ["20240129 16:00:00 US/Eastern", "20240130 16:00:00 EST"],
    "the close in Tokyo's time": ["2024-01-30 06:00:00+09:00", "2024-01-31 06:00:00+09:00"],
    "midnight in UTC beside a bar of today": ["2024-01-29T00:00:00Z", "2024-01-30T20:59:58Z"],
    "twelve hours a day": ["1/29/2024 4:00:00 PM", "1/30/2024 4:00:00 PM"],
    "milliseconds": ["1706486400000", "1706572800000"],
    "microseconds": ["1706486400000000", "1706572800000000"],
    "nanoseconds": ["1706486400000000000", "1706572800000000000"],
    "floats of seconds": ["1706538600.0", "1706625000.5"],
    "serial numbers of a spreadsheet": ["45320", "45321.6875"],
}


@pytest.mark.parametrize("name", TIMES_OF_TWO_SESSIONS)
def test_a_time_is_of_the_session_of_its_instant(tmp_path: Path, name: str) -> None:
    write(
        tmp_path,
        "AAPL.csv",
        rows([f"{time},{n},{n},{n},{n},1" for n, time in enumerate(TIMES_OF_TWO_SESSIONS[name])]),
    )
    bars = fetch(tmp_path).bars
    assert bars["session"].to_list() == [date(2024, 1, 29), date(2024, 1, 30)]
    assert bars["close"].to_list() == [0, 1]


@given(moment=st.integers(631_238_400, 1_767_139_200), unit=st.sampled_from(["ms", "us", "ns"]))
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_csv_and_parquet_files_of_one_instant_give_one_session(
    tmp_path: Path, moment: int, unit: Literal["ms", "us", "ns"]
) -> None:
    """An instant from 1990 to 2025, and those of the four days after it."""
    moments = [datetime.fromtimestamp(moment, UTC) + timedelta(days=n) for n in range(5)]
    frame = pl.DataFrame({"time": moments} | dict.fromkeys(("open", "high", "low", "close", "volume"), 1.0))
    frame = frame.with_columns(pl.col("time").cast(pl.Datetime(unit, "UTC")))
    in_new_york = pl.col("time").dt.convert_time_zone("America/New_York")
    frame.with_columns(in_new_york).write_parquet(tmp_path / "A.parquet")
    frame.with_columns(in_new_york.dt.to_string("%Y-%m-%d %H:%M:%S%:z")).write_csv(tmp_path / "B.csv")
    frame.with_columns(pl.col("time").dt.epoch(unit)).write_csv(tmp_path / "C.csv")
    delivery = fetch(tmp_path, "A", "B", "C")
    dates = [moment.date() for moment in moments]
    weekdays = {day.isoweekday() for day in dates}
    is_misdated = (7 in weekdays and 5 not in weekdays) or (6 in weekdays and 1 not in weekdays)
    may_be_misdated = 5 not in weekdays and moments[0].hour >= 22
    if is_misdated or may_be_misdated:
        assert set(delivery.failures) == {"A", "B", "C"}
    else:
        assert delivery.bars["session"].to_list() == dates * 3


EVENINGS = ["2024-01-28 19:00:00", "2024-01-29 19:00:00", "2024-01-30 19:00:00", "2024-01-31 19:00:00"]


def test_times_without_an_offset_that_are_the_evenings_before_are_refused(tmp_path: Path) -> None:
    lines = [f"{time},1,1,1,1,1" for time in EVENINGS]
    write(tmp_path, "AAPL.csv", rows(lines))
    reason = (
        "has times in the evening, on Sundays and on no Friday (each is of the session after it, in another time zone)"
        ", such as '2024-01-28 19:00:00'; write the dates of the sessions as YYYY-MM-DD, or times with their offset"
    )
    assert failure(tmp_path) == f"AAPL.csv, line 2 {reason}"
    write(tmp_path, "AAPL.csv", rows(lines[1:]))
    assert "line 2 has times in the evening, which may be of the next session, such as '2024-01-29" in failure(tmp_path)
    write(tmp_path, "AAPL.csv", rows([line.replace(" 19:00:00", "") for line in lines]))
    assert "line 2 has dates on Sundays and on no Friday" in failure(tmp_path), "the time may have been cut off"
    write(tmp_path, "AAPL.csv", rows([*lines[1:], "2024-02-02 19:00:00,1,1,1,1,1"]))
    assert fetch(tmp_path).bars.height == 4, "a Friday shows that the dates are those of the sessions"
    write(tmp_path, "AAPL.csv", rows([f"2024-01-{day} 05:00:00,1,1,1,1,1" for day in (23, 24, 25, 26, 27)]))
    assert "line 6 has dates on Saturdays and on no Monday" in failure(tmp_path)
    write(tmp_path, "AAPL.csv", rows([f"2024-01-{day} 00:00:00+01:00,1,1,1,1,1" for day in (29, 30)]))
    assert "has midnights of a time zone east of Greenwich, which may mean their date or the" in failure(tmp_path)


def test_evenings_of_one_ticker_do_not_hide_behind_the_fridays_of_another(tmp_path: Path) -> None:
    lines = [f"A,{time},1,1,1,1,1" for time in EVENINGS] + [f"B,2024-02-0{n} 16:00:00,1,1,1,1,1" for n in (1, 2)]
    write(tmp_path, "all.csv", "ticker,date,open,high,low,close,volume\n" + "\n".join(lines))
    delivery = fetch(tmp_path, "A", "B")
    assert list(delivery.failures) == ["A"]
    assert delivery.bars["ticker"].to_list() == ["B", "B"]


def test_seconds_since_1970_of_nine_digits_beside_ten_are_seconds(tmp_path: Path) -> None:
    write(tmp_path, "AAPL.csv", "time,open,high,low,close,volume\n999786600,1,1,1,1,1\n1706538600,2,2,2,2,2\n")
    assert fetch(tmp_path).bars["session"].to_list() == [date(2001, 9, 6), date(2024, 1, 29)]
    write(tmp_path, "AAPL.csv", "time,open,high,low,close,volume\n1706538600,1,1,1,1,1\n1706625000000,2,2,2,2,2\n")
    assert "line 2 has times since 1970 in several units, such as '1706538600'" in failure(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["2024-01-29 16:00:00 CET", "2024-01-29 25:00:00", "2024-01-30 09:00:00+99:00", "0001-01-01", "99999999999999999"],
)
def test_a_time_that_does_not_exist_or_of_an_unknown_zone_is_refused(tmp_path: Path, text: str) -> None:
    write(tmp_path, "AAPL.csv", rows([GOOD, f"{text},1,1,1,1,1"]))
    assert f"AAPL.csv, line 3 has no readable date: '{text}'" in failure(tmp_path)
