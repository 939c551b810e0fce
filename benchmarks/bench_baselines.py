"""Time the fit and the daily forecasts of the baselines of 103 tickers, on random walks of 5,000 bars.

The naive version refits the baselines every day, one ticker at a time. Run on an idle machine:
`python benchmarks/bench_baselines.py`. The script starts an embedded PostgreSQL in a temporary folder. If
LDTM_TEST_DATABASE_URL names a server, it uses a schema there instead and removes it at the end.
"""

import resource
import time
from collections.abc import Callable
from datetime import date

import numpy as np
from random_walks import synthetic_bars
from temporary_database import temporary_database

from ldtm_lib.backtest.folds import plan_final
from ldtm_lib.baselines.blas import one_blas_thread
from ldtm_lib.baselines.fit import FittedBaselines, fit_baselines
from ldtm_lib.baselines.forecast import BaselineRows, forecast_baselines
from ldtm_lib.database.connection import Connection
from ldtm_lib.features.scaling import scale_prices, unscale_prices
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.features.windows import windows_of
from ldtm_lib.registry import fitted_baselines
from ldtm_lib.sessions import Calendar, exchange_calendar
from ldtm_lib.settings import BaselineConfig, TrainingConfig, WindowConfig

NUM_TICKERS, NUM_BARS, REPETITIONS = 103, 5000, 5
NUM_PLAIN = 5
"""Number of tickers that the naive version is timed on; its time is scaled up to all tickers."""
LAST = date(2025, 6, 30)
SCHEMA = "ldtm_bench_baselines"


def main() -> None:
    calendar = exchange_calendar()
    windows = windows_of(synthetic_bars(calendar, NUM_TICKERS, NUM_BARS), calendar, WindowConfig())
    before = peak_mib()
    started = time.perf_counter()
    fitted = {ticker: fit(of_ticker) for ticker, of_ticker in windows.items()}
    fitting = time.perf_counter() - started
    print(
        f"fit of {len(fitted)} tickers x {NUM_BARS} bars: {fitting:.2f} s, {1000 * fitting / len(fitted):.1f} ms each,"
    )
    print(f"  {peak_mib() - before:.0f} MiB above the windows; a training makes five fits: four folds, final network")

    batch = best(lambda: forecast_all(fitted, windows, calendar))
    started = time.perf_counter()
    with one_blas_thread():
        for ticker in list(windows)[:NUM_PLAIN]:
            plain_day(windows[ticker])
    plain = (time.perf_counter() - started) / NUM_PLAIN * len(windows)
    print(f"forecasts of a run date from stored parameters: {1000 * batch:.2f} ms")
    print(f"the naive version, refitted for the run date: {plain:.1f} s (scaled up from {NUM_PLAIN} tickers),")
    print(f"  {plain / batch:,.0f} x stored parameters, or {plain / (fitting + batch):.1f} x one fit and one forecast")
    with_database(calendar, fitted)
    assert batch < 0.05, "the baselines of a daily run take more than 50 ms"


def fit(windows: WindowSet) -> FittedBaselines:
    """Fit the baselines on the rows of a final network."""
    split = plan_final(windows, TrainingConfig())
    return fit_baselines(windows, split.training_rows, split.validation_rows, BaselineConfig())


def forecast_all(
    fitted: dict[str, FittedBaselines], windows: dict[str, WindowSet], calendar: Calendar
) -> dict[str, np.ndarray]:
    """Forecast from the newest window of every ticker, in one pass."""
    each = list(windows.values())
    newest = [np.array([len(of_ticker) - 1]) for of_ticker in each]
    num_sessions = [
        calendar.num_sessions(w.sessions[at], w.target_sessions[at]) for w, at in zip(each, newest, strict=True)
    ]
    rows = BaselineRows(
        inputs_NTI=np.concatenate([w.gather(at) for w, at in zip(each, newest, strict=True)]),
        close_N=np.array([w.close[-1] for w in each]),
        close_min_N=np.array([w.close_min[-1] for w in each]),
        close_max_N=np.array([w.close_max[-1] for w in each]),
        num_sessions_NH=np.concatenate(num_sessions),
    )
    return {**forecast_baselines(list(fitted.values()), rows)}


def plain_day(windows: WindowSet) -> np.ndarray:
    """Forecast one ticker and run date: flatten rows one by one, solve each penalty separately, make one forecast."""
    split = plan_final(windows, TrainingConfig())
    training, validation = (examples(windows, rows) for rows in (split.training_rows, split.validation_rows))
    candidates: list[tuple[float, np.ndarray]] = []
    for penalty in BaselineConfig().ridge_penalties:
        x, y = training
        centred = x - x.mean(axis=0)
        gram = centred.T @ centred + penalty * len(x) * np.eye(x.shape[1])
        slopes = np.linalg.solve(gram, centred.T @ (y - y.mean(axis=0)))
        intercept = y.mean(axis=0) - x.mean(axis=0) @ slopes
        loss = float(((validation[0] @ slopes + intercept - validation[1]) ** 2).mean())
        candidates.append((loss, np.vstack([slopes, intercept])))
    coefficients = min(candidates, key=lambda candidate: candidate[0])[1]
    x, _ = examples(windows, np.array([len(windows) - 1]))
    moves = x @ coefficients[:-1] + coefficients[-1]
    last = scale_prices(windows.close[-1:, None], windows.close_min[-1:], windows.close_max[-1:])
    return unscale_prices(last + moves, windows.close_min[-1:], windows.close_max[-1:])


def examples(windows: WindowSet, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    inputs = [windows.gather(rows[n : n + 1]).ravel().astype(np.float64) for n in range(len(rows))]
    last = scale_prices(windows.close[rows, None], windows.close_min[rows], windows.close_max[rows])
    return np.stack(inputs), windows.targets[rows].astype(np.float64) - last


def with_database(calendar: Calendar, fitted: dict[str, FittedBaselines]) -> None:
    """Store the fits and read them back, as a training and a daily run do."""
    with temporary_database(SCHEMA, calendar) as (database, _), database.connect() as conn:
        ids = checkpoints(conn, fitted)
        started = time.perf_counter()
        fitted_baselines.store(conn, {ids[ticker]: each for ticker, each in fitted.items()})
        storing = time.perf_counter() - started
        reading = best(lambda: fitted_baselines.read(conn, list(ids.values())))
        row = conn.execute("select pg_total_relation_size('fitted_baselines')").fetchone()
        assert row is not None
        print(f"stored in {1000 * storing:.0f} ms, {row[0] / 2**20:.1f} MiB; read in {1000 * reading:.1f} ms")


def checkpoints(conn: Connection, fitted: dict[str, FittedBaselines]) -> dict[str, int]:
    """Insert a candidate for every ticker; returns their ids by ticker."""
    for ticker, each in fitted.items():
        conn.execute(
            """insert into checkpoint (ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256, file_name,
                file_sha256, seed, num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss,
                duration_seconds, device)
            values (%s, %s, 'a', 'r', 'd', %s, %s, 0, %s, %s, 1, 1, 1, 1, 'cpu')""",
            (ticker, LAST, f"{ticker}.pt", ticker, each.num_training_rows, each.num_validation_rows),
        )
    return dict(conn.execute("select ticker, checkpoint_id from checkpoint").fetchall())


def best(work: Callable[[], object]) -> float:
    """The shortest of REPETITIONS times."""
    times: list[float] = []
    for _ in range(REPETITIONS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def peak_mib() -> float:
    """Peak memory of the process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
