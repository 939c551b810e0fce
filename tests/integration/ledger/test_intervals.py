"""Intervals of recorded forecasts: from backtests and filled rows in PostgreSQL to bounds, and back by replay."""

from datetime import date

import numpy as np
import pytest

from ldtm_lib.audit.replay import Replay, replay
from ldtm_lib.ledger.fillbacks import fill
from ldtm_lib.ledger.intervals import BOUNDS, bounds_of
from ldtm_lib.ledger.snapshots import SnapshotRow
from ldtm_lib.sessions import HORIZONS, Calendar
from ldtm_lib.settings import IntervalsConfig, LedgerConfig
from ldtm_lib.statistics.conformal import LEVELS, Lane, walk
from tests.integration.environment import NEXT_DAY, RUN_DATE, ForecastEnvironment
from tests.integration.ledger.tested_networks import VOLATILITY, put_backtest
from tests.integration.ledger_rows import simulation

TRAINED_ON, LAST_TESTED = date(2012, 12, 31), date(2012, 11, 29)
OVERLAPS = (1, 5, 21)
SCORES = np.abs(np.random.default_rng(7).normal(size=(150, 3))) * (1, 2, 4)


def checkpoint_of(environment: ForecastEnvironment, ticker: str) -> int:
    row = environment.conn.execute("select max(checkpoint_id) from checkpoint where ticker = %s", (ticker,)).fetchone()
    assert row is not None
    return row[0]


def put_tested(environment: ForecastEnvironment, ticker: str = "AAPL", scores: np.ndarray = SCORES) -> list[date]:
    return put_backtest(
        environment.conn, environment.calendar, checkpoint_of(environment, ticker), scores, last=LAST_TESTED
    )


def expected(
    calendar: Calendar, days: list[date], scores: np.ndarray, run_date: date, config: IntervalsConfig | None = None
) -> np.ndarray:
    """(3, 2) half-widths of a run date, horizon by horizon; NaN scores are not known."""
    sessions = np.array(days, "datetime64[D]")
    targets = calendar.targets_of(sessions)
    widths = []
    for at, overlap in enumerate(OVERLAPS):
        known = np.isfinite(scores[:, at])
        lane = Lane(sessions=sessions[known], targets=targets[known, at], scores=scores[known, at], overlap=overlap)
        widths.append(walk([lane], config or IntervalsConfig()).quantiles([np.datetime64(run_date)])[0])
    return np.array(widths)


def reach(row: SnapshotRow) -> np.ndarray:
    """(3, 2) half-widths of a row's intervals in units of its close and volatility."""
    assert row.run_date_close is not None
    assert row.volatility is not None
    found = []
    for horizon in HORIZONS:
        price = getattr(row, f"{horizon}_pred")
        for percent in (80, 95):
            ends = row.interval(horizon, percent)
            assert ends is not None, (horizon, percent)
            assert ends[1] - price == pytest.approx(price - ends[0])
            found.append((ends[1] - price) / (row.run_date_close * row.volatility))
    return np.array(found).reshape(3, 2)


def again(environment: ForecastEnvironment, run_date: date = RUN_DATE, simulation_id: int = 1) -> Replay:
    return replay(
        environment.conn,
        "AAPL",
        run_date,
        simulation_id,
        folder=environment.folder,
        settings=environment.settings,
        calendar=environment.calendar,
    )


@pytest.fixture
def ready(environment: ForecastEnvironment) -> ForecastEnvironment:
    """AAPL and MSFT with bars, windows and networks, and a backtest of AAPL's."""
    environment.ready("AAPL", "MSFT")
    put_tested(environment)
    environment.conn.commit()
    return environment


def test_intervals_follow_from_the_backtest_of_the_model_and_a_ticker_without_one_has_none(
    ready: ForecastEnvironment,
) -> None:
    aapl, msft = ready.take("AAPL", "MSFT").rows
    end = int(np.searchsorted(ready.calendar.days, np.datetime64(LAST_TESTED), side="right"))
    days = ready.calendar.days[end - len(SCORES) : end].tolist()
    assert reach(aapl) == pytest.approx(expected(ready.calendar, days, SCORES, RUN_DATE), rel=1e-9)
    assert (aapl.neutral_band, msft.neutral_band) == (0.001, 0.001)
    assert msft.abstained_reason is None
    assert msft.volatility is not None
    assert {getattr(msft, name) for name in BOUNDS} == {None}
    found = again(ready)
    assert found.is_equal_to_the_bit
    assert {compared.what for compared in found.comparisons} >= {*BOUNDS, "volatility"}


def test_a_bound_that_was_altered_is_found_by_replay(ready: ForecastEnvironment) -> None:
    ready.take("AAPL")
    ready.conn.execute("alter table snapshot disable trigger user")
    ready.conn.execute("update snapshot set one_month_high_95 = one_month_high_95 + 1")
    assert {c.what: c.remark for c in again(ready).differences} == {"one_month_high_95": "with today's [intervals]"}


@pytest.mark.parametrize("num_rows", [99, 104, 125])
def test_too_few_known_outcomes_make_no_interval_of_that_horizon(
    environment: ForecastEnvironment, num_rows: int
) -> None:
    """The backtest ends so long before the run date that all of its outcomes are known."""
    environment.ready("AAPL")
    put_tested(environment, scores=SCORES[:num_rows])
    (row,) = environment.take("AAPL").rows
    assert (row.next_day_low_80 is None) == (num_rows < 100)
    assert (row.one_month_low_80 is None) == (num_rows < 100)


def test_a_backtest_that_was_stored_without_volatility_makes_no_interval(environment: ForecastEnvironment) -> None:
    environment.ready("AAPL")
    put_backtest(
        environment.conn,
        environment.calendar,
        checkpoint_of(environment, "AAPL"),
        SCORES,
        last=LAST_TESTED,
        volatility=None,
    )
    (row,) = environment.take("AAPL").rows
    assert row.next_day_pred is not None
    assert {getattr(row, name) for name in BOUNDS} == {None}


def test_the_newest_backtest_counts_and_a_later_one_does_not_change_a_replay(ready: ForecastEnvironment) -> None:
    put_backtest(
        ready.conn, ready.calendar, checkpoint_of(ready, "AAPL"), 2 * SCORES, last=LAST_TESTED, plan="a second plan"
    )
    (row,) = ready.take("AAPL").rows
    end = int(np.searchsorted(ready.calendar.days, np.datetime64(LAST_TESTED), side="right"))
    days = ready.calendar.days[end - len(SCORES) : end].tolist()
    assert reach(row) == pytest.approx(expected(ready.calendar, days, 2 * SCORES, RUN_DATE), rel=1e-9)
    put_backtest(ready.conn, ready.calendar, checkpoint_of(ready, "AAPL"), SCORES, last=LAST_TESTED, plan="a third")
    assert again(ready).is_equal_to_the_bit


def test_filled_rows_of_the_same_simulation_enter_once_their_target_session_has_come(
    ready: ForecastEnvironment,
) -> None:
    """A week of rows before the run date, all filled at once, later than a walk through them would have been."""
    ready.deliver(ready.bars(["AAPL"], num_bars=301, last=NEXT_DAY).tail(1))
    before = ready.calendar.between(date(2013, 1, 2), date(2013, 1, 10))
    tight = ready.with_settings(intervals=IntervalsConfig(rate=0.1))
    for day in before:
        ready.make_windows(["AAPL"], day)
        tight.take("AAPL", run_date=day, simulated=True)
        tight.take("AAPL", run_date=day, simulated=False)
    ready.conn.commit()
    fill(ready.conn, as_of=NEXT_DAY, config=LedgerConfig())
    ready.conn.commit()
    rows = ready.conn.execute(
        """select run_date, next_day_session, next_monday_session, run_date_close, volatility, next_day_pred,
            next_day_actual, next_monday_pred, next_monday_actual
        from snapshot where simulation_id = 1 order by run_date"""
    ).fetchall()
    assert len(rows) == len(before)
    recorded = np.full((len(rows), 3), np.nan)
    for at, (_, next_day, next_monday, close, volatility, *prices) in enumerate(rows):
        if next_day <= RUN_DATE:
            recorded[at, 0] = abs(prices[1] - prices[0]) / (close * volatility)
        if next_monday <= RUN_DATE:
            recorded[at, 1] = abs(prices[3] - prices[2]) / (close * volatility)
    assert np.isnan(recorded[-4:, 1]).all(), "their Monday is after the run date, and was filled too"
    end = int(np.searchsorted(ready.calendar.days, np.datetime64(LAST_TESTED), side="right"))
    days = [*ready.calendar.days[end - len(SCORES) : end].tolist(), *before]
    scores = np.concatenate([SCORES, recorded])
    config = IntervalsConfig(rate=0.1)
    (row,) = tight.take("AAPL").rows
    assert reach(row) == pytest.approx(expected(ready.calendar, days, scores, RUN_DATE, config), rel=1e-9)
    without = expected(ready.calendar, days[: len(SCORES)], SCORES, RUN_DATE, config)
    assert reach(row)[0].tolist() != pytest.approx(without[0].tolist()), "the recorded rows matter"
    assert reach(row)[2].tolist() == pytest.approx(without[2].tolist()), "no month has passed"
    assert again(tight).is_equal_to_the_bit


def test_rows_of_daily_runs_and_of_simulations_do_not_enter_each_others_intervals(ready: ForecastEnvironment) -> None:
    ready.deliver(ready.bars(["AAPL"], num_bars=301, last=NEXT_DAY).tail(1))
    for day in ready.calendar.between(date(2013, 1, 2), date(2013, 1, 10)):
        ready.make_windows(["AAPL"], day)
        ready.take("AAPL", run_date=day, simulated=False)
    fill(ready.conn, as_of=NEXT_DAY, config=LedgerConfig())
    (simulated,) = ready.take("AAPL").rows
    (late,) = ready.take("AAPL", simulated=False).rows
    assert reach(simulated).tolist() != reach(late).tolist()
    end = int(np.searchsorted(ready.calendar.days, np.datetime64(LAST_TESTED), side="right"))
    days = ready.calendar.days[end - len(SCORES) : end].tolist()
    assert reach(simulated) == pytest.approx(expected(ready.calendar, days, SCORES, RUN_DATE), rel=1e-9)


def test_an_actual_that_is_filled_later_does_not_change_a_replay(ready: ForecastEnvironment) -> None:
    day = date(2013, 1, 8)
    ready.make_windows(["AAPL"], day)
    ready.take("AAPL", run_date=day)
    ready.take("AAPL")
    ready.conn.commit()
    fill(ready.conn, as_of=RUN_DATE, config=LedgerConfig())
    ready.conn.commit()
    filled = ready.conn.execute("select count(*) from snapshot where next_day_actual is not null").fetchone()
    assert filled == (1,)
    assert again(ready).is_equal_to_the_bit
    assert simulation(ready.conn) == 1


def test_bounds_are_symmetrical_never_below_0_and_there_only_where_the_half_width_is_finite() -> None:
    widths = np.array([[1.0, 2.0], [100.0, np.inf], [np.nan, np.nan]])
    bounds = bounds_of([101.0, 102.0, 103.0], 100.0, VOLATILITY, widths)
    assert list(bounds) == list(BOUNDS)
    assert {name: value for name, value in bounds.items() if value is not None} == {
        "next_day_low_80": 99.0,
        "next_day_high_80": 103.0,
        "next_day_low_95": 97.0,
        "next_day_high_95": 105.0,
        "next_monday_low_80": 0.0,
        "next_monday_high_80": 302.0,
    }
    assert set(bounds_of([101.0, 102.0, 103.0], 100.0, 0.0, widths).values()) == {None}, "a price that never moved"
    assert [round(100 * level) for level in LEVELS] == [80, 95]
