"""Which closes are outliers, by examples, by a plain loop, and by spikes put into random walks."""

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldtm_lib.prices.outliers import find_outliers, judge_delivery, returned_spikes
from ldtm_lib.prices.sources.sample import SampleSource
from ldtm_lib.sessions import Calendar
from tests.unit.prices.plain_outliers import is_spike, plain_outliers

LEVELS = [1.0, 1.2, 2.5, 4.0, 31.0, 100.0, 115.0, 9000.0]


def series(
    calendar: Calendar, closes: Sequence[float], judged: Sequence[bool] | None = None, ticker: str = "XYZ"
) -> pl.DataFrame:
    """Closes of sessions that follow each other, all of them delivered by default."""
    start = int(np.searchsorted(calendar.days, np.datetime64("2021-02-19")))
    return pl.DataFrame(
        {
            "ticker": [ticker] * len(closes),
            "session": calendar.days[start : start + len(closes)],
            "close": np.array(closes, dtype=np.float64),
            "is_judged": [True] * len(closes) if judged is None else list(judged),
        },
        schema_overrides={"ticker": pl.String, "session": pl.Date, "is_judged": pl.Boolean},
    )


def held(calendar: Calendar, closes: Sequence[float], judged: Sequence[bool] | None = None) -> list[float]:
    return judge_delivery(series(calendar, closes, judged), calendar).delivered["close"].to_list()


def found(frame: pl.DataFrame, calendar: Calendar) -> list[int]:
    """The row numbers of the outliers of a series."""
    return sorted(at for run in find_outliers(frame, calendar).runs for at in range(run.first, run.stop))


def test_two_closes_that_leave_and_return_are_a_spike_and_the_reason_names_their_neighbours(calendar: Calendar) -> None:
    delivered = judge_delivery(series(calendar, [0.80, 120, 101, 0.975]), calendar).delivered
    assert delivered["close"].to_list() == [120, 101]
    assert delivered["reason"].to_list() == [
        f"close {close} of {day} is {up} times the close 0.8 of 2021-02-19 and {down} times the close 0.975 of "
        "2021-02-24: it leaves and returns within 3 sessions"
        for close, day, up, down in ((120, "2021-02-22", 150, 123), (101, "2021-02-23", 126, 104))
    ]


@pytest.mark.parametrize(
    ("closes", "outliers"),
    [
        ([100, 101, 99, 400, 100, 101], [400]),
        ([100, 101, 99, 20, 100, 101], [20]),
        ([100, 500, 20, 500, 100], [500, 20, 500]),
        ([100, 310, 102.9, 100], [310]),
        ([100, 299, 100], []),
        ([100, 400, 400, 400, 400, 100], []),
        ([100, 48, 49, 50, 48], []),
        ([100, 400, 410, 420, 430], []),
        ([100, 400], []),
        ([100, 400, 30, 31], []),
        ([1, 100], [100]),
        ([1, 1, 100, 61, 110], [100, 61, 110]),
        ([100, 100, 1.2], [1.2]),
        ([1, 1, 126], []),
        ([100, 101, 1.0, 1.1, 1.05, 1.0], [100, 101]),
        ([100, 101, 102, 103, 1.0, 1.1, 1.05, 1.0], []),
        ([5], []),
        ([], []),
    ],
)
def test_what_is_held_back(calendar: Calendar, closes: list[float], outliers: list[float]) -> None:
    assert held(calendar, closes) == outliers


def test_a_bar_that_returns_after_a_gap_of_sessions_is_no_neighbour(calendar: Calendar) -> None:
    closes = [100.0, 400.0, 100.0, 100.0, 100.0]
    assert held(calendar, closes) == [400]
    for gap, outliers in ((slice(2, 4), [400]), (slice(2, 5), [])):
        with_gap = series(calendar, [*closes, 100.0])
        rows = [at for at in range(6) if at not in range(gap.start, gap.stop)]
        assert judge_delivery(with_gap[rows], calendar).delivered["close"].to_list() == outliers


def test_a_stored_bar_is_never_held_back_and_named_if_the_delivery_shows_that_it_returned(calendar: Calendar) -> None:
    shown = judge_delivery(series(calendar, [1, 120, 101, 1.1], [False, False, True, True]), calendar)
    assert shown.delivered["close"].to_list() == [101]
    assert shown.stored["close"].to_list() == [120]
    later = judge_delivery(series(calendar, [1, 120, 101, 1.1, 1.1], [False] * 4 + [True]), calendar)
    assert later.delivered.is_empty()
    assert later.stored.is_empty()


def test_bars_after_a_stored_one_in_another_unit_follow_it(calendar: Calendar) -> None:
    assert held(calendar, [1, 100, 101], [False, False, True]) == []
    assert held(calendar, [1, 100, 101], [False, True, True]) == [100, 101]


def test_a_unit_that_stays_is_noted_once_and_recorded(calendar: Calendar) -> None:
    shown = judge_delivery(series(calendar, [1, 1.5, 100, 101, 102, 103]), calendar)
    assert shown.notes == ()
    shown = judge_delivery(series(calendar, [1, 1, 1, 1, 100, 101, 102, 103]), calendar)
    assert shown.delivered.is_empty()
    (note,) = shown.notes
    assert note.startswith(
        "XYZ goes from 1 on 2021-02-24 to 100 on 2021-02-25 and stays there: prices in two units, or"
    )


def test_no_bar_of_the_sample_is_an_outlier_not_even_in_the_crash_of_aapl(calendar: Calendar) -> None:
    bars = SampleSource().fetch(["AAPL", "FB", "GOOG", "IBM", "MSFT"], date(2000, 3, 1), date(2013, 3, 1)).bars
    assert returned_spikes(bars, calendar).is_empty()
    judged = bars.sort("ticker", "session").select("ticker", "session", "close", is_judged=pl.lit(value=True))
    assert judge_delivery(judged, calendar).delivered.is_empty()


@given(
    tickers=st.lists(
        st.lists(
            st.tuples(
                st.sampled_from([1.0, 1.2, 2.5, 4.0, 31.0, 100.0, 115.0, 9000.0]), st.booleans(), st.integers(1, 3)
            ),
            max_size=14,
        ),
        max_size=4,
    )
)
def test_the_search_agrees_with_a_plain_loop(calendar: Calendar, tickers: list[list[tuple[float, bool, int]]]) -> None:
    frames, expected, offset = list[pl.DataFrame](), list[int](), 0
    for number, bars in enumerate(tickers):
        closes, judged, gaps = [bar[0] for bar in bars], [bar[1] for bar in bars], [bar[2] for bar in bars]
        at = np.cumsum(gaps, dtype=np.int64)
        own = series(calendar, [1.0] * 45, ticker=f"T{number}")[at.tolist()]
        frames.append(
            own.with_columns(close=pl.Series(closes, dtype=pl.Float64), is_judged=pl.Series(judged, dtype=pl.Boolean))
        )
        expected += [offset + bar for bar in plain_outliers(closes, at.tolist(), judged)] if bars else []
        offset += len(bars)
    together = pl.concat(frames) if frames else series(calendar, [])
    assert found(together, calendar) == expected


@given(data=st.data())
def test_whatever_spikes_a_random_walk_has_none_that_returns_is_left_and_nothing_else_is_held_back(
    calendar: Calendar, data: st.DataObject
) -> None:
    moves = data.draw(st.lists(st.floats(-0.1, 0.1), min_size=8, max_size=60))
    closes = (50 * np.cumprod(1 + np.array(moves))).tolist()
    spiked = set[int]()
    bar = data.draw(st.integers(1, 5))
    while bar < len(closes) - 1:
        for at in range(bar, min(bar + data.draw(st.integers(1, 3)), len(closes))):
            factor = data.draw(st.floats(1.5, 20_000))
            closes[at] *= factor if data.draw(st.booleans()) else 1 / factor
            spiked.add(at)
        bar = max(spiked) + 1 + data.draw(st.integers(4, 20))
    frame = series(calendar, closes)
    outliers = found(frame, calendar)
    assert set(outliers) <= spiked
    kept = [at for at in range(len(closes)) if at not in outliers]
    left = [closes[at] for at in kept]
    for before in range(len(kept)):
        for after in range(before + 2, min(before + 5, len(kept))):
            assert not is_spike(left, kept, before, range(before + 1, after), after)
