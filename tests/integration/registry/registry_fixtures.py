"""Networks small enough to write at once, and backtests whose verdict is known beforehand."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from ldtm_lib.backtest.walk_forward import FoldReport
from ldtm_lib.database.connection import Database
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.features.windows import windows_of
from ldtm_lib.models.fit import Fit, FitTask
from ldtm_lib.models.lstm import initial_state
from ldtm_lib.registry import backtests
from ldtm_lib.registry.checkpoints import Candidate, CheckpointRecord, record_candidates
from ldtm_lib.registry.gate_run import run_gate
from ldtm_lib.registry.inputs import InputKey, recipe_fingerprint
from ldtm_lib.registry.promotion import Promotion
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import ArchitectureConfig, Settings, TrainingConfig, WindowConfig

SMALL = ArchitectureConfig(hidden=6, head_hidden=4)


@pytest.fixture
def small_settings(settings: Settings) -> Settings:
    return settings.replace(
        tickers=(*settings.tickers, "AAA", "BBB", "CCC", "SHRT"),
        architecture=SMALL,
        training=TrainingConfig(max_epochs=2, min_training_rows=60),
    )


@pytest.fixture(scope="session")
def bars(calendar: Calendar) -> pl.DataFrame:
    """Random walks of four tickers until 2012-12-31; SHRT has 80 bars, the others 400."""
    return pl.concat(
        walk(calendar, ticker, num_bars=80 if ticker == "SHRT" else 400, seed=seed)
        for seed, ticker in enumerate(("AAA", "BBB", "CCC", "SHRT"))
    )


@pytest.fixture(scope="session")
def windows(bars: pl.DataFrame, calendar: Calendar) -> dict[str, WindowSet]:
    return windows_of(bars, calendar, WindowConfig())


def walk(calendar: Calendar, ticker: str, *, num_bars: int, seed: int) -> pl.DataFrame:
    days = calendar.between(date(2005, 1, 3), date(2012, 12, 31))[-num_bars:]
    close = 50 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.02, num_bars)))
    prices = {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close, "volume": 1e6 + close}
    return pl.DataFrame({"ticker": [ticker] * num_bars, "session": days, **prices})


def fold(number: int, *, num_right: int, num_wrong: int) -> FoldReport:
    """A fold that calls rises and falls of 1% in turn, right or wrong as asked, where 2% come."""
    num_rows = num_right + num_wrong
    close = 100 + np.random.default_rng(number).random(num_rows)
    called = np.where(np.arange(num_rows) % 2, -1, 1)
    actual = close * (1 + 0.02 * called * np.repeat([1, -1], [num_right, num_wrong]))
    return FoldReport(
        fold=number,
        train_cutoff=date(2011, 12, 30),
        num_training_rows=300,
        num_validation_rows=30,
        num_epochs=3,
        validation_loss=0.1 + number / 3,
        sessions=np.datetime64("2012-01-02") + np.arange(num_rows) + 400 * number,
        close=close,
        volatility=np.full(len(close), 0.01),
        predictions=np.stack([close * (1 + 0.01 * called), close * 1.03, close * 1.1], axis=1),
        actuals=np.stack([actual, actual * 1.01, actual * 1.1], axis=1),
    )


def bolder(report: FoldReport, thousandths: int) -> FoldReport:
    """The same calls with larger moves: more right than wrong ones make the mean error smaller."""
    predictions = report.predictions.copy()
    predictions[:, 0] += (predictions[:, 0] - report.close) * thousandths / 1000
    return replace(report, predictions=predictions)


GOOD = (fold(1, num_right=60, num_wrong=40), fold(2, num_right=55, num_wrong=45))
BAD = (fold(1, num_right=50, num_wrong=50), fold(2, num_right=49, num_wrong=51))


@dataclass(kw_only=True)
class Registry:
    """A registry under test: what goes in, and what the tables and the folder say."""

    database: Database
    folder: Path
    settings: Settings
    windows: WindowSet
    good: tuple[FoldReport, ...] = field(default=GOOD)
    bad: tuple[FoldReport, ...] = field(default=BAD)

    def candidate(
        self,
        ticker: str,
        trained_on: date,
        *,
        weights: int = 0,
        data: str = "data",
        architecture: ArchitectureConfig = SMALL,
        tested: Sequence[FoldReport] | None = None,
    ) -> CheckpointRecord:
        """A candidate whose weights are drawn from a seed, with a backtest of its input if one is given.

        A candidate with the backtest `GOOD` is the better the larger that seed is, so that it may replace another one.
        """
        if tested is GOOD:
            tested = [bolder(report, weights) for report in GOOD]
        key = InputKey(
            ticker=ticker,
            trained_on=trained_on,
            architecture_sha256=architecture.fingerprint(),
            recipe_sha256=recipe_fingerprint(self.settings),
            data_sha256=data,
        )
        state = initial_state(architecture, torch.Generator().manual_seed(weights))
        rows = np.arange(130)
        task = FitTask(
            ticker=ticker, fold=None, windows=self.windows, training_rows=rows[:90], validation_rows=rows[120:]
        )
        fit = Fit(
            task=task,
            state=state,
            validation_loss=0.5,
            horizon_errors=(0.05, 0.1, 0.6),
            no_change_loss=0.27,
            no_change_errors=(0.06, 0.11, 0.64),
            training_losses=(1.0, 0.6),
            validation_losses=(0.9, 0.5),
            num_epochs=2,
            best_epoch=2,
            duration_seconds=1.5,
            device="cpu",
        )
        with self.database.transaction() as conn:
            if tested is not None:
                backtests.store(conn, {key: tested}, plan=self.settings.backtest)
            found = record_candidates(
                conn, self.folder, [Candidate(key=key, fit=fit)], architecture=architecture, seed=weights
            )
        return found[key]

    def gate(
        self, *tickers: str, settings: Settings | None = None, degraded: Collection[int] = ()
    ) -> dict[str, Promotion]:
        """Judge and promote in one committed transaction."""
        with self.database.transaction() as conn:
            results = run_gate(
                conn, self.folder, tickers, settings or self.settings, degraded=degraded, run_id="test"
            ).promotions
        return {result.ticker: result for result in results}

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with self.database.connect() as conn:
            return conn.execute(query.encode()).fetchall()

    def statuses(self, ticker: str) -> list[tuple[object, ...]]:
        """(status, version) of every checkpoint of a ticker, oldest first."""
        return self.rows(f"select status, version from checkpoint where ticker = '{ticker}' order by checkpoint_id")

    def files(self) -> set[str]:
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()}


@pytest.fixture
def registry(database: Database, tmp_path: Path, small_settings: Settings, windows: dict[str, WindowSet]) -> Registry:
    return Registry(database=database, folder=tmp_path / "checkpoints", settings=small_settings, windows=windows["AAA"])
