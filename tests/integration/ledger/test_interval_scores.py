"""Coverage, width and interval score of recorded intervals, and the test for their breakdown, from live rows."""

import math
from datetime import date

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from ldtm_lib.database.connection import Connection
from ldtm_lib.ledger.interval_coverage import CoverageRecord, coverage_records, not_overlapping
from ldtm_lib.ledger.interval_scores import IntervalScore, interval_scores
from ldtm_lib.ledger.simulations import LATE, LIVE, RowKind
from ldtm_lib.sessions import HORIZONS, Calendar
from ldtm_lib.settings import IntervalsConfig
from ldtm_lib.statistics.sequential import shortfall
from tests.integration.ledger.recorded_intervals import VOLATILITY, put_intervals
from tests.integration.ledger_rows import SIMULATED

Key = tuple[str | None, str, float]


def scores(conn: Connection, rows: RowKind = LIVE) -> dict[Key, IntervalScore]:
    return {(score.ticker, score.horizon, score.level): score for score in interval_scores(conn, rows)}


def records(conn: Connection, num_tickers: int = 1) -> dict[Key, CoverageRecord]:
    found = coverage_records(conn, IntervalsConfig(), num_tickers=num_tickers)
    return {(record.ticker, record.horizon, record.level): record for record in found}


def test_the_account_of_a_ticker_and_of_the_universe(conn: Connection, calendar: Calendar) -> None:
    inside, near, far = 101.0, 103.0, 90.0
    days = put_intervals(conn, calendar, "AAPL", [inside, near, far, inside, None, inside], without=[5])
    put_intervals(conn, calendar, "MSFT", [102.0, 98.0])
    found = scores(conn)
    assert list(found) == [
        (ticker, horizon, level) for ticker in ("AAPL", "MSFT", None) for horizon in HORIZONS for level in (0.8, 0.95)
    ]
    aapl = found["AAPL", "next_day", 0.8]
    assert (aapl.num_filled, aapl.num_intervals, aapl.num_inside, aapl.coverage) == (5, 4, 2, 0.5)
    assert (aapl.coverage_low, aapl.coverage_high) == pytest.approx(proportion_confint(2, 4, method="wilson"))
    assert aapl.width == pytest.approx(4.0)
    assert aapl.interval_score == pytest.approx(4.0 + (10 * 1 + 10 * 8) / 4), "2 / 0.2 times 1 above and 8 below"
    wider = found["AAPL", "next_day", 0.95]
    assert (wider.num_inside, wider.width) == (3, pytest.approx(8.0))
    assert wider.interval_score == pytest.approx(8.0 + 40 * 6 / 4), "2 / 0.05 times 6 below"
    edges = found["MSFT", "one_month", 0.8]
    assert (edges.num_inside, edges.num_intervals) == (2, 2), "the ends belong to the interval"
    universe = found[None, "next_day", 0.8]
    assert (universe.num_intervals, universe.num_inside) == (6, 4)
    assert universe.interval_score == pytest.approx((4 * aapl.interval_score + 2 * 4.0) / 6)

    one = 2 * 1.2815515655446004 * VOLATILITY
    assert aapl.relative_width == pytest.approx(0.04 / one)
    assert found["AAPL", "one_month", 0.8].relative_width == pytest.approx(0.04 / one / math.sqrt(21))
    assert wider.relative_width == pytest.approx(0.08 / (2 * 1.959963984540054 * VOLATILITY))
    mondays = [
        np.searchsorted(calendar.days, np.datetime64(calendar.targets(day).next_monday))
        - np.searchsorted(calendar.days, np.datetime64(day))
        for day in days[:4]
    ]
    expected = np.mean([0.04 / one / math.sqrt(sessions) for sessions in mondays])
    assert found["AAPL", "next_monday", 0.8].relative_width == pytest.approx(expected)


def test_rows_of_each_kind_are_accounted_for_by_themselves(conn: Connection, calendar: Calendar) -> None:
    put_intervals(conn, calendar, "AAPL", [101.0] * 3)
    put_intervals(conn, calendar, "AAPL", [90.0] * 2, kind="late", first=date(2012, 6, 1))
    put_intervals(conn, calendar, "AAPL", [90.0] * 4, kind="simulated")
    for rows, expected in ((LIVE, (3, 3)), (LATE, (2, 0)), (SIMULATED, (4, 0))):
        score = scores(conn, rows)["AAPL", "next_day", 0.8]
        assert (score.num_intervals, score.num_inside) == expected, rows


def test_forecasts_without_an_interval_are_counted_and_have_no_figures(conn: Connection, calendar: Calendar) -> None:
    assert scores(conn) == {}
    put_intervals(conn, calendar, "AAPL", [101.0, 101.0], without=[0, 1])
    score = scores(conn)["AAPL", "next_day", 0.95]
    assert (score.num_filled, score.num_intervals, score.num_inside) == (2, 0, 0)
    assert {score.coverage, score.coverage_low, score.width, score.relative_width, score.interval_score} == {None}


def test_intervals_that_contain_too_few_actuals_are_found_and_fair_ones_are_not(
    conn: Connection, calendar: Calendar
) -> None:
    random = np.random.default_rng(3)
    bad = [101.0 if hit else 103.0 for hit in random.random(100) < 0.4]
    fair = [101.0 if hit else 103.0 for hit in random.random(200) < 0.8]
    put_intervals(conn, calendar, "AAPL", bad)
    put_intervals(conn, calendar, "MSFT", fair)
    found = records(conn, num_tickers=2)
    assert {key for key, record in found.items() if record.has_broken_down} == {("AAPL", "next_day", 0.8)}
    record = found["AAPL", "next_day", 0.8]
    hits = np.array([actual == 101.0 for actual in bad])
    assert (record.num_outcomes, record.num_inside, record.bound) == (100, hits.sum(), pytest.approx(0.75))
    assert record.evidence == pytest.approx(math.exp(shortfall(hits, 0.75).log_e))
    assert record.evidence_needed == 2 * 6 / 0.05, "two tickers, three horizons, two levels"
    assert record.reason.startswith(
        f"the 80% intervals of AAPL, next day, contained {hits.sum()} of 100 actuals since 2012-01-03, "
    )
    assert record.reason.endswith(", and 240 shows a breakdown")
    assert found["AAPL", "next_day", 0.95].num_inside == 100
    assert records(conn, num_tickers=10**12)["AAPL", "next_day", 0.8].has_broken_down is False


def test_a_breakdown_stays_one_within_its_year_and_the_next_year_begins_anew(
    conn: Connection, calendar: Calendar
) -> None:
    actuals = [103.0] * 60 + [101.0] * 190
    days = put_intervals(conn, calendar, "AAPL", actuals)
    assert days[-1].year == 2012
    assert records(conn)["AAPL", "next_day", 0.8].has_broken_down
    put_intervals(conn, calendar, "AAPL", [101.0], first=date(2013, 1, 2))
    record = records(conn)["AAPL", "next_day", 0.8]
    assert (record.has_broken_down, record.num_outcomes, record.first_run_date) == (False, 1, date(2013, 1, 2))


def test_outcomes_that_overlap_count_once(conn: Connection, calendar: Calendar) -> None:
    put_intervals(conn, calendar, "AAPL", [103.0] * 64, without=[0])
    found = records(conn)
    assert found["AAPL", "next_day", 0.8].num_outcomes == 63
    assert found["AAPL", "one_month", 0.8].num_outcomes == 3, "from the second row on, every 21st"
    assert found["AAPL", "one_month", 0.8].first_run_date == date(2012, 1, 4)
    assert found["AAPL", "next_monday", 0.8].num_outcomes == 14, "one a week"
    assert not_overlapping([1, 2, 3, 4], [3, 3, 9, 9], [True] * 4) == [0, 2]
    assert not_overlapping([1, 2, 3], [2, 3, 4], [False, True, True]) == [1, 2]


def test_only_live_rows_are_watched(conn: Connection, calendar: Calendar) -> None:
    put_intervals(conn, calendar, "AAPL", [103.0] * 60, kind="late")
    put_intervals(conn, calendar, "AAPL", [103.0] * 60, kind="simulated")
    assert records(conn) == {}
