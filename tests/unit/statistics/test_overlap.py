"""How many independent forecasts overlapping ones are worth: against sets of days, the calendar and simulation."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldtm_lib.sessions import HORIZONS, exchange_calendar
from ldtm_lib.statistics.overlap import (
    Spans,
    effective_directions,
    effective_moves,
    effective_tickers,
    spans_of,
)

ROUNDING = 1e-9
"""Sums of some thousand terms in float64, relatively."""
DAILY = np.arange(252)


def real_sessions(first: str, num: int) -> np.ndarray:
    days = exchange_calendar().days
    at = int(np.searchsorted(days, np.datetime64(first)))
    return days[at : at + num]


@st.composite
def any_spans(draw: st.DrawFn) -> Spans:
    pairs = draw(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 25)), max_size=30))
    starts, lengths = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return Spans(starts=starts, stops=starts + lengths)


def by_sets_of_days(spans: Spans, directions: bool) -> float:
    days = [set(range(start, stop)) for start, stop in zip(spans.starts, spans.stops, strict=True)]
    total = 0.0
    for one, other in itertools.product(days, days):
        shared = len(one & other) / math.sqrt(len(one) * len(other))
        total += 2 / math.pi * math.asin(min(1.0, shared)) if directions else shared
    return len(days) ** 2 / total if days else 0.0


@given(any_spans())
def test_it_is_n_squared_over_the_sum_of_all_correlations(spans: Spans) -> None:
    assert effective_moves(spans) == pytest.approx(by_sets_of_days(spans, False), rel=ROUNDING)
    # The arcsine is steep at 1: a rounding of 1e-16 there is 1e-8 here.
    assert effective_directions(spans) == pytest.approx(by_sets_of_days(spans, True), rel=1e-7)


def test_next_days_do_not_overlap_and_are_all_worth_one() -> None:
    spans = spans_of(real_sessions("2025-01-02", 504), "next_day")
    assert effective_directions(spans) == 504.0
    assert effective_moves(spans) == 504.0


def test_a_day_tested_twice_counts_once() -> None:
    sessions = np.repeat(real_sessions("2025-01-02", 10), 2)
    assert effective_directions(spans_of(sessions, "next_day")) == pytest.approx(10, rel=ROUNDING)


def test_a_years_one_month_directions_are_worth_about_17_independent_ones() -> None:
    spans = spans_of(real_sessions("2025-01-02", 252), "one_month")
    assert effective_directions(spans) == pytest.approx(17, abs=0.5)
    assert 12 < effective_moves(spans) < 13  # 252 / 21 and the edges


def test_the_mean_of_overlapping_directions_varies_as_much_as_that_of_so_many_coins() -> None:
    moves = np.random.default_rng(3).standard_normal((4000, 252 + 21))
    price = np.cumsum(np.pad(moves, ((0, 0), (1, 0))), axis=1)
    rises = price[:, 21:273] > price[:, :252]
    effective = effective_directions(Spans(starts=DAILY, stops=DAILY + 21))
    # A variance over 4000 trials is within 4 x 2.2% of the truth.
    assert rises.mean(axis=1).var() == pytest.approx(0.25 / effective, rel=0.09)


@pytest.mark.parametrize("horizon", HORIZONS)
def test_spans_are_those_of_the_calendar_where_no_session_is_missing(horizon: str) -> None:
    sessions = real_sessions("2023-12-18", 504)  # with 20 holidays, and not beside one at its end
    calendar = exchange_calendar()
    targets = calendar.targets_of(sessions)[:, HORIZONS.index(horizon)]
    exact = np.searchsorted(calendar.days, targets) - np.searchsorted(calendar.days, sessions[0])
    spans = spans_of(sessions, horizon)
    assert spans.starts.tolist() == list(range(504))
    assert spans.stops.tolist() == exact.tolist()


@pytest.mark.parametrize("horizon", HORIZONS)
def test_dates_that_are_no_sessions_and_none_at_all_are_no_problem(horizon: str) -> None:
    assert effective_moves(spans_of(np.empty(0, dtype="datetime64[D]"), horizon)) == 0.0
    days = np.datetime64("2026-01-03") + np.arange(9)  # from a Saturday on
    spans = spans_of(days, horizon)
    assert (spans.stops > spans.starts).all()
    assert 1 <= effective_directions(spans) <= 9


def test_a_gap_between_folds_never_makes_forecasts_worth_more() -> None:
    sessions = real_sessions("2025-01-02", 252)
    with_gap = np.concatenate([sessions[:100], sessions[152:]])
    exact = np.concatenate([DAILY[:100], DAILY[152:]])
    assert effective_moves(spans_of(with_gap, "one_month")) <= effective_moves(Spans(starts=exact, stops=exact + 21))


def test_tickers_that_move_as_one_are_worth_one_and_independent_ones_all() -> None:
    hits = (np.random.default_rng(4).random((4000, 12)) < 0.5).astype(float)
    assert effective_tickers(np.repeat(hits[:, :1], 7, axis=1)) == pytest.approx(1.0, rel=ROUNDING)
    # Twelve columns of 4000 coins: the mean of 66 correlations is within 4 x 0.002, so the inflation within 9%.
    assert effective_tickers(hits) == pytest.approx(12, rel=0.09)


def test_a_ticker_and_its_inverse_fund_are_worth_no_more_than_two() -> None:
    hits = (np.random.default_rng(5).random(200) < 0.5).astype(float)
    assert effective_tickers(np.stack([hits, 1 - hits], axis=1)) == 2.0


def test_tickers_that_move_against_each_other_are_worth_no_more_than_all_of_them() -> None:
    hits = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 0, 0], [1, 0, 1]], dtype=float)
    correlations = np.corrcoef(hits.T)[np.triu_indices(3, k=1)]
    assert -0.5 < correlations.mean() < 0
    assert effective_tickers(hits) == 3.0


def test_gaps_are_left_out_pair_by_pair() -> None:
    generator = np.random.default_rng(6)
    market = generator.standard_normal((300, 1))
    hits = (0.7 * market + generator.standard_normal((300, 9)) > 0).astype(float)
    hits[generator.random(hits.shape) < 0.3] = np.nan
    correlations = pd.DataFrame(hits).corr().to_numpy()
    mean = correlations[np.triu_indices(9, k=1)].mean()
    assert 0.1 < mean < 0.4
    assert effective_tickers(hits) == pytest.approx(9 / (1 + 8 * mean), rel=ROUNDING)


def test_a_ticker_without_a_hit_or_miss_does_not_count() -> None:
    hits = (np.random.default_rng(9).random((50, 3)) < 0.5).astype(float)
    with_empty = np.column_stack([hits, np.full(50, np.nan)])
    assert effective_tickers(with_empty) == effective_tickers(hits)
    assert effective_tickers(np.full((5, 3), np.nan)) == 0.0
    assert effective_tickers(np.empty((0, 0))) == 0.0
    assert effective_tickers(hits[:, :1]) == 1.0


def test_where_no_correlation_can_be_told_tickers_are_worth_one() -> None:
    assert effective_tickers(np.ones((20, 5))) == 1.0
    assert effective_tickers(np.array([[1.0, 0.0, 1.0]])) == 1.0
