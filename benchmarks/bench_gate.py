"""Time the gate (rules, evidence, multiple testing, promotion) over 103 tickers at once, and one ticker at a time.

Run on an idle machine: `python benchmarks/bench_gate.py [NUM_TICKERS]`. Each ticker has four seeded synthetic folds of
126 sessions and a small network. The script starts an embedded PostgreSQL in a temporary folder. At the end it runs the
gate through Dagster, with a check per rule and ticker.
"""

import os
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path

import dagster as dg
import numpy as np
import torch

from ldtm_assets.definitions import definitions_for
from ldtm_assets.partitions import partition_range
from ldtm_cli.services import dagster_environment, prepare
from ldtm_lib.backtest.walk_forward import FoldReport
from ldtm_lib.database import embedded
from ldtm_lib.database.connection import Database
from ldtm_lib.database.migrate import migrate
from ldtm_lib.features.windows import windows_of
from ldtm_lib.gate.evidence import evidence_of
from ldtm_lib.models.fit import Fit, FitTask
from ldtm_lib.models.lstm import initial_state
from ldtm_lib.prices.sources.sample import SampleSource
from ldtm_lib.registry import backtests
from ldtm_lib.registry.checkpoints import Candidate, record_candidates
from ldtm_lib.registry.gate_run import run_gate
from ldtm_lib.registry.inputs import InputKey
from ldtm_lib.sessions import exchange_calendar
from ldtm_lib.settings import ArchitectureConfig, fingerprint, load_settings

NUM_TICKERS, NUM_FOLDS, TEST_SESSIONS = 103, 4, 126
SMALL = ArchitectureConfig(hidden=6, head_hidden=4)
DAY = date(2026, 10, 30)


@contextmanager
def timed(what: str):
    started = time.perf_counter()
    yield
    print(f"{what}: {time.perf_counter() - started:.2f} s")


def main(num_tickers: int) -> None:
    torch.set_num_threads(1)
    tickers = [f"T{n:03}" for n in range(num_tickers)]
    calendar = exchange_calendar()
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        folder.chmod(0o755)
        config = folder / "universe.toml"
        named = ", ".join(f'"{ticker}"' for ticker in tickers)
        config.write_text(f"tickers = [{named}]\n[architecture]\nhidden = 6\nhead_hidden = 4\n")
        settings = load_settings(config)
        url = embedded.start(folder)
        try:
            reports = {
                t: folds(np.array(calendar.between(date(2020, 1, 2), DAY), dtype="datetime64[D]"), n)
                for n, t in enumerate(tickers)
            }
            with timed(f"evidence of {num_tickers} tickers x {NUM_FOLDS * TEST_SESSIONS} rows"):
                for of_ticker in reports.values():
                    evidence_of(of_ticker, settings.gate, settings.forecast)
            seconds = {}
            for way in ("one by one", "at once"):
                database = Database(url=url, schema="bench_" + way.replace(" ", "_"))
                migrate(database, calendar)
                checkpoints = folder / way
                candidates(database, checkpoints, settings, reports)
                portions = [[ticker] for ticker in tickers] if way == "one by one" else [tickers]
                started = time.perf_counter()
                num_promoted = 0
                for portion in portions:
                    with database.transaction() as conn:
                        results = run_gate(conn, checkpoints, portion, settings, degraded=(), run_id="test").promotions
                    num_promoted += sum(result.outcome == "promoted" for result in results)
                seconds[way] = time.perf_counter() - started
                print(f"gate of {num_tickers} tickers {way}: {seconds[way]:.2f} s, {num_promoted} promoted")
            print(f"{seconds['one by one'] / seconds['at once']:.1f} x")

            os.environ["LDTM_DATABASE_URL"] = url
            project, _ = prepare(config)
            candidates(project.database, project.checkpoint_folder, settings, reports)
            os.environ.update(dagster_environment(project))
            job = definitions_for(settings, calendar).resolve_implicit_global_asset_job_def()
            with dg.DagsterInstance.get() as instance, timed("the same through Dagster"):
                result = job.execute_in_process(
                    instance=instance,
                    asset_selection=[dg.AssetKey("registry")],
                    tags=partition_range(tickers[0], tickers[-1]),
                    run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                )
            print(f"{len(list(result.all_events))} events, {len(result.get_asset_check_evaluations())} evaluations")
        finally:
            embedded.stop(folder)


def folds(sessions: np.ndarray, seed: int) -> list[FoldReport]:
    """Make the fold reports of a model that is right a little more often than a coin."""
    rng = np.random.default_rng(seed)
    made = []
    for fold in range(NUM_FOLDS):
        rows = sessions[len(sessions) - 30 - (NUM_FOLDS - fold) * TEST_SESSIONS :][:TEST_SESSIONS]
        close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, TEST_SESSIONS)))
        moves = rng.normal(0, 0.02, (TEST_SESSIONS, 3)) * np.sqrt([1, 3, 21])
        said = 0.1 * moves + rng.normal(0, 0.02, (TEST_SESSIONS, 3))
        made.append(
            FoldReport(
                fold=fold + 1,
                train_cutoff=(rows[0] - 1).item(),
                num_training_rows=3000,
                num_validation_rows=300,
                num_epochs=10,
                validation_loss=0.2,
                sessions=rows,
                close=close,
                volatility=np.full(len(close), 0.01),
                predictions=close[:, None] * (1 + said),
                actuals=close[:, None] * (1 + moves),
            )
        )
    return made


def candidates(database: Database, folder: Path, settings, reports: dict[str, list[FoldReport]]) -> None:
    """Record a network and its backtest for every ticker."""
    bars = SampleSource().fetch(["FB"], date(2000, 3, 1), date(2013, 3, 1)).bars
    windows = windows_of(bars, exchange_calendar(), settings.window)["FB"]
    fits = []
    for seed, ticker in enumerate(reports):
        state = initial_state(SMALL, torch.Generator().manual_seed(seed))
        task = FitTask(
            ticker=ticker, fold=None, windows=windows, training_rows=np.arange(20), validation_rows=np.arange(50, 60)
        )
        fits.append(
            Candidate(
                key=InputKey(
                    ticker=ticker,
                    trained_on=DAY,
                    architecture_sha256=SMALL.fingerprint(),
                    recipe_sha256=fingerprint(settings.training),
                    data_sha256="made up",
                ),
                fit=Fit(
                    task=replace(task, ticker=ticker),
                    state=state,
                    validation_loss=0.2,
                    horizon_errors=(0.03, 0.08, 0.6),
                    no_change_loss=0.24,
                    no_change_errors=(0.03, 0.09, 0.6),
                    training_losses=(0.3, 0.2),
                    validation_losses=(0.3, 0.2),
                    num_epochs=2,
                    best_epoch=2,
                    duration_seconds=1.0,
                    device="cpu",
                ),
            )
        )
    with database.transaction() as conn:
        of_key = {candidate.key: reports[candidate.key.ticker] for candidate in fits}
        backtests.store(conn, of_key, plan=settings.backtest)
        record_candidates(conn, folder, fits, architecture=SMALL, seed=0)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else NUM_TICKERS)
