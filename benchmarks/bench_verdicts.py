"""Time the recomputation of the verdicts of ten weekly trainings of 103 tickers, at once and one backtest at a time.

Run on an idle machine: `python benchmarks/bench_verdicts.py [NUM_WEEKS]`. Each verdict is on a backtest of four folds
with 126 test rows. The script starts an embedded PostgreSQL in a temporary folder.
"""

import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from ldtm_lib.audit.configurations import configurations
from ldtm_lib.audit.verdict_checks import checked_verdicts
from ldtm_lib.audit.verify import verify
from ldtm_lib.backtest.walk_forward import FoldReport
from ldtm_lib.database import embedded
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.migrate import migrate
from ldtm_lib.gate.rules import judge
from ldtm_lib.registry import backtests
from ldtm_lib.registry.configurations import record_configuration
from ldtm_lib.registry.inputs import InputKey, recipe_fingerprint
from ldtm_lib.registry.judgement import judge_newest, record_verdicts
from ldtm_lib.sessions import exchange_calendar
from ldtm_lib.settings import Settings

NUM_TICKERS, NUM_WEEKS = 103, 10
NUM_FOLDS, NUM_TEST_ROWS = 4, 126
SAMPLE = 100
"""Number of verdicts that are computed one by one; their time is scaled up to all verdicts."""
CANDIDATE = """
insert into checkpoint (ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256, file_name, file_sha256,
    seed, num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss, duration_seconds, device)
values (%(ticker)s, %(trained_on)s, %(architecture)s, %(recipe)s, 'd', %(ticker)s || %(trained_on)s || '.pt', 's',
    0, 1, 1, 1, 1, 1, 1, 'cpu')
"""


def main(num_weeks: int) -> None:
    calendar = exchange_calendar()
    tickers = tuple(f"T{n:03d}" for n in range(NUM_TICKERS))
    settings = Settings(path=Path("universe.toml"), tickers=tickers)
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o755)
        database = Database(url=embedded.start(Path(home)), schema="ldtm_bench_verdicts")
        try:
            migrate(database, calendar)
            with database.connect() as conn:
                for week in range(num_weeks):
                    judge_week(conn, settings, date(2024, 1, 5) + timedelta(weeks=week), seed=week)
            with database.connect() as conn:
                measure(conn, settings)
            started = time.perf_counter()
            report = verify(database, calendar)
            assert report.is_intact, report.discrepancies[0].message
            print(f"whole verification of {report.num_events:,} events: {time.perf_counter() - started:.2f} s")
        finally:
            embedded.stop(Path(home))


def judge_week(conn: Connection, settings: Settings, trained_on: date, *, seed: int) -> None:
    """Record a training and a verdict for every ticker."""
    architecture, recipe = settings.architecture.fingerprint(), recipe_fingerprint(settings)
    random = np.random.default_rng(seed)
    keys: dict[InputKey, list[FoldReport]] = {}
    for ticker in settings.tickers:
        fields = {"ticker": ticker, "trained_on": trained_on, "architecture": architecture, "recipe": recipe}
        conn.execute(CANDIDATE.encode(), fields)
        key = InputKey(
            ticker=ticker,
            trained_on=trained_on,
            architecture_sha256=architecture,
            recipe_sha256=recipe,
            data_sha256="d",
        )
        keys[key] = [fold(random, number) for number in range(1, NUM_FOLDS + 1)]
    backtests.store(conn, keys, plan=settings.backtest)
    decisions = judge_newest(conn, settings.tickers, settings).decisions
    record_configuration(conn, settings)
    record_verdicts(conn, decisions)
    conn.commit()


def fold(random: np.random.Generator, number: int) -> FoldReport:
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.02, NUM_TEST_ROWS)))
    moves = random.normal(0, 0.02, (2, NUM_TEST_ROWS, 3))
    return FoldReport(
        fold=number,
        train_cutoff=date(2020, 1, 2),
        num_training_rows=1_000,
        num_validation_rows=100,
        num_epochs=10,
        validation_loss=0.5,
        sessions=np.datetime64("2020-06-01") + np.arange(NUM_TEST_ROWS) + 200 * number,
        close=close,
        volatility=np.full(NUM_TEST_ROWS, 0.02),
        predictions=close[:, None] * (1 + moves[0] / 2),
        actuals=close[:, None] * (1 + moves[1]),
    )


def measure(conn: Connection, settings: Settings) -> None:
    started = time.perf_counter()
    checked = checked_verdicts(conn, configurations(conn))
    taken = time.perf_counter() - started
    assert not checked.rows["is_wrong"].any()
    ids = [i for (i,) in conn.execute("select backtest_id from backtest order by backtest_id limit 100").fetchall()]
    started = time.perf_counter()
    for backtest_id in ids[:SAMPLE]:
        (backtest,) = backtests.read_by_id(conn, [backtest_id]).values()
        judge(backtest.reports, settings.gate, settings.forecast)
    plain = (time.perf_counter() - started) / len(ids) * checked.num_computed
    print(
        f"{checked.num_computed:,} verdicts of {NUM_FOLDS} x {NUM_TEST_ROWS} forecasts: {taken:.2f} s, "
        f"one by one {plain:.2f} s (scaled up from {len(ids)}); {plain / taken:.1f} x"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else NUM_WEEKS)
