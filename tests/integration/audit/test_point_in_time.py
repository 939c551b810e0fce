"""Forecasts that were shown bars from after they were recorded: none of honest daily runs, and every planted one."""

from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest

from ldtm_lib.audit.point_in_time import PointInTimeReport, check_point_in_time, sampled_window_leaks
from ldtm_lib.database.connection import Connection
from ldtm_lib.features import stored_windows as input_windows
from ldtm_lib.features.look_ahead import MOVED_BY_LATER_BARS
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.features.windows import latest_windows, windows_of
from ldtm_lib.prices.splits import Split
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings, WindowConfig
from ldtm_lib.wording import moment_text, moment_texts
from tests.integration.environment import NEXT_DAY, RUN_DATE, ForecastEnvironment, after
from tests.integration.ledger_rows import simulation

TICKERS = ("AAPL", "GOOG", "IBM")


@pytest.fixture
def environment(conn: Connection, calendar: Calendar, settings: Settings, tmp_path: Path) -> ForecastEnvironment:
    return ForecastEnvironment(conn, calendar, settings, tmp_path)


@pytest.fixture
def recorded(environment: ForecastEnvironment) -> ForecastEnvironment:
    """Three forecasts and an abstention on record, all of them honest."""
    environment.ready(*TICKERS)
    assert environment.take(*TICKERS, "FB").num_abstained == 1
    environment.conn.commit()
    return environment


def searched(environment: ForecastEnvironment, *tickers: str, num_sampled: int = 5, seed: int = 0) -> PointInTimeReport:
    return check_point_in_time(
        environment.conn,
        environment.calendar,
        environment.settings,
        run_date=RUN_DATE,
        tickers=tickers or environment.settings.tickers,
        num_sampled=num_sampled,
        seed=seed,
        simulation_id=simulation(environment.conn),
    )


def corrected(bars: pl.DataFrame) -> pl.DataFrame:
    """The same bars with another volume in the newest of them."""
    newest = pl.col("session") == RUN_DATE
    return bars.with_columns(pl.when(newest).then(pl.col("volume") * 3).otherwise("volume").alias("volume"))


def alter(environment: ForecastEnvironment, change: str) -> None:
    """What only the owner of the ledger can do."""
    environment.conn.execute("alter table snapshot disable trigger user")
    environment.conn.execute(f"update snapshot set {change}".encode())


def moment_of(environment: ForecastEnvironment, query: str) -> datetime:
    row = environment.conn.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def test_an_honest_daily_run_is_clean(recorded: ForecastEnvironment) -> None:
    found = searched(recorded)
    assert (found.run_date, found.num_rows, found.num_sampled) == (RUN_DATE, 4, 3)
    assert (found.findings, found.counts, found.is_clean) == ((), {}, True)


def test_a_correction_and_a_split_after_an_honest_daily_run_raise_no_alarm(recorded: ForecastEnvironment) -> None:
    recorded.deliver(corrected(recorded.bars(TICKERS)))
    split = Split(ticker="IBM", session=NEXT_DAY, ratio=2.0)
    following = recorded.bars(["IBM"])[-1:].with_columns(session=pl.lit(NEXT_DAY))
    recorded.deliver(after(split, following), split)
    recorded.make_windows(TICKERS)
    assert len(recorded.conn.execute("select distinct recorded_at from bar where ticker = 'IBM'").fetchall()) == 3
    assert searched(recorded).findings == ()


def test_a_window_made_of_bars_that_were_recorded_after_the_forecast_is_named(environment: ForecastEnvironment) -> None:
    """The window reads a correction that the store has not got yet: as if features came from somewhere else."""
    bars = environment.bars(["AAPL", "IBM"])
    environment.deliver(bars)
    environment.make_windows(["IBM"])
    foreseen = latest_windows(corrected(bars), ["AAPL"], RUN_DATE, environment.calendar, environment.settings.window)
    input_windows.record(environment.conn, foreseen)
    for ticker in ("AAPL", "IBM"):
        environment.network(ticker)
    rows = {row.ticker: row for row in environment.take("AAPL", "IBM").rows}
    environment.conn.commit()
    assert rows["AAPL"].abstained_reason is None
    (before,) = searched(environment).findings
    assert before.kind == "window of no bars"
    assert before.message == (
        f"the forecast of AAPL on 2013-01-11 has a window that does not follow from the bars recorded until "
        f"{moment_text(rows['AAPL'].bars_recorded_until)}, nor from later ones: a bar or the window was altered, or "
        "the warm-up in the settings was changed; see `ldtm replay`"
    )

    environment.deliver(corrected(bars))
    (after,) = searched(environment).findings
    corrected_at = moment_of(environment, "select max(recorded_at) from bar where ticker = 'AAPL'")
    assert (after.ticker, after.run_date, after.kind) == ("AAPL", RUN_DATE, "window of later bars")
    needed, stated = moment_texts(corrected_at, rows["AAPL"].bars_recorded_until)
    assert after.message == (
        f"the forecast of AAPL on 2013-01-11 has a window that needs bars recorded at {needed}, "
        f"but names {stated} as the newest"
    )


def test_a_row_that_names_bars_from_after_it_is_found_without_being_sampled(recorded: ForecastEnvironment) -> None:
    alter(recorded, "bars_recorded_until = recorded_at + interval '1 minute' where ticker in ('FB', 'GOOG')")
    found = searched(recorded, num_sampled=0)
    assert found.num_sampled == 0
    assert found.counts == {"recorded before its bars": 2}
    assert [f.ticker for f in found.findings] == ["FB", "GOOG"]
    row = recorded.conn.execute("select recorded_at, bars_recorded_until from snapshot where ticker = 'FB'").fetchone()
    assert row is not None
    assert found.findings[0].message == (
        f"the forecast of FB on 2013-01-11 was recorded at {moment_text(row[0])} and names bars recorded until "
        f"{moment_text(row[1])}"
    )


def test_a_row_that_names_a_bar_that_is_not_there_is_found_without_being_sampled(recorded: ForecastEnvironment) -> None:
    alter(recorded, "bars_recorded_until = bars_recorded_until - interval '1 microsecond' where ticker = 'IBM'")
    (found,) = searched(recorded, num_sampled=0).findings
    assert found.kind == "without its newest bar"
    assert found.message.startswith("the forecast of IBM on 2013-01-11 names a bar recorded at ")
    assert searched(recorded).counts == {"without its newest bar": 1, "window of later bars": 1}


def test_a_row_of_a_ticker_that_is_not_asked_for_is_held_against_the_clock_all_the_same(
    recorded: ForecastEnvironment,
) -> None:
    alter(recorded, "bars_recorded_until = recorded_at + interval '1 minute'")
    found = searched(recorded, "AAPL")
    assert (found.num_rows, found.num_sampled) == (4, 1)
    assert {f.ticker for f in found.findings if f.kind == "recorded before its bars"} == {*TICKERS, "FB"}


def test_the_sample_is_drawn_by_the_seed(recorded: ForecastEnvironment) -> None:
    alter(recorded, "window_sha256 = repeat('0', 64) where window_sha256 is not null")
    found = [searched(recorded, num_sampled=1, seed=seed) for seed in range(20)]
    assert {f.num_sampled for f in found} == {1}
    assert {f.findings[0].ticker for f in found} == set(TICKERS)
    assert found[0] == searched(recorded, num_sampled=1, seed=0)
    assert searched(recorded).counts == {"window of no bars": 3}


def test_a_window_of_another_length_than_todays_is_made_again_as_it_was(recorded: ForecastEnvironment) -> None:
    assert searched(recorded.with_settings(window=WindowConfig(window_sessions=20))).findings == ()


def test_a_run_date_without_a_row_is_clean(recorded: ForecastEnvironment) -> None:
    found = check_point_in_time(
        recorded.conn, recorded.calendar, recorded.settings, run_date=NEXT_DAY, tickers=TICKERS, num_sampled=3, seed=0
    )
    assert (found.num_rows, found.num_sampled, found.is_clean) == (0, 0, True)


def test_windows_of_a_few_stored_tickers_are_searched_and_others_on_another_session(
    environment: ForecastEnvironment,
) -> None:
    environment.deliver(environment.bars(environment.settings.tickers))
    settings = environment.settings

    def drawn(session: date) -> tuple[str, ...]:
        found = sampled_window_leaks(
            environment.conn,
            environment.calendar,
            settings,
            session=session,
            tickers=settings.tickers,
            num_sampled=2,
            num_windows=4,
        )
        assert {(f.num_sampled, f.first) for f in found.values()} == {(4, None)}
        return tuple(found)

    run_dates = environment.calendar.between(date(2012, 12, 17), RUN_DATE)
    assert all(len(drawn(session)) == 2 for session in run_dates)
    assert drawn(RUN_DATE) == drawn(RUN_DATE)
    assert {ticker for session in run_dates for ticker in drawn(session)} == set(settings.tickers)


def test_a_leak_planted_in_the_windows_of_a_daily_run_is_caught(environment: ForecastEnvironment) -> None:
    def with_the_next_close(bars: pl.DataFrame, calendar: Calendar, config: WindowConfig) -> Mapping[str, WindowSet]:
        ahead = pl.col("close").shift(-1).over("ticker", order_by="session").fill_null(pl.col("close"))
        return windows_of(bars.with_columns(open=ahead), calendar, config)

    environment.deliver(environment.bars(["AAPL", "IBM"]))
    found = sampled_window_leaks(
        environment.conn,
        environment.calendar,
        environment.settings,
        session=RUN_DATE,
        tickers=["AAPL", "IBM", "MSFT"],
        num_sampled=3,
        build=with_the_next_close,
    )
    assert {ticker: dict(f.leaks) for ticker, f in found.items()} == {
        ticker: {MOVED_BY_LATER_BARS: 3} for ticker in ("AAPL", "IBM")
    }
    (before,) = environment.calendar.between(date(2013, 1, 10), date(2013, 1, 10))
    only = sampled_window_leaks(
        environment.conn,
        environment.calendar,
        environment.settings,
        session=RUN_DATE,
        tickers=["AAPL"],
        num_sampled=1,
        num_windows=1,
        build=with_the_next_close,
    )
    assert only["AAPL"].first == f"the window of AAPL on {before} is moved by later bars: open of {before}"
