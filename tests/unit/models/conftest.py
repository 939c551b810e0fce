"""Real windows of two sample tickers, and a network small enough to train in a blink."""

import numpy as np
import polars as pl
import pytest
from bokeh_sampledata import stocks

from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.features.windows import windows_of
from ldtm_lib.models.fit import FitTask
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import ArchitectureConfig, TrainingConfig, WindowConfig

PRICES = ("open", "high", "low", "close", "volume")


@pytest.fixture(scope="session")
def windows(calendar: Calendar) -> dict[str, WindowSet]:
    """IBM and GOOG, which never split in the sample: about 3,200 and 2,100 windows."""
    bars = pl.concat(
        pl.DataFrame({name: getattr(stocks, ticker)[name] for name in ("date", *PRICES)}).select(
            pl.lit(ticker).alias("ticker"),
            pl.col("date").str.to_date().alias("session"),
            pl.col(PRICES).cast(pl.Float64),
        )
        for ticker in ("GOOG", "IBM")
    )
    return windows_of(bars, calendar, WindowConfig())


@pytest.fixture(scope="session")
def small() -> ArchitectureConfig:
    return ArchitectureConfig(hidden=16, head_hidden=8)


@pytest.fixture(scope="session")
def recipe() -> TrainingConfig:
    return TrainingConfig(batch_size=32, max_epochs=3, learning_rate=3e-3)


@pytest.fixture(scope="session")
def tasks(windows: dict[str, WindowSet]) -> list[FitTask]:
    """Two folds and a final model of IBM, and a final one of GOOG, on a few hundred rows each."""
    return [
        task_of(windows["IBM"], fold=0, num_rows=150),
        task_of(windows["IBM"], fold=1, num_rows=220),
        task_of(windows["IBM"], fold=None, num_rows=300),
        task_of(windows["GOOG"], fold=None, num_rows=200),
    ]


def task_of(windows: WindowSet, *, fold: int | None, num_rows: int) -> FitTask:
    """Train on the first rows; watched by 60 rows that come 30 later, more than any label reaches ahead."""
    return FitTask(
        ticker=windows.ticker,
        fold=fold,
        windows=windows,
        training_rows=np.arange(num_rows),
        validation_rows=np.arange(num_rows + 30, num_rows + 90),
    )
