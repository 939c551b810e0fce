"""Time a daily run's forecasts of 103 tickers, from PostgreSQL to PostgreSQL, at once and one ticker at a time.

Run on an idle machine: `python benchmarks/bench_snapshots.py`. The script starts an embedded PostgreSQL in a temporary
folder. If LDTM_TEST_DATABASE_URL names a server, it uses a schema there instead and removes it at the end.
"""

import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import torch
from temporary_database import temporary_database

from ldtm_lib.database.clock import now
from ldtm_lib.database.connection import Connection
from ldtm_lib.features import stored_windows as input_windows
from ldtm_lib.features.windows import latest_windows
from ldtm_lib.ledger.forecasters import forecasters
from ldtm_lib.ledger.intervals import half_widths
from ldtm_lib.ledger.snapshots import take_snapshots
from ldtm_lib.models.checkpoint import write
from ldtm_lib.models.lstm import initial_state
from ldtm_lib.prices.ingest import ingest
from ldtm_lib.prices.sources.protocol import Delivery
from ldtm_lib.prices.stored_bars import recent_bars
from ldtm_lib.project import Project
from ldtm_lib.registry.exports import export_folder, export_models
from ldtm_lib.sessions import Calendar, exchange_calendar
from ldtm_lib.settings import Settings

NUM_TICKERS, NUM_SESSIONS, REPETITIONS = 103, 63, 5
NUM_TESTED = 504
FIRST, LAST = date(2024, 1, 2), date(2025, 6, 30)
SCHEMA = "ldtm_bench_snapshots"
TICKERS = tuple(f"T{n:03}" for n in range(NUM_TICKERS))


def main() -> None:
    torch.set_num_threads(2)
    calendar = exchange_calendar()
    settings = Settings(path=Path("universe.toml"), tickers=TICKERS)
    with temporary_database(SCHEMA, calendar) as (database, home), database.connect() as conn:
        run(conn, calendar, Project(settings=settings, home=home, database=database))


def run(conn: Connection, calendar: Calendar, project: Project) -> None:
    settings, folder = project.settings, project.checkpoint_folder
    sessions = calendar.between(FIRST, LAST)
    ingest(conn, Delivery(bars=bars(sessions)), source="bench", calendar=calendar)
    networks(conn, folder, settings)
    backtests(conn, sessions)
    run_dates = sessions[-NUM_SESSIONS - 22 : -22]
    started = time.perf_counter()
    for run_date in run_dates:
        recent = recent_bars(conn, TICKERS, last=run_date, num_bars=280)
        input_windows.record(conn, latest_windows(recent, TICKERS, run_date, calendar, settings.window))
    conn.commit()
    conn.execute("analyze")
    print(f"features and their windows: {(time.perf_counter() - started) / len(run_dates):.3f} s per daily run")

    by_onnx = settings.replace(forecast=settings.forecast.replace(backend="onnx"))

    def daily_run(tickers: tuple[str, ...], run_date: date = run_dates[-1], settings: Settings = settings) -> None:
        report = take_snapshots(
            conn,
            run_date=run_date,
            tickers=tickers,
            folder=folder,
            settings=settings,
            calendar=calendar,
            exports=export_folder(project),
        )
        assert (len(report.written), report.num_abstained) == (len(tickers), 0)
        assert {row.backend for row in report.rows} == {settings.forecast.backend}

    used = forecasters(conn, TICKERS, run_dates[-1], simulation_id=0, config=settings.forecast)

    def intervals(tickers: tuple[str, ...]) -> None:
        widths = half_widths(
            conn,
            {ticker: used[ticker] for ticker in tickers},
            run_dates[-1],
            simulation_id=0,
            moment=now(conn),
            calendar=calendar,
            config=settings.intervals,
        )
        assert all(np.isfinite(of_ticker).all() for of_ticker in widths.values())

    def intervals_one_by_one() -> None:
        for ticker in TICKERS:
            intervals((ticker,))

    def one_by_one() -> None:
        for ticker in TICKERS:
            daily_run((ticker,))

    batch = best(conn, lambda: daily_run(TICKERS))
    plain = best(conn, one_by_one)
    print(
        f"snapshots of {NUM_TICKERS} tickers: {batch:.3f} s; one ticker at a time: {plain:.3f} s; {plain / batch:.1f} x"
    )
    all_at_once, each = best(conn, lambda: intervals(TICKERS)), best(conn, intervals_one_by_one)
    print(
        f"of these, half-widths of intervals from {NUM_TESTED} test rows per ticker: {all_at_once:.3f} s; one ticker "
        f"at a time: {each:.3f} s; {each / all_at_once:.1f} x"
    )
    started = time.perf_counter()
    export_models(project, calendar, made_at=datetime.now(UTC))
    print(f"export of {NUM_TICKERS} networks with certificates: {time.perf_counter() - started:.1f} s")
    exported = best(conn, lambda: daily_run(TICKERS, settings=by_onnx))
    print(f"snapshots by exported files: {exported:.3f} s; by PyTorch: {batch:.3f} s; {batch / exported:.2f} x")
    assert batch < 1.0, "a daily run's forecasts take more than a second"


def best(conn: Connection, work: Callable[[], None]) -> float:
    """The shortest of REPETITIONS times; each run is rolled back."""
    times: list[float] = []
    for _ in range(REPETITIONS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
        conn.rollback()
    return min(times)


def bars(sessions: list[date]) -> pl.DataFrame:
    """A seeded random walk of every ticker."""
    random = np.random.default_rng(0)
    close = 100 * np.exp(random.normal(0, 0.02, (NUM_TICKERS, len(sessions))).cumsum(axis=1)).ravel()
    spread = 1 + np.abs(random.normal(0, 0.01, len(close)))
    return pl.DataFrame(
        {
            "ticker": np.repeat(TICKERS, len(sessions)),
            "session": sessions * NUM_TICKERS,
            "open": close,
            "high": close * spread,
            "low": close / spread,
            "close": close,
            "volume": random.integers(1_000, 9_000, len(close)).astype(float),
        }
    )


def networks(conn: Connection, folder: Path, settings: Settings) -> None:
    """Record an active, untrained network for every ticker."""
    generator = torch.Generator().manual_seed(0)
    for ticker in settings.tickers:
        state = initial_state(settings.architecture, generator)
        sha256 = write(state, folder / f"{ticker}.pt", architecture=settings.architecture)
        conn.execute(
            """insert into checkpoint (ticker, status, trained_on, architecture_sha256, recipe_sha256, data_sha256,
                file_name, file_sha256, seed, num_training_rows, num_validation_rows, num_epochs, best_epoch,
                validation_loss, duration_seconds, device, major, version, activated_at)
            values (%s, 'active', %s, 'a', 'r', 'd', %s, %s, 0, 1, 1, 1, 1, 1, 1, 'cpu', 1, 'v1', now())""",
            (ticker, FIRST, f"{ticker}.pt", sha256),
        )
    conn.execute(
        "insert into gate_verdict (ticker, trained_on, checkpoint_id, passed, rules)"
        " select ticker, trained_on, checkpoint_id, true, '[]' from checkpoint"
    )


def backtests(conn: Connection, sessions: list[date]) -> None:
    """Record a backtest of every network with the default number of test rows, all before the first session."""
    first = exchange_calendar().offset(sessions[0], -NUM_TESTED)
    tested = exchange_calendar().between(first, sessions[0])[:NUM_TESTED]
    conn.execute(
        """insert into backtest (ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256, plan_sha256)
        select ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256, 'p' from checkpoint"""
    )
    conn.execute(
        """insert into backtest_fold (backtest_id, fold, train_cutoff, first_test_session, last_test_session,
            num_training_rows, num_validation_rows, num_leakage_rows, num_epochs, validation_loss)
        select backtest_id, 1, %s::date - 1, %s, %s, 1, 1, 0, 1, 1 from backtest""",
        (tested[0], tested[0], tested[-1]),
    )
    conn.execute(
        """insert into backtest_prediction (backtest_id, fold, session, close, next_day_pred, next_monday_pred,
            one_month_pred, next_day_actual, next_monday_actual, one_month_actual, volatility)
        select backtest_id, 1, session, 100, 100, 100, 100, 95 + 10 * random(), 90 + 20 * random(),
               80 + 40 * random(), 0.02
        from backtest cross join unnest(%s::date[]) session""",
        (tested,),
    )


if __name__ == "__main__":
    main()
