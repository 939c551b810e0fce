"""Rank intervals and the track record over real rows: the same ones that the leaderboard counts."""

import math
from collections import defaultdict
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import pytest

from ldtm_lib.database.connection import Connection
from ldtm_lib.ledger.counted_forecasts import counted_forecasts
from ldtm_lib.ledger.daily_clusters import Estimate, share_of_days
from ldtm_lib.ledger.fillbacks import fill
from ldtm_lib.ledger.leaderboard import leaderboard
from ldtm_lib.ledger.ranking import rank_intervals
from ldtm_lib.ledger.simulations import LATE, LIVE
from ldtm_lib.ledger.track_record import track_record
from ldtm_lib.sessions import exchange_calendar
from ldtm_lib.settings import LedgerConfig
from tests.integration.ledger_rows import SIMULATED

RUN_DATE, NEXT_DAY = date(2013, 1, 2), date(2013, 1, 3)
DAYS = exchange_calendar().between(date(2012, 1, 3), date(2012, 4, 1))
NUM_DAYS = 40
TICKERS = {"ALWAYS": 1.0, "COIN": 0.5, "NEVER": 0.0, "NEUTRAL": None, "ONCE": 1.0}
"""The share of days on which each is right; None never gives a direction, ONCE gives one on the last day alone."""


@pytest.fixture
def universe(conn: Connection, ledger_rows) -> dict[str, list[tuple[date, bool | None]]]:
    """Filled forecasts on 40 sessions; what each ticker said on which run date: right, wrong or nothing."""
    said: dict[str, list[tuple[date, bool | None]]] = defaultdict(list)
    for place, (run_date, next_day) in enumerate(pairwise(DAYS[: NUM_DAYS + 1])):
        for ticker, share in TICKERS.items():
            if ticker == "ONCE" and place != NUM_DAYS - 1:
                continue
            right = None if share is None else (place % 2 == 0 if share == 0.5 else share == 1.0)
            direction = "neutral" if right is None else "bullish" if right else "bearish"
            ledger_rows.forecast(ticker, run_date, direction=direction, preds=(100 + 0.01 * place, 100, 100))
            ledger_rows.bar(ticker, next_day, 101)
            said[ticker].append((run_date, right))
    fill(conn, config=LedgerConfig(), as_of=DAYS[NUM_DAYS])
    return said


def test_the_rows_that_count_are_those_of_the_board(conn: Connection, universe) -> None:
    rows = counted_forecasts(conn, SIMULATED)
    for row in leaderboard(conn, SIMULATED).rows:
        own = rows.filter(rows["ticker"] == row.ticker)
        score = row.score
        assert len(own) == score.num_filled
        assert own["is_correct"].count() == score.num_directional
        assert own["is_correct"].sum() == score.num_correct
        assert (own["run_date"].min(), own["run_date"].max()) == (score.first_run_date, score.last_run_date)
        assert own["run_date"].to_list() == [run_date for run_date, _ in universe[row.ticker]][-30:]
    assert counted_forecasts(conn).is_empty(), "no row is live"


def test_ranks_are_those_of_the_rows_that_count_and_none_where_no_direction_was_given(
    conn: Connection, universe
) -> None:
    found = {row.ticker: (row.rank_low, row.rank_high) for row in leaderboard(conn, SIMULATED).rows}
    names = [name for name in TICKERS if name != "NEUTRAL"]
    calls = {name: dict(universe[name]) for name in names}
    table = [[calls[name].get(day) for name in names] for day in DAYS[10:NUM_DAYS]]
    given = np.array([[call is not None for call in row] for row in table])
    expected = rank_intervals(np.array([[call is True for call in row] for row in table]), given)
    assert found == {
        "NEUTRAL": (None, None),
        **{name: (int(expected.low_T[n]), int(expected.high_T[n])) for n, name in enumerate(names)},
    }
    # ALWAYS and NEVER differ on 30 of 30 days, ONCE has one day with each; the coin lies between both.
    assert (found["ALWAYS"], found["COIN"], found["NEVER"], found["ONCE"]) == ((1, 2), (2, 3), (3, 4), (1, 4))


def test_the_accuracy_of_a_run_date_is_that_of_the_30_sessions_up_to_it(conn: Connection, universe) -> None:
    points = track_record(conn, SIMULATED).accuracy
    assert [point.run_date for point in points] == DAYS[:NUM_DAYS]
    for place, point in enumerate(points):
        window = DAYS[max(0, place - 29) : place + 1]
        calls = [
            [right for rows in universe.values() for d, right in rows if d == day and right is not None]
            for day in window
        ]
        pooled = [right for day in calls for right in day]
        assert point.accuracy.value == pytest.approx(sum(pooled) / len(pooled))
        right, number = np.array([sum(day) for day in calls], float), np.array([len(day) for day in calls], float)
        assert point.accuracy == share_of_days(right, number)
        assert (point.accuracy.low is None) == (place < 4)


def test_calibration_is_over_the_rows_that_count(conn: Connection, universe) -> None:
    bins = track_record(conn, SIMULATED).calibration
    assert sum(group.num_forecasts for group in bins) == 4 * 30 + 1
    assert all(group.actual.value == pytest.approx(1.0) for group in bins), "every bar is 1% above the run date's close"
    # Places 10 to 39 of 40 are counted, and each place's prediction is a hundredth of a percent higher.
    assert min(group.predicted for group in bins) > 0.1
    assert max(group.predicted for group in bins) < 0.4


def test_only_rows_of_the_kind_that_was_asked_for_are_on_the_record(conn: Connection, ledger_rows) -> None:
    ledger_rows.forecast("LATE", RUN_DATE, kind="live")
    ledger_rows.forecast("SIMULATED", RUN_DATE, kind="simulated", direction="bearish")
    by = ledger_rows.open_the_session_after(RUN_DATE, timedelta(hours=1))
    ledger_rows.forecast("LIVE", RUN_DATE, kind="live")
    conn.commit()
    ledger_rows.move_the_calendar(-by)
    for ticker in ("LATE", "SIMULATED", "LIVE"):
        ledger_rows.bar(ticker, NEXT_DAY, 101)
    fill(conn, config=LedgerConfig(), as_of=NEXT_DAY)
    for ticker, rows, accuracy in (("LATE", LATE, 1.0), ("SIMULATED", SIMULATED, 0.0), ("LIVE", LIVE, 1.0)):
        record = track_record(conn, rows)
        assert [(p.run_date, p.accuracy) for p in record.accuracy] == [
            (RUN_DATE, Estimate(value=accuracy, low=None, high=None))
        ]
        assert [group.num_forecasts for group in record.calibration] == [1]
        ranks = {row.ticker: row.rank_low for row in leaderboard(conn, rows).rows}
        assert ranks == {"LATE": None, "SIMULATED": None, "LIVE": None} | {ticker: 1}


def test_neutral_forecasts_alone_have_no_accuracy_and_no_rank_but_are_calibrated(conn: Connection, ledger_rows) -> None:
    ledger_rows.forecast("AAPL", RUN_DATE, direction="neutral", preds=(100.05, 100, 100))
    ledger_rows.bar("AAPL", NEXT_DAY, 98)
    fill(conn, config=LedgerConfig(), as_of=NEXT_DAY)
    (row,) = leaderboard(conn, SIMULATED).rows
    assert (row.rank, row.rank_low, row.rank_high) == (1, None, None)
    record = track_record(conn, SIMULATED)
    assert record.accuracy == ()
    (group,) = record.calibration
    assert math.isclose(group.predicted, 0.05, rel_tol=1e-9)
    assert math.isclose(group.actual.value, -2.0, rel_tol=1e-9)


def test_an_empty_ledger_and_one_without_a_fill_have_no_record(conn: Connection, ledger_rows) -> None:
    assert track_record(conn).accuracy == track_record(conn).calibration == ()
    ledger_rows.forecast("AAPL", RUN_DATE)
    ledger_rows.abstention("FB", RUN_DATE)
    record = track_record(conn, SIMULATED)
    assert (record.accuracy, record.calibration) == ((), ())
    assert [row.rank_low for row in leaderboard(conn, SIMULATED).rows] == [None, None]
