"""Splits are distinguished from crashes, dividends and corrections."""

from datetime import date

import numpy as np
import polars as pl
import pytest
from bokeh_sampledata import stocks
from hypothesis import assume, given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ldtm_lib.prices.bars import BAR_SCHEMA, PRICE_COLUMNS
from ldtm_lib.prices.sources.split_evidence import splits_from_adjusted_close
from ldtm_lib.prices.split_ratios import (
    SPLIT_RATIOS,
    SUSPECTED_RATIOS,
    only_ratio,
    ratio_bounds,
    rounding_of,
    suspected_ratio,
)
from ldtm_lib.prices.splits import Split, adjust, restatement_ratio


def raw_sample() -> pl.DataFrame:
    frames = [
        pl.DataFrame(getattr(stocks, ticker)).select(
            pl.lit(ticker).alias("ticker"), pl.col("date").str.to_date().alias("session"), "close", "adj_close"
        )
        for ticker in ("AAPL", "FB", "GOOG", "IBM", "MSFT")
    ]
    return pl.concat(frames)


def test_exactly_the_three_splits_of_the_sample_are_found() -> None:
    assert splits_from_adjusted_close(raw_sample()).splits == (
        Split(ticker="AAPL", session=date(2000, 6, 21), ratio=2.0),
        Split(ticker="AAPL", session=date(2005, 2, 28), ratio=2.0),
        Split(ticker="MSFT", session=date(2003, 2, 18), ratio=2.0),
    )


def test_the_crash_and_the_special_dividend_are_there_to_be_mistaken() -> None:
    jumps = raw_sample().with_columns(
        fall=pl.col("close").shift(1).over("ticker") / pl.col("close"),
        factor=pl.col("close") / pl.col("adj_close"),
    )
    crash = jumps.filter((pl.col("ticker") == "AAPL") & (pl.col("session") == date(2000, 9, 29)))
    assert crash["fall"][0] == pytest.approx(2.08, abs=0.01)
    msft = jumps.filter(pl.col("ticker") == "MSFT").with_columns(jump=pl.col("factor").shift(1) / pl.col("factor"))
    assert msft.filter(pl.col("session") == date(2004, 11, 15))["jump"][0] == pytest.approx(1.112, abs=0.001)


def test_bars_before_a_split_are_restated_and_its_own_session_is_not() -> None:
    row = {"open": 100.0, "high": 110.0, "low": 90.0, "close": 102.0, "volume": 30.0}
    days = [date(2024, 1, 29), date(2024, 1, 30), date(2024, 1, 31)]
    bars = pl.DataFrame([{"ticker": t, "session": d} | row for t in "AB" for d in days], schema=BAR_SCHEMA)
    splits = [
        Split(ticker="A", session=days[1], ratio=2.0),
        Split(ticker="A", session=days[2], ratio=0.1),
        Split(ticker="C", session=days[2], ratio=7.0),
    ]
    adjusted = adjust(bars, splits)
    assert adjusted["close"].to_list() == pytest.approx([510, 1020, 102, 102, 102, 102])
    assert adjusted["volume"].to_list() == pytest.approx([6, 3, 30, 30, 30, 30])
    assert_frame_equal(adjust(bars, []), bars)


@given(
    prices=st.lists(st.floats(0.01, 1e5), min_size=4, max_size=4).map(sorted), ratio=st.sampled_from(list(SPLIT_RATIOS))
)
def test_a_valid_bar_stays_valid_when_it_is_restated(prices: list[float], ratio: float) -> None:
    low, open_, close, high = prices
    bar = pl.DataFrame([("A", date(2024, 1, 29), open_, high, low, close, 5.0)], schema=BAR_SCHEMA, orient="row")
    restated = adjust(bar, [Split(ticker="A", session=date(2024, 1, 30), ratio=float(ratio))])
    new_open, new_high, new_low, new_close = restated.select(PRICE_COLUMNS).row(0)
    assert new_low <= min(new_open, new_close)
    assert new_high >= max(new_open, new_close)


@given(
    ratio=st.sampled_from(list(SUSPECTED_RATIOS)),
    closes=st.lists(st.floats(20.0, 500.0), min_size=3, max_size=20),
    cents=st.booleans(),
)
def test_a_restatement_by_a_split_is_recognised_though_rounded(ratio: float, closes: list[float], cents: bool) -> None:
    restated = [round(c / ratio, 2) if cents else c / ratio for c in closes]
    assert restatement_ratio(closes, restated) == pytest.approx(ratio, rel=1e-12)


@given(
    ratio=st.sampled_from(list(SPLIT_RATIOS)),
    closes=st.lists(st.floats(1.0, 500.0), min_size=3, max_size=20),
    decimals=st.sampled_from([2, 4, None]),
)
def test_no_other_ratio_is_ever_inferred(ratio: float, closes: list[float], decimals: int | None) -> None:
    exact = [c / ratio for c in closes]
    restated = exact if decimals is None else [round(c, decimals) for c in exact]
    assume(min(restated) > 0)
    inferred = restatement_ratio(closes, restated)
    assert inferred is None or inferred == pytest.approx(ratio, rel=1e-12)
    old, new = np.array(closes), np.array(restated)
    least, greatest = ratio_bounds(old, new, rounding_of(old), rounding_of(new))
    told = only_ratio(float(least.max()), float(greatest.min()))  # none where cents are too coarse for low prices
    if told is not None and not np.isclose(closes, restated).any():
        assert inferred is not None or abs(closes[0] - restated[0]) < 0.1


@pytest.mark.parametrize(
    ("stored", "delivered"),
    [
        ([100.0, 101.0], [50.0, 50.5]),
        ([100.0, 101.0, 102.0], [50.0, 50.5, 102.0]),
        ([100.0, 101.0, 102.0], [50.0, 50.5, 60.0]),
        ([100.0, 101.0, 102.0], [100.0, 101.0, 102.0]),
        ([100.0, 101.0, 102.0], [89.9, 90.8, 91.7]),
        ([100.0, 101.0, 102.0], [100 / 1.324, 101 / 1.324, 102 / 1.324]),
        ([0.1, 0.1, 0.1], [10.0, 10.0, 10.0]),
        ([], []),
    ],
    ids=[
        "two bars",
        "one unchanged",
        "no constant ratio",
        "equal",
        "special dividend 1.112",
        "spin-off",
        "1:100 in cents",
        "none",
    ],
)
def test_what_is_no_split_is_not_taken_for_one(stored: list[float], delivered: list[float]) -> None:
    assert restatement_ratio(np.array(stored), np.array(delivered)) is None


def test_measured_ratios_are_matched_within_a_percent() -> None:
    assert suspected_ratio(1.998, 0.01) == 2.0
    assert suspected_ratio(1.49, 0.01) == 1.5
    assert suspected_ratio(0.1005, 0.01) == 0.1
    assert suspected_ratio(1.112, 0.01) is None
    assert suspected_ratio(1.0, 0.01) is None
    assert suspected_ratio(float("nan"), 0.01) is None
