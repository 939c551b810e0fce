"""The latest window of a session, and the reasons for none."""

import hashlib
import struct
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ldtm_lib.errors import CalendarError
from ldtm_lib.features.windows import InputWindow, latest_windows, windows_of
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import WindowConfig

CONFIG = WindowConfig()
SESSION = date(2013, 2, 28)
TICKERS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")


def recent(bars: pl.DataFrame, session: date, num_bars: int = 280) -> pl.DataFrame:
    past = bars.filter(pl.col("session") <= session).sort("ticker", "session")
    return past.group_by("ticker", maintain_order=True).tail(num_bars)


def one(bars: pl.DataFrame, calendar: Calendar, session: date, ticker: str = "T") -> InputWindow:
    return latest_windows(bars, [ticker], session, calendar, CONFIG)[0]


def test_the_latest_window_equals_that_of_the_whole_history(sample_bars: pl.DataFrame, calendar: Calendar) -> None:
    whole = windows_of(sample_bars, calendar, CONFIG)
    for session in calendar.between(date(2013, 1, 2), date(2013, 2, 28)):
        for shown in latest_windows(recent(sample_bars, session), TICKERS, session, calendar, CONFIG):
            history = whole[shown.ticker]
            row = int(np.searchsorted(history.sessions, np.datetime64(session)))
            assert shown.inputs is not None
            # 280 bars leave (13/14)^250 = 9e-9 of older moves to RSI, and float32 rounds at 6e-8 of 100 points of RSI,
            # divided by a window's range of ten points or more.
            np.testing.assert_allclose(shown.inputs, history.gather(np.array([row]))[0], rtol=0, atol=2e-6)
            prices = (history.close[row], history.close_min[row], history.close_max[row])
            assert (shown.close, shown.close_min, shown.close_max) == prices


def test_only_the_newest_280_bars_up_to_the_session_count(sample_bars: pl.DataFrame, calendar: Calendar) -> None:
    from_recent = latest_windows(recent(sample_bars, SESSION), TICKERS, SESSION, calendar, CONFIG)
    from_all = latest_windows(sample_bars, TICKERS, SESSION, calendar, CONFIG)
    from_shuffled = latest_windows(
        sample_bars.sample(fraction=1, shuffle=True, seed=3), TICKERS, SESSION, calendar, CONFIG
    )
    assert [w.sha256 for w in from_recent] == [w.sha256 for w in from_all] == [w.sha256 for w in from_shuffled]
    from_less = latest_windows(recent(sample_bars, SESSION, 60), ["AAPL"], SESSION, calendar, CONFIG)
    assert from_less[0].sha256 != from_all[0].sha256


def test_the_latest_window_is_bit_equal_to_the_window_of_the_same_bars(
    sample_bars: pl.DataFrame, calendar: Calendar
) -> None:
    bars = recent(sample_bars, SESSION)
    sets = windows_of(bars, calendar, CONFIG)
    for shown in latest_windows(bars, TICKERS, SESSION, calendar, CONFIG):
        of_history = sets[shown.ticker]
        np.testing.assert_array_equal(shown.inputs, of_history.gather(np.array([len(of_history) - 1]))[0])


@settings(max_examples=20)
@given(day=st.integers(60, 139))
def test_no_later_bar_enters_a_latest_window(make: Any, calendar: Calendar, day: int) -> None:
    bars = make.walk(140)
    session = bars["session"][day]
    assert one(bars, calendar, session).sha256 == one(bars[: day + 1], calendar, session).sha256


def test_the_hash_is_that_of_inputs_and_the_three_prices_in_little_endian(
    sample_bars: pl.DataFrame, calendar: Calendar
) -> None:
    shown = one(sample_bars, calendar, SESSION, "AAPL")
    closes = sample_bars.filter(pl.col("ticker") == "AAPL", pl.col("session") <= SESSION)["close"].to_list()[-30:]
    assert shown.inputs is not None
    assert shown.inputs.shape == (30, 11)
    assert (shown.close, shown.close_min, shown.close_max) == (closes[-1], min(closes), max(closes))
    payload = struct.pack("<330f", *shown.inputs.ravel().tolist()) + struct.pack(
        "<3d", closes[-1], min(closes), max(closes)
    )
    assert shown.sha256 == hashlib.sha256(payload).hexdigest()


def test_every_ticker_asked_for_is_answered_in_the_order_asked(sample_bars: pl.DataFrame, calendar: Calendar) -> None:
    asked = ["MSFT", "NONE", "AAPL"]
    answers = latest_windows(sample_bars, asked, SESSION, calendar, CONFIG)
    assert [a.ticker for a in answers] == asked
    assert [a.not_ready for a in answers] == [None, "has no bar for 2013-02-28", None]
    for answer in answers:
        assert answer.session == SESSION
        fields = (answer.inputs, answer.sha256, answer.close, answer.close_min, answer.close_max)
        assert all((field is None) == (answer.not_ready is not None) for field in fields)


def test_a_ticker_without_a_bar_for_the_session_says_so(make: Any, calendar: Calendar) -> None:
    bars = make.walk(120)
    last = bars["session"][119]
    assert one(bars[:119], calendar, last).not_ready == f"has no bar for {last}"


def test_a_ticker_that_started_later_says_so(make: Any, calendar: Calendar) -> None:
    assert one(make.walk(120, first=date(2013, 3, 1)), calendar, SESSION).not_ready == "has no bar for 2013-02-28"


@pytest.mark.parametrize("num_bars", [1, 25, 48])
def test_a_short_ticker_says_how_many_bars_it_has_and_needs(make: Any, calendar: Calendar, num_bars: int) -> None:
    bars = make.walk(num_bars)
    assert one(bars, calendar, bars["session"][-1]).not_ready == f"has {num_bars} bars, 49 are needed"


def test_49_bars_are_enough(make: Any, calendar: Calendar) -> None:
    bars = make.walk(49)
    assert one(bars, calendar, bars["session"][-1]).not_ready is None


@pytest.mark.parametrize(
    ("gone", "reason"),
    [
        ([100], "has no bar for {0} within its window"),
        ([95, 101, 118], "has no bar for {0} and 2 more within its window"),
    ],
)
def test_a_gap_within_the_window_is_named(make: Any, calendar: Calendar, gone: list[int], reason: str) -> None:
    bars = make.walk(120)
    missing = [str(bars["session"][g]) for g in gone]
    held = bars.filter(~pl.int_range(pl.len()).is_in(gone))
    assert one(held, calendar, bars["session"][119]).not_ready == reason.format(*missing)


def test_a_gap_before_the_window_is_no_obstacle(make: Any, calendar: Calendar) -> None:
    bars = make.walk(120)
    held = bars.filter(~pl.int_range(pl.len()).is_in([0, 40, 88, 89]))
    assert one(held, calendar, bars["session"][119]).not_ready is None


def test_a_value_that_is_not_finite_is_named(make: Any, calendar: Calendar) -> None:
    bars = make.walk(120)
    spoilt = pl.when(pl.int_range(pl.len()) == 110).then(float("nan")).otherwise("volume").alias("volume")
    answer = one(bars.with_columns(spoilt), calendar, bars["session"][119])
    assert answer.not_ready == f"has volume that is not finite for {bars['session'][110]} within its window"


def test_a_date_that_is_no_session_is_refused(make: Any, calendar: Calendar) -> None:
    with pytest.raises(CalendarError, match=r"2013-03-02 is not a session of XNYS.*2013-03-01 and 2013-03-04"):
        one(make.walk(120), calendar, date(2013, 3, 2))
