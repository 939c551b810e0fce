"""Valid bars pass as they are, every rule that a bar breaks is named in words."""

from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ldtm_lib.prices.bars import BAR_COLUMNS, BAR_SCHEMA, validate
from ldtm_lib.prices.sources.sample import SampleSource
from ldtm_lib.sessions import Calendar, exchange_calendar

SESSION = date(2024, 1, 30)
NAN, INF = float("nan"), float("inf")


def bar(**values: object) -> pl.DataFrame:
    good = {"ticker": "A", "session": SESSION, "open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "volume": 5.0}
    return pl.DataFrame([good | values], schema=BAR_SCHEMA)


def is_valid(row: tuple[float, ...]) -> bool:
    """The rules one by one, in plain Python."""
    o, h, low, c, v = row
    return all(0 < p < INF for p in (o, h, low, c)) and h >= max(o, c) and low <= min(o, c) and 0 <= v < INF


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"high": 10.5}, "high 10.5 is below close 11.0"),
        ({"low": 10.5}, "low 10.5 is above open 10.0"),
        ({"low": 0.0}, "low 0.0 is not above zero"),
        ({"close": NAN}, "close is NaN"),
        ({"open": None}, "open is missing"),
        ({"high": INF}, "high is inf"),
        ({"volume": -1.0}, "volume -1.0 is negative"),
        ({"volume": NAN}, "volume is NaN"),
        ({"volume": INF}, "volume is inf"),
        ({"session": date(2024, 1, 28)}, "2024-01-28 is not a session of XNYS"),
        ({"session": None}, "has no session"),
        ({"ticker": None}, "has no ticker"),
        ({"high": 8.0, "low": 10.5}, "high 8.0 is below open 10.0; high 8.0 is below close 11.0; "
         "high 8.0 is below low 10.5; low 10.5 is above open 10.0"),
    ],
)  # fmt: skip
def test_a_bar_that_breaks_a_rule_is_refused_with_the_reason(
    calendar: Calendar, values: dict[str, object], reason: str
) -> None:
    validated = validate(bar(**values), calendar)
    assert validated.valid.is_empty()
    assert validated.refused["reason"].to_list() == [reason]


@pytest.mark.parametrize("values", [{}, {"volume": 0.0}, {"open": 12.0, "low": 11.0}, {"high": 11.0}])
def test_bars_on_the_edge_of_the_rules_are_valid(calendar: Calendar, values: dict[str, object]) -> None:
    validated = validate(bar(**values), calendar)
    assert_frame_equal(validated.valid, bar(**values))
    assert validated.refused.is_empty()


def test_the_same_bar_twice_counts_once_and_two_that_differ_are_both_refused(calendar: Calendar) -> None:
    assert validate(pl.concat([bar(), bar()]), calendar).valid.height == 1
    validated = validate(pl.concat([bar(), bar(close=11.5), bar(ticker="B")]), calendar)
    assert validated.valid["ticker"].to_list() == ["B"]
    assert validated.refused["reason"].to_list() == ["the session has several bars that differ"] * 2


@pytest.mark.parametrize("num_bars", [1, 2])
def test_bars_without_ticker_and_session_are_refused_for_that(calendar: Calendar, num_bars: int) -> None:
    nameless = pl.concat([bar(ticker=None, session=None)] * num_bars)
    assert validate(nameless, calendar).refused["reason"].to_list() == ["has no ticker; has no session"]


def test_every_bar_of_the_sample_is_valid(calendar: Calendar) -> None:
    bars = SampleSource().fetch(["AAPL", "FB", "GOOG", "IBM", "MSFT"], date(2000, 3, 1), date(2013, 3, 1)).bars
    assert_frame_equal(validate(bars, calendar).valid, bars.sort("ticker", "session"))


numbers = st.one_of(st.sampled_from([NAN, INF, -INF, 0.0, -0.0, -1.0]), st.floats(0.5, 20.0))


@given(rows=st.lists(st.tuples(*[numbers] * 5), min_size=1, max_size=20))
def test_all_bars_at_once_are_judged_as_one_by_one(rows: list[tuple[float, ...]]) -> None:
    calendar = exchange_calendar()
    days = calendar.days[1000 : 1000 + len(rows)].tolist()
    bars = pl.DataFrame(
        [("A", day, *row) for day, row in zip(days, rows, strict=True)], schema=BAR_SCHEMA, orient="row"
    )
    validated = validate(bars, calendar)
    expected = [day for day, row in zip(days, rows, strict=True) if is_valid(row)]
    assert validated.valid["session"].to_list() == expected
    assert validated.valid.columns == list(BAR_COLUMNS)
    assert len(validated.valid) + len(validated.refused) == len(rows)


def test_an_order_that_is_wrong_by_the_error_of_a_float_is_set_right(calendar: Calendar) -> None:
    """251.10106899999997 and 251.101069 are one unit in the last place apart: products of one price and two factors."""
    noisy = bar(open=250.12394599820996, high=251.10106899999997, low=249.14682299641993, close=251.101069)
    assert_frame_equal(validate(noisy, calendar).valid, noisy.with_columns(high=pl.lit(251.101069)))
    for ulps, is_accepted in ((8, True), (9, False)):
        low = 1.0 + ulps * 2.0**-52
        validated = validate(bar(open=1.0, high=2.0, low=low, close=1.0), calendar)
        assert validated.valid["low"].to_list() == ([1.0] if is_accepted else [])
    above = bar(open=float("nan"), high=10.0, low=9.0, close=10.0)
    assert validate(above, calendar).refused["reason"].to_list() == ["open is NaN"]
