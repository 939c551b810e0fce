"""The eleven inputs against loops that a reader can check by hand."""

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ldtm_lib.features.indicators import WARMUP_BARS, add_indicators
from ldtm_lib.features.inputs import INPUTS

ENGINEERED = INPUTS[5:]
# The same sums in another order: float64 keeps 16 digits, a window of 20 and a recursion of thousands of bars lose few.
ROUNDING = 1e-9
prices = st.lists(st.sampled_from([10.0, 10.5, 11.0, 9.25, 40.0]), min_size=1, max_size=90)


def reference(closes: list[float]) -> dict[str, list[float | None]]:
    """The six engineered inputs by plain loops over one ticker's closes."""
    columns: dict[str, list[float | None]] = {name: [] for name in ENGINEERED}
    for i, close in enumerate(closes):
        columns["log_return_1"].append(math.log(close / closes[i - 1]) if i >= 1 else None)
        columns["log_return_5"].append(math.log(close / closes[i - 5]) if i >= 5 else None)
        columns["rsi_14"].append(None)
        for n in (5, 10, 20):
            average = sum(closes[i - n + 1 : i + 1]) / n if i >= n - 1 else None
            columns[f"close_to_ma_{n}"].append(close / average if average else None)
    gain = loss = 0.0
    for i in range(1, len(closes)):
        change = closes[i] - closes[i - 1]
        if i <= 14:
            gain += max(change, 0.0) / 14
            loss += max(-change, 0.0) / 14
        else:
            gain = (13 * gain + max(change, 0.0)) / 14
            loss = (13 * loss + max(-change, 0.0)) / 14
        if i >= 14:
            columns["rsi_14"][i] = 50.0 if gain == loss == 0 else 100 - 100 / (1 + gain / loss) if loss else 100.0
    return columns


def assert_matches_reference(features: pl.DataFrame, closes: list[float]) -> None:
    for name, expected in reference(closes).items():
        actual = features[name].to_list()
        assert [v is None for v in actual] == [v is None for v in expected], name
        pairs = [(a, e) for a, e in zip(actual, expected, strict=True) if e is not None]
        np.testing.assert_allclose(*np.array(pairs).reshape(-1, 2).T, rtol=ROUNDING, atol=ROUNDING, err_msg=name)


@pytest.mark.parametrize("ticker", ["AAPL", "FB", "GOOG", "IBM", "MSFT"])
def test_inputs_of_real_bars_equal_the_plain_loops(sample_bars: pl.DataFrame, ticker: str) -> None:
    features = add_indicators(sample_bars).filter(pl.col("ticker") == ticker)
    assert features.height > 190
    assert_matches_reference(features, features["close"].to_list())


@given(closes=prices)
def test_inputs_of_any_prices_equal_the_plain_loops(make: Any, closes: list[float]) -> None:
    assert_matches_reference(add_indicators(make.of_closes(closes)), closes)


def test_rsi_equals_the_published_worked_example(make: Any) -> None:
    """The closes and the index of StockCharts' ChartSchool article on RSI, printed there with two decimals."""
    closes = [44.3389, 44.0902, 44.1497, 43.6124, 44.3278, 44.8264, 45.0955, 45.4245, 45.8433, 46.0826, 45.8931]
    closes += [46.0328, 45.6140, 46.2820, 46.2820, 46.0028, 46.0328, 46.4116, 46.2222, 45.6439, 46.2122, 46.2521]
    closes += [45.7137, 46.4515, 45.7835, 45.3548, 44.0288, 44.1783, 44.2181, 44.5672, 43.4205, 42.6628, 43.1314]
    published = [70.53, 66.32, 66.55, 69.41, 66.36, 57.97, 62.93, 63.26, 56.06, 62.38, 54.71, 50.42, 39.99, 41.46]
    published += [41.87, 45.46, 37.30, 33.08, 37.77]
    rsi = add_indicators(make.of_closes(closes))["rsi_14"]
    assert rsi[:14].to_list() == [None] * 14
    # Closes are given to 1e-4, so the index is known to about 0.01.
    np.testing.assert_allclose(rsi[14:].to_numpy(), published, atol=0.011)


@pytest.mark.parametrize(("step", "expected"), [(1.0, 100.0), (-1.0, 0.0), (0.0, 50.0)])
def test_rsi_of_rises_alone_is_100_of_falls_alone_0_and_of_no_change_50(
    make: Any, step: float, expected: float
) -> None:
    features = add_indicators(make.of_closes([100 + step * i for i in range(60)]))
    assert features["rsi_14"][14:].to_list() == [expected] * 46


def test_the_first_bar_with_all_inputs_is_the_twentieth(make: Any) -> None:
    features = add_indicators(make.walk(40))
    complete = features.select(pl.all_horizontal(pl.col(INPUTS).is_not_null())).to_series()
    assert complete.to_list() == [False] * WARMUP_BARS + [True] * (40 - WARMUP_BARS)
    nulls = {name: features[name].null_count() for name in ENGINEERED}
    assert list(nulls.values()) == [1, 5, 14, 4, 9, 19]


@settings(max_examples=40)
@given(day=st.integers(0, 89), factor=st.sampled_from([0.0, 3.0, 1e6, math.nan]))
def test_nothing_after_a_session_changes_its_inputs(make: Any, day: int, factor: float) -> None:
    bars = make.walk(90)
    later = pl.int_range(pl.len()) > day
    altered = bars.with_columns(pl.when(later).then(pl.col(c) * factor).otherwise(c).alias(c) for c in INPUTS[:5])
    assert_frame_equal(add_indicators(bars)[: day + 1], add_indicators(altered)[: day + 1], check_exact=True)
    assert_frame_equal(add_indicators(bars)[: day + 1], add_indicators(bars[: day + 1]), check_exact=True)


@settings(max_examples=40)
@given(order=st.randoms(), lengths=st.lists(st.integers(1, 60), min_size=1, max_size=4))
def test_other_tickers_and_the_order_of_rows_do_not_matter(make: Any, order: Any, lengths: list[int]) -> None:
    mine = make.walk(50, ticker="M", seed=7)
    others = [make.walk(n, ticker=t, seed=n) for t, n in zip("ANZX", lengths, strict=False)]
    rows = pl.concat([mine, *others])
    shuffled = rows[order.sample(range(rows.height), rows.height)]
    together = add_indicators(shuffled)
    assert together.select("ticker", "session").rows() == sorted(together.select("ticker", "session").rows())
    assert_frame_equal(together.filter(pl.col("ticker") == "M"), add_indicators(mine), check_exact=True)


def test_no_bars_give_no_rows_but_all_columns(make: Any) -> None:
    features = add_indicators(make.walk(0))
    assert features.height == 0
    assert features.columns == ["ticker", "session", *INPUTS]
